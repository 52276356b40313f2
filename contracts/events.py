"""Facts: every event type that other systems may publish, with its data.

The one rule: personal data stands only in fields marked `Pii`. From the marks follow the stored form of each
type, which holds references in their place, and the types that may be left in INBOX, which have none.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple, Self, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    StrictBool,
    StrictInt,
    create_model,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema

from contracts.envelope import (
    Citation,
    ClauseId,
    Contract,
    Date,
    DateOrTime,
    EventId,
    Id,
    Label,
    Reference,
    Seconds,
    Sha256,
    Timestamp,
    Version,
    single_line,
)


@dataclass(frozen=True, slots=True)
class Pii:
    """Marks a field that holds personal data, and says how the vault keeps it.

    person: a detail of the petitioner, kept under `detail` with the person; staff: the same for an official;
    text: a free text, sealed by itself.
    """

    kind: Literal["person", "staff", "text"]
    detail: str = ""

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Says in the JSON Schema, too, that the field holds personal data."""
        return {**handler(core_schema), "x-personal-data": self.kind}


PERSON_DETAILS = ("name", "address", "phone", "mobile", "email")
STAFF_DETAILS = ("name", "phone", "email")

_UNSEEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_HOURS = r"^([01]\d|2[0-3]):[0-5]\d-(([01]\d|2[0-3]):[0-5]\d|24:00)$"


def _readable(text: str) -> str:
    if not text.strip() or _UNSEEN.search(text):
        raise ValueError("write a text that people can read, without control characters")
    return text


def _blank_is_none(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


_Line = Annotated[str, Field(max_length=200), AfterValidator(single_line)]
_Blankable = Annotated[_Line | None, BeforeValidator(_blank_is_none)]
_FilledLine = Annotated[_Line, AfterValidator(_readable)]

Title = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_readable), Pii("text")]
Text = Annotated[str, Field(min_length=1, max_length=10_000), AfterValidator(_readable), Pii("text")]
Reason = Annotated[str, Field(min_length=1, max_length=2_000), AfterValidator(_readable), Pii("text")]
Items = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_readable)]],
    Field(min_length=1, max_length=50),
    Pii("text"),
]
"""Free texts, sealed together as one, an item a line."""

Flag = StrictBool
StaffId = Id
Means = Literal["phone", "email", "sms", "post", "visit"]
NotifyBy = Literal["sms", "email", "post", "none"]
Language = Literal["ko", "en"]
Unit = Literal["hours", "days", "weeks", "months", "years"]
Kind = Literal[
    "statutory",
    "inquiry_law",
    "inquiry",
    "suggestion",
    "grievance",
    "service_grievance",
    "handling_grievance",
    "disclosure",
    "commendation",
    "corruption_report",
    "other",
]
Class = Literal["simple", "ordinary", "complex"]
SuspensionGround = Literal[
    "transport",
    "representative",
    "hearing",
    "inspection",
    "preliminary",
    "outage",
    "site_visit",
    "shared_documents",
    "preceding_case",
]
FaultGround = Literal[
    "repeat_visit",
    "late",
    "wrong_certificate",
    "misguidance",
    "wilful",
    "error",
    "careless",
    "unkind",
    "standard",
]
FaultVia = Literal["phone", "visit", "other"]
Repeats = Annotated[list[Id], Field(min_length=1, max_length=20)]
"""Earlier cases of the same petitioner about the same matter that were answered."""
Applies = Literal["new_cases", "open_from_today", "retroactive"]
Place = Literal["homepage", "newsletter", "gazette"]
Amount = Annotated[StrictInt, Field(ge=1, le=10_000)]

Model = TypeVar("Model", bound=Contract)

FACTS: dict[str, type[Contract]] = {}
"""The published model of every fact type, in the order of this page."""


def fact(name: str) -> Callable[[type[Model]], type[Model]]:
    """Registers the model of a fact type."""

    def keep(model: type[Model]) -> type[Model]:
        FACTS[name] = model
        return model

    return keep


class Period(Contract):
    """A handling period. Hours are working hours (immediately, 즉시, is 3); days follow the Civil Petitions
    Treatment Act art. 19(1) and (2), weeks and longer art. 19(3)."""

    amount: Amount
    unit: Unit


class Applicant(Contract):
    """The petitioner. The unknown is left out or blank; whether that suffices is for the charter to say."""

    name: Annotated[_Blankable, Pii("person", "name")] = None
    address: Annotated[_Blankable, Pii("person", "address")] = None
    phone: Annotated[_Blankable, Pii("person", "phone")] = None
    mobile: Annotated[_Blankable, Pii("person", "mobile")] = None
    email: Annotated[_Blankable, Pii("person", "email")] = None


class Memo(Contract):
    """The note that an absent officer finds."""

    caller: Annotated[_Blankable, Pii("person", "name")] = None
    phone: Annotated[_Blankable, Pii("person", "phone")] = None
    matter: Reason | None = None
    taken_by: StaffId | None = Field(default=None, description="Who took the note.")
    reply_wanted: Flag = Field(description="false starts no promise.")


class Span(Contract):
    """A stretch of time; its end is not before its beginning."""

    from_: Timestamp = Field(alias="from")
    until: Timestamp

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.until < self.from_:
            raise ValueError("until lies before from; exchange them")
        return self


# Cases


@fact("complaint.received")
class ComplaintReceived(Contract):
    """A petition was registered: the clock of its promises starts."""

    channel: Literal["visit", "phone", "post", "fax", "web", "email"]
    kind: Kind
    title: Title
    text: Text | None = None
    service: Label | None = Field(default=None, description="Name of the statutory service.")
    period: Period | None = Field(default=None, description="Without one, that of the kind.")
    class_: Class | None = Field(default=None, alias="class")
    urgent: Flag | None = None
    compound: Flag | None = Field(default=None, description="복합민원: two or more departments or agencies.")
    guardian_wanted: Flag | None = Field(default=None, description="A petition guardian (민원후견인) is wanted.")
    departments: Annotated[list[Label], Field(max_length=20)] | None = None
    arrived_at: Timestamp | None = Field(default=None, description="When it reached the window.")
    delivery: Literal["pickup", "post"] | None = None
    office: Label | None = Field(default=None, description="City hall, eup, myeon or dong where it was filed.")
    applicant: Applicant
    notify_by: NotifyBy | None = None
    language: Language | None = None
    about: Id | None = Field(default=None, description="The case complained of.")
    repeats: Repeats | None = Field(
        default=None, description="Earlier cases of the same petitioner about the same matter that were answered."
    )
    tracking_announced: Flag | None = Field(
        default=None, description="The petitioner was told that progress can be followed online."
    )


@fact("complaint.handed_over")
class ComplaintHandedOver(Contract):
    """The window that registered the petition gave it to the department that handles it."""

    department: Label
    distant: Flag | None = Field(
        default=None, description="The department is far away, or another special reason: three hours, not one."
    )


@fact("complaint.assigned")
class ComplaintAssigned(Contract):
    """The petition reached an officer."""

    department: Label
    officer: StaffId
    approver: StaffId | None = None


@fact("complaint.classified")
class ComplaintClassified(Contract):
    """Class, kind or period were set or changed; each counts from receipt."""

    class_: Class | None = Field(default=None, alias="class")
    kind: Kind | None = None
    period: Period | None = None


@fact("complaint.transferred")
class ComplaintTransferred(Contract):
    """The petition went to another department, or to another agency, which ends the promises here."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["to_department"]}, {"required": ["to_agency"]}]}
    )

    to_department: Label | None = None
    to_agency: Label | None = None
    reason: Reason

    @model_validator(mode="after")
    def _one_receiver(self) -> Self:
        if (self.to_department is None) == (self.to_agency is None):
            raise ValueError("name either to_department or to_agency")
        return self


@fact("complaint.procedure_explained")
class ComplaintProcedureExplained(Contract):
    """The petitioner was told how the petition will go."""

    by: Means


@fact("complaint.direction_notified")
class ComplaintDirectionNotified(Contract):
    """The petitioner was told which way the petition will be handled (처리방향)."""

    by: Means


@fact("complaint.progress_notified")
class ComplaintProgressNotified(Contract):
    """The petitioner was told how far the petition has come."""

    by: Means
    expected: DateOrTime | None = None


@fact("complaint.reply_date_notified")
class ComplaintReplyDateNotified(Contract):
    """The petitioner was told when to expect the answer."""

    expected: DateOrTime
    by: Means


@fact("complaint.supplement_requested")
class ComplaintSupplementRequested(Contract):
    """Missing papers were asked for (보완)."""

    items: Items
    respond_by: DateOrTime
    dispatched_at: Timestamp


@fact("complaint.supplement_extended")
class ComplaintSupplementExtended(Contract):
    """The petitioner asked for more time to supplement; at most twice."""

    respond_by: DateOrTime


@fact("complaint.supplement_received")
class ComplaintSupplementReceived(Contract):
    """The missing papers arrived."""

    arrived_at: Timestamp


@fact("complaint.suspended")
class ComplaintSuspended(Contract):
    """Time that does not count begins (Enforcement Decree art. 20)."""

    ground: SuspensionGround
    from_: Timestamp | None = Field(default=None, alias="from", description="Without it, the event's time.")


@fact("complaint.resumed")
class ComplaintResumed(Contract):
    """Time counts again."""

    ground: SuspensionGround
    at: Timestamp | None = Field(default=None, description="Without it, the event's time.")


@fact("complaint.extended")
class ComplaintExtended(Contract):
    """The handling period was extended (Enforcement Decree art. 21; Information Disclosure Act art. 11)."""

    ground: Literal[
        "cooperation",
        "fact_check",
        "force_majeure",
        "equivalent",
        "bulk",
        "third_party",
        "partial",
        "surge",
    ] = Field(description="The last four are for information disclosure.")
    reason: Reason
    amount: Amount
    unit: Unit
    consent: Flag | None = Field(default=None, description="The petitioner agreed to a second extension.")


@fact("consultation.requested")
class ConsultationRequested(Contract):
    """Another department or agency was asked to say something about the petition by a day."""

    consultation: Id = Field(description="Names it in the case.")
    department: Label = Field(description="Whoever was asked, also of another agency.")
    respond_by: DateOrTime


@fact("consultation.extended")
class ConsultationExtended(Contract):
    """Whoever was asked gets longer, once; told before the day was over."""

    consultation: Id
    respond_by: DateOrTime


@fact("consultation.answered")
class ConsultationAnswered(Contract):
    """Whoever was asked replied."""

    consultation: Id


@fact("complaint.completed")
class ComplaintCompleted(Contract):
    """The petition was answered or granted: the case is closed."""

    outcome: Literal["granted", "answered", "partly"]
    by: StaffId


@fact("complaint.rejected")
class ComplaintRejected(Contract):
    """The petition was refused: the case is closed."""

    law: Citation
    reason: Reason
    remedies: Items = Field(description="Ways to object or to seek relief.")


@fact("complaint.returned")
class ComplaintReturned(Contract):
    """The petition was given back because it was not supplemented (반려)."""

    reason: Reason


@fact("complaint.withdrawn")
class ComplaintWithdrawn(Contract):
    """The petitioner took the petition back (취하)."""


@fact("complaint.closed_without_answer")
class ComplaintClosedWithoutAnswer(Contract):
    """The case was closed without an answer (종결)."""

    ground: Literal["repeat", "exception", "merged"]
    repeats: Repeats | None = Field(default=None, description="Of a repeat: the cases that were answered.")


@fact("complaint.reopened")
class ComplaintReopened(Contract):
    """A closed case goes on."""

    reason: Reason


@fact("applicant.updated")
class ApplicantUpdated(Contract):
    """Details of the petitioner changed. A detail left out stays; a blank one is taken out."""

    applicant: Applicant
    notify_by: NotifyBy | None = None
    language: Language | None = None


@fact("staff.described")
class StaffDescribed(Contract):
    """Who stands behind a staff id. Sent once, and again on a change."""

    staff: StaffId
    name: Annotated[_FilledLine, Pii("staff", "name")]
    department: Label
    phone: Annotated[_FilledLine, Pii("staff", "phone")]
    email: Annotated[_Blankable, Pii("staff", "email")] = None
    superior: StaffId | None = None
    head: Flag | None = Field(default=None, description="Heads the department.")


@fact("fact.voided")
class FactVoided(Contract):
    """A fact is taken back as if it had never been stated."""

    source: Id
    id: EventId
    code: Literal["wrong_case", "typing_error", "duplicate", "other"]


@fact("delay.explained")
class DelayExplained(Contract):
    """The petitioner was told why the answer is late and when to expect it."""

    reason: Reason
    expected: DateOrTime
    by_head: Flag | None = Field(default=None, description="The head of the department explained.")


@fact("disclosure.decided")
class DisclosureDecided(Contract):
    """A request for information was decided."""

    decision: Literal["open", "partly", "closed"]
    over_objection: Flag | None = Field(
        default=None, description="Open although a third party asked that it stay closed."
    )
    reason: Reason | None = None


@fact("disclosure.third_party_notified")
class DisclosureThirdPartyNotified(Contract):
    """A third party was told that information about it is asked for (Information Disclosure Act art. 11(3))."""


@fact("disclosure.third_party_objected")
class DisclosureThirdPartyObjected(Contract):
    """A third party asked that the information stay closed (Information Disclosure Act art. 21(1))."""


@fact("disclosure.notified")
class DisclosureNotified(Contract):
    """The decision on disclosure was told to the petitioner."""


@fact("disclosure.fee_asked")
class DisclosureFeeAsked(Contract):
    """A fee for disclosure is owed; until it is paid nothing need be handed over."""


@fact("disclosure.fee_paid")
class DisclosureFeePaid(Contract):
    """The fee for disclosure was paid."""


@fact("disclosure.disclosed")
class DisclosureDisclosed(Contract):
    """The information was handed over."""


@fact("objection.received")
class ObjectionReceived(Contract):
    """Somebody objects to a refusal, to a decision on disclosure, or to silence (이의신청)."""

    by: Literal["petitioner", "third_party"] | None = Field(default=None, description="Without it, the petitioner.")


@fact("objection.extended")
class ObjectionExtended(Contract):
    """The time to decide an objection was extended, once and by as much again."""

    reason: Reason


@fact("objection.decided")
class ObjectionDecided(Contract):
    """An objection was decided, and the result told."""

    outcome: Literal["upheld", "partly", "dismissed"]


@fact("callback.requested")
class CallbackRequested(Contract):
    """The officer could not be reached, and the citizen left a note."""

    via: Literal["phone", "visit"]
    cause: Literal["absent", "line_busy"] | None = Field(default=None, description="Without it, absent.")
    wanted_at: Timestamp | None = Field(default=None, description="The latest instant; an earlier call counts.")
    wanted_place: Reason | None = None
    memo: Memo
    officer: StaffId | None = None


@fact("callback.rescheduled")
class CallbackRescheduled(Contract):
    """The citizen wants another time."""

    wanted_at: Timestamp


@fact("callback.made")
class CallbackMade(Contract):
    """The officer called. `reached: false` in time meets the promise, and brings a task to try again."""

    by: StaffId
    reached: Flag


@fact("guardian.requested")
class GuardianRequested(Contract):
    """The petitioner wants a petition guardian (민원후견인)."""


@fact("guardian.assigned")
class GuardianAssigned(Contract):
    """A petition guardian was named."""

    officer: StaffId


@fact("fault.reported")
class FaultReported(Contract):
    """A citizen says that a promise was broken or that an officer was at fault."""

    ground: FaultGround
    via: FaultVia | None = None
    promise: ClauseId | None = Field(default=None, description="The clause that was broken.")
    officer: StaffId | None = None
    text: Text | None = None


@fact("fault.confirmed")
class FaultConfirmed(Contract):
    """An approver found the fault to be so."""

    about: Id | None = Field(
        default=None,
        description="The id of the fault.reported, or the promise. Confirmed, it is refused until the report has come.",
    )
    ground: FaultGround
    via: FaultVia | None = None
    officer: StaffId | None = Field(default=None, description="Gihan fills it in from the report.")
    reason: Reason | None = None
    by: StaffId | None = Field(default=None, description="Who found it; they do not approve what follows from it.")


@fact("fault.dismissed")
class FaultDismissed(FaultConfirmed):
    """An approver found no fault, or a just reason (정당한 사유)."""

    reason: Reason


_Score = Annotated[StrictInt, Field(ge=1, le=5)]


@fact("survey.answered")
class SurveyAnswered(Contract):
    """The petitioner of a closed case said how it went."""

    satisfaction: _Score = Field(
        description="1 very dissatisfied, 2 dissatisfied, 3 neither, 4 satisfied, 5 very satisfied."
    )
    promptness: _Score | None = Field(default=None, description="How quickly it went, on the same scale.")
    kindness: _Score | None = Field(default=None, description="How kind the staff was, on the same scale.")
    guidance: _Score | None = Field(default=None, description="How clear what was told was, on the same scale.")
    comment: Text | None = None


SURVEY_QUESTIONS = ("satisfaction", "promptness", "kindness", "guidance")
"""What survey.answered scores from 1 to 5; the first is answered by everybody."""


# Desks and telephones: the subject is the id of the visit, the appointment or the call


@fact("visit.arrived")
class VisitArrived(Contract):
    """A visitor came to the office."""

    assistance_needed: Flag | None = Field(default=None, description="Disabled, elderly or infirm.")
    bell: Flag | None = Field(default=None, description="Rang the bell at the entrance.")
    desk: Label


@fact("visit.guided")
class VisitGuided(Contract):
    """The visitor found the officer."""

    seconds_to_officer: Seconds


@fact("visit.attended")
class VisitAttended(Contract):
    """Other work stopped to hear the visitor."""

    seconds_to_attention: Seconds


@fact("visit.officer_came")
class VisitOfficerCame(Contract):
    """The officer came to the visitor."""

    officer: StaffId


@fact("visit.staff_waiting")
class VisitStaffWaiting(Contract):
    """Staff wait at the entrance for an announced visitor."""

    officer: StaffId


@fact("visit.home_visited")
class VisitHomeVisited(Contract):
    """Staff visited the citizen."""

    officer: StaffId


@fact("appointment.booked")
class AppointmentBooked(Contract):
    """A citizen agreed a time with an officer."""

    at: Timestamp
    officer: StaffId
    assistance_needed: Flag | None = None


@fact("appointment.cancelled")
class AppointmentCancelled(Contract):
    """An agreed time was given up."""

    at: Timestamp
    officer: StaffId
    assistance_needed: Flag | None = None


@fact("call.answered")
class CallAnswered(Contract):
    """A call was answered."""

    rings: Annotated[StrictInt, Field(ge=0, le=1_000)] = Field(
        description="Ring signals begun before the receiver is lifted; answering during the third is 3."
    )
    seconds_to_answer: Seconds | None = None
    department: Label
    officer: StaffId | None = None


@fact("call.transferred")
class CallTransferred(Contract):
    """A call was put through."""

    wait_seconds: Seconds
    to_department: Label
    line_busy: Flag | None = Field(default=None, description="Without it, true.")


@fact("call.ended")
class CallEnded(Contract):
    """A call was over."""

    duration_seconds: Seconds
    hangup_delay_seconds: Seconds | None = None
    settled_without_transfer: Flag | None = None


# The municipality itself: the subject is the tenant's own id


class Publication(Contract):
    """What the municipality made public, and where."""

    where: Annotated[list[Place], Field(min_length=1, max_length=3)]
    url: Annotated[str, Field(pattern=r"^https?://[!-~]{1,480}$")] | None = None
    year: Annotated[StrictInt, Field(ge=1970, le=2999)]


@fact("survey.conducted")
class SurveyConducted(Publication):
    """A satisfaction survey ended; the event's time is when."""

    where: Annotated[list[Place], Field(max_length=3)]


@fact("survey.published")
class SurveyPublished(Publication):
    """The result of a survey was published."""


@fact("assessment.published")
class AssessmentPublished(Publication):
    """How far the standards were kept was published."""


@fact("action_plan.published")
class ActionPlanPublished(Publication):
    """A plan of action was published."""


@fact("booklet.published")
class BookletPublished(Publication):
    """A booklet of the charter was published."""


@fact("charter.enacted")
class CharterEnacted(Contract):
    """A version of the tenant's charter holds from a day."""

    version: Version
    sha256: Sha256 = Field(description="Of the file's bytes.")
    in_force: Date
    applies: Applies
    go_live: Timestamp | None = Field(
        default=None, description="A tenant's first only: deadlines past before it are shown, never paid."
    )


@fact("calendar.enacted")
class CalendarEnacted(Contract):
    """A version of a calendar holds; dates after its horizon are provisional."""

    calendar: Id
    version: Version
    sha256: Sha256 = Field(description="Of the file's bytes.")
    horizon: Date


@fact("rules.enacted")
class RulesEnacted(Contract):
    """A revision of the rules in the program holds from here on."""

    revision: Version
    applies: Applies


@fact("calendar.exception")
class CalendarException(Contract):
    """A day off or a working day that the calendar did not know."""

    date: Date
    closed: Flag
    name: Title
    hours: Annotated[list[Annotated[str, Field(pattern=_HOURS)]], Field(max_length=10)] | None = Field(
        default=None, description="Stretches such as 09:00-13:00, of a day that is open."
    )
    local: Flag | None = Field(default=None, description="A day off of this municipality alone (지방공휴일).")


@fact("outage.declared")
class OutageDeclared(Span):
    """A system is down."""

    system: Label


@fact("outage.lifted")
class OutageLifted(Span):
    """A system is up again; `until` is when."""

    system: Label


@fact("force_majeure.declared")
class ForceMajeureDeclared(Span):
    """An event beyond control stops the clock."""

    reason: Reason


@fact("force_majeure.revoked")
class ForceMajeureRevoked(Span):
    """A declaration of force majeure is taken back."""

    reason: Reason


CLOCK_TYPE = "clock.advanced"


class ClockAdvanced(Contract):
    """A tick: the clock of a partition stands at `to`. Written by the ticker of the partition alone."""

    to: Timestamp


FACT_TYPES: tuple[str, ...] = tuple(FACTS)

OPENING_TYPES = frozenset(
    {"complaint.received", "callback.requested", "visit.arrived", "call.answered", "appointment.booked"}
)
"""Types that open a case; their source owns it, and without a subject intake makes one."""

TENANT_WIDE = frozenset(
    {
        "staff.described",
        "charter.enacted",
        "calendar.enacted",
        "rules.enacted",
        "calendar.exception",
        "outage.declared",
        "outage.lifted",
        "force_majeure.declared",
        "force_majeure.revoked",
    }
)
"""Types that concern every case of a tenant, and so go to all partitions."""

MUNICIPAL_TYPES = TENANT_WIDE | {
    "survey.conducted",
    "survey.published",
    "assessment.published",
    "action_plan.published",
    "booklet.published",
}
"""Types whose subject is the tenant's own id, so that only its administrator may publish them."""


# Personal data and the stored form


@dataclass(frozen=True, slots=True)
class PiiField:
    """A field that holds personal data: its dotted path in the published data, and its mark."""

    path: str
    mark: Pii

    @property
    def ref_path(self) -> str:
        """Of a free text: the dotted path of its reference in the stored data."""
        return f"{self.path}_ref"


@dataclass(frozen=True, slots=True)
class PersonalData:
    """The personal data of one event, apart as the vault keeps it. A blank detail is one to take out."""

    person: dict[str, str] = field(default_factory=dict, repr=False)
    staff: dict[str, str] = field(default_factory=dict, repr=False)
    texts: dict[str, str] = field(default_factory=dict, repr=False)
    """Free texts by the dotted path of their field; a list is one text, an item a line."""


def _mark(info: FieldInfo) -> Pii | None:
    inner = [mark for arg in get_args(info.annotation) for mark in getattr(arg, "__metadata__", ())]
    return next((mark for mark in (*info.metadata, *inner) if isinstance(mark, Pii)), None)


def _submodel(info: FieldInfo) -> type[Contract] | None:
    kind = info.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Contract) else None


def _pii_fields(model: type[Contract], before: str = "") -> tuple[PiiField, ...]:
    found: list[PiiField] = []
    for name, info in model.model_fields.items():
        path = f"{before}{info.alias or name}"
        if mark := _mark(info):
            found.append(PiiField(path, mark))
        elif inside := _submodel(info):
            found.extend(_pii_fields(inside, f"{path}."))
    return tuple(found)


PII_FIELDS: Mapping[str, tuple[PiiField, ...]] = {type: _pii_fields(model) for type, model in FACTS.items()}
"""Where each type holds personal data; empty for most."""

INBOX_TYPES: tuple[str, ...] = tuple(type for type in FACT_TYPES if not PII_FIELDS[type])
"""Types without any personal data, which alone may be left in INBOX."""


def published_model(type: str) -> type[Contract]:
    """The data of a type as a publisher sends it. Raises KeyError for an unknown type."""
    return FACTS[type]


@cache
def stored_model(type: str) -> type[Contract]:
    """The data of a type as the log holds it, without personal data. Raises KeyError for an unknown type."""
    model = FACTS[type]
    if not PII_FIELDS[type]:
        return model
    kinds = {pii.mark.kind for pii in PII_FIELDS[type]}
    more: dict[str, Any] = {}
    if "person" in kinds:
        more["subject_ref"] = (Reference | None, None)
        more |= {f"has_{detail}": (Flag | None, None) for detail in PERSON_DETAILS}
    if "staff" in kinds:
        more |= {f"has_{detail}": (Flag | None, None) for detail in STAFF_DETAILS}
    return _without_personal_data(model, more)


def _without_personal_data(model: type[Contract], more: dict[str, Any]) -> type[Contract]:
    fields: dict[str, Any] = {}
    for name, info in model.model_fields.items():
        mark, inside = _mark(info), _submodel(info)
        if mark is not None:
            if mark.kind == "text":
                fields[f"{name}_ref"] = (Reference | None, None)
        elif inside is not None and _pii_fields(inside):
            if any(_mark(below) is None for below in inside.model_fields.values()):
                fields[name] = (_without_personal_data(inside, {}), ...)
        else:
            fields[name] = (info.annotation, info)
    return create_model(f"Stored{model.__name__}", __base__=Contract, __doc__=model.__doc__, **fields, **more)


_IMPERSONAL = PersonalData()


class Parted(NamedTuple):
    """The data of an event, its personal data apart from what the log may hold."""

    personal: PersonalData
    content: dict[str, Any]
    """The rest, absent values left out."""
    details: dict[str, bool]
    """Of the person: which details are there."""

    def stored(self, *, subject_ref: str | None, text_refs: Mapping[str, str]) -> dict[str, Any]:
        """The data to store: references in the place of personal data.

        `text_refs` holds the reference of every text that is apart, by the same path.
        """
        content = dict(self.content)
        for path in self.personal.texts:
            above, name = _steps(path)
            holder = content
            for step in above:
                inner = dict(holder[step])
                holder[step], holder = inner, inner
            holder[f"{name}_ref"] = text_refs[path]
        if subject_ref is not None:
            content["subject_ref"] = subject_ref
        return content | self.details


def part(type: str, data: Contract) -> Parted:
    """Takes the personal data out of a published event's data, for the vault.

    Of an applicant.updated only the details that it names are said to be there or not.
    """
    content = data.model_dump(mode="json", exclude_unset=True)
    if not PII_FIELDS[type]:
        return Parted(_IMPERSONAL, _without_none(content), {})
    taken = PersonalData()
    details = dict(_nothing_known(type))
    for pii in PII_FIELDS[type]:
        above, name = _steps(pii.path)
        holder = content
        for step in above:
            holder = holder[step]
        if name not in holder:
            continue
        value = holder.pop(name)
        if pii.mark.kind != "text":
            (taken.person if pii.mark.kind == "person" else taken.staff)[pii.mark.detail] = value or ""
            details[f"has_{pii.mark.detail}"] = value is not None
        elif value is not None:
            taken.texts[pii.path] = "\n".join(value) if isinstance(value, list) else value
    content.pop("applicant", None)
    return Parted(taken, _without_none(content), details)


@cache
def _nothing_known(type: str) -> dict[str, bool]:
    if type == "applicant.updated":
        return {}
    kinds = {pii.mark.kind for pii in PII_FIELDS[type]}
    details = PERSON_DETAILS if "person" in kinds else STAFF_DETAILS if "staff" in kinds else ()
    return {f"has_{detail}": False for detail in details}


@cache
def _steps(path: str) -> tuple[list[str], str]:
    *above, name = path.split(".")
    return above, name


def _without_none(content: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _without_none(value) if isinstance(value, dict) else value
        for name, value in content.items()
        if value is not None
    }
