"""The words of explanations in Korean and English: what events, grounds, units and states are called.

The one rule: a name here is what a citizen would call it; a code that has none stands for itself.
"""

from collections.abc import Mapping
from typing import Literal

Language = Literal["ko", "en"]
Words = Mapping[str, tuple[str, str]]
"""Korean and English, by code."""

EVENTS: Words = {
    "complaint.received": ("민원 접수", "the petition was received"),
    "complaint.assigned": ("담당자 배정", "an officer was assigned"),
    "complaint.classified": ("민원 분류", "the petition was classified"),
    "complaint.transferred": ("이송", "the petition was passed on"),
    "complaint.procedure_explained": ("처리 절차 설명", "the procedure was explained"),
    "complaint.direction_notified": ("처리 방향 알림", "the petitioner heard how it would be handled"),
    "complaint.progress_notified": ("처리 상황 알림", "the petitioner heard how far it had come"),
    "complaint.reply_date_notified": ("답변 예정일 알림", "the petitioner heard when to expect the answer"),
    "complaint.supplement_requested": ("보완 요구", "papers were asked for"),
    "complaint.supplement_extended": ("보완 기간 연장", "more time to supplement was given"),
    "complaint.supplement_received": ("보완 서류 도착", "the papers arrived"),
    "complaint.suspended": ("처리기간 정지", "the clock was stopped"),
    "complaint.resumed": ("처리기간 재개", "the clock went on"),
    "complaint.extended": ("처리기간 연장", "the period was extended"),
    "complaint.completed": ("처리 완료", "the petition was answered"),
    "complaint.rejected": ("거부 처분", "the petition was refused"),
    "complaint.returned": ("반려", "the petition was given back"),
    "complaint.withdrawn": ("취하", "the petition was withdrawn"),
    "complaint.closed_without_answer": ("종결", "the case was closed without an answer"),
    "complaint.reopened": ("사건 재개", "the case was opened again"),
    "fact.voided": ("잘못된 기록 취소", "a fact was taken back"),
    "delay.explained": ("지연 사유 설명", "the delay was explained"),
    "disclosure.decided": ("공개 여부 결정", "the request for information was decided"),
    "disclosure.third_party_notified": ("제3자 통지", "the third party was told"),
    "disclosure.third_party_objected": ("제3자의 비공개 요청", "the third party asked to keep it closed"),
    "disclosure.notified": ("결정 통지", "the decision was told"),
    "disclosure.fee_paid": ("수수료 납부", "the fee was paid"),
    "disclosure.disclosed": ("정보 공개", "the information was handed over"),
    "objection.received": ("이의신청", "an objection came"),
    "objection.extended": ("이의신청 결정 기간 연장", "the time to decide the objection was extended"),
    "objection.decided": ("이의신청 결정", "the objection was decided"),
    "callback.requested": ("연락 요청", "a call back was asked for"),
    "callback.rescheduled": ("연락 시각 변경", "another time was wanted for the call"),
    "callback.made": ("연락", "the officer called"),
    "guardian.requested": ("후견인 신청", "a guardian was asked for"),
    "guardian.assigned": ("후견인 지정", "a guardian was named"),
    "fault.reported": ("불편 신고", "a fault was reported"),
    "fault.confirmed": ("잘못 확인", "a fault was confirmed"),
    "visit.arrived": ("방문", "a visitor arrived"),
    "visit.guided": ("방문 안내", "the visitor found the officer"),
    "visit.attended": ("방문 응대", "the visitor was attended to"),
    "visit.officer_came": ("담당자 도착", "the officer came"),
    "visit.staff_waiting": ("현관 마중", "staff waited at the entrance"),
    "visit.home_visited": ("가정 방문", "staff visited the home"),
    "appointment.booked": ("방문 예약", "an appointment was booked"),
    "appointment.cancelled": ("예약 취소", "the appointment was given up"),
    "call.answered": ("전화 받음", "the call was answered"),
    "call.transferred": ("전화 연결", "the call was put through"),
    "call.ended": ("통화 종료", "the call ended"),
    "survey.conducted": ("만족도 조사", "a survey was held"),
    "survey.published": ("조사 결과 공표", "the result of a survey was published"),
    "assessment.published": ("이행 평가 공표", "the assessment was published"),
    "action_plan.published": ("개선 계획 공표", "the plan of action was published"),
    "booklet.published": ("책자 발간", "the booklet was published"),
    "calendar.exception": ("쉬는 날 변경", "a day was closed or opened by decision"),
    "calendar.enacted": ("달력 확정", "a calendar came into force"),
    "charter.enacted": ("헌장 개정", "a charter came into force"),
    "deadline.breached": ("지켜지지 못한 약속", "this promise was broken"),
    "deadline.voided": ("지나간 기간", "this time ran out"),
    "each_year": ("해마다 지는 의무", "the year began: the duty is owed every year"),
}
GROUNDS: Words = {
    "supplement": ("보완 요구", "waiting for papers"),
    "transport": ("서류 송달", "papers on their way"),
    "representative": ("대표자 선정", "choosing a representative"),
    "hearing": ("의견 청취", "a hearing"),
    "inspection": ("검사·감정", "tests and inspections"),
    "preliminary": ("선행 절차", "a procedure that comes first"),
    "outage": ("전산 장애", "a failure of the system"),
    "site_visit": ("현장 조사", "a visit to the site"),
    "shared_documents": ("공동이용 서류 확인", "papers from another office"),
    "preceding_case": ("선행 사건", "a case that comes first"),
    "cooperation": ("관계 기관 협조", "other agencies had to help"),
    "fact_check": ("사실 확인", "facts had to be checked"),
    "force_majeure": ("천재지변", "force majeure"),
    "equivalent": ("그에 준하는 사유", "a reason of like weight"),
    "bulk": ("많은 분량", "the bulk of the papers"),
    "third_party": ("제3자 의견", "a third party had to be heard"),
    "partial": ("일부 공개 검토", "a part had to be kept closed"),
    "surge": ("업무 폭주", "a surge of requests"),
}
WAITED_FOR: Words = {
    "supplement": ("보완 서류가 도착하면", "the papers arrive"),
    "hearing": ("의견 청취가 끝나면", "the hearing is over"),
    "outage": ("전산이 복구되면", "the system is up again"),
    "site_visit": ("현장 조사가 끝나면", "the visit to the site is over"),
    "": ("정지 사유가 끝나면", "the reason for it is over"),
}
SKIPPED: Words = {
    "first_date": ("첫날은 세지 않습니다", "the first day does not count"),
    "outside_hours": ("근무시간이 아닙니다", "outside working hours"),
    "break": ("점심시간입니다", "the lunch break"),
    "weekend": ("주말입니다", "a weekend"),
    "closed": ("근무하지 않는 날입니다", "a day without office hours"),
    "named": ("정해진 때까지입니다", "until the time that was set"),
    "rolled": (
        "마지막 날이 쉬는 날이어서 이 근무일이 끝날 때까지입니다",
        "the last day was closed, so it ends with this working day",
    ),
    "next_working_day": (
        "기간이 지난 뒤 첫 근무일이 끝날 때까지입니다",
        "it ends with the first working day after the period",
    ),
}
UNITS: Words = {
    "seconds": ("{}초", "second"),
    "minutes": ("{}분", "minute"),
    "calendar_hours": ("{}시간", "hour"),
    "working_minutes": ("근무시간 {}분", "working minute"),
    "working_hours": ("근무시간 {}시간", "working hour"),
    "working_days": ("근무일 {}일", "working day"),
    "statutory_days": ("{}일", "day"),
    "calendar_days": ("{}일", "day"),
    "calendar_months": ("{}개월", "month"),
    "weeks": ("{}주", "week"),
    "months": ("{}개월", "month"),
    "years": ("{}년", "year"),
}
READINGS: Words = {
    "day_end=24:00": ("마지막 날은 24:00에 끝나는 것으로 봅니다", "the last day is over at 24:00"),
    "day_end=18:00": ("마지막 날은 18:00에 끝나는 것으로 봅니다", "the last day is over at 18:00"),
    "after_hours_receipt=literal": (
        "근무시간이 지나 접수되어도 그날을 첫날로 셉니다",
        "what is received after hours has that day as its first",
    ),
    "after_hours_receipt=next_open": (
        "근무시간이 지나 접수되면 다음 근무가 시작될 때부터 셉니다",
        "what is received after hours is counted from the next opening",
    ),
    "pause_mode=day_inclusive": (
        "정지가 시작된 날과 끝난 날은 모두 셈에서 뺍니다",
        "the days on which a stop begins and ends are both left out",
    ),
    "pause_mode=exact": ("정지된 시간만큼만 셈에서 뺍니다", "a stop takes out its exact time alone"),
    "objection_count=civil": (
        "이의신청 결정 기간은 쉬는 날도 셉니다",
        "the time to decide an objection counts every day",
    ),
    "objection_count=statutory": (
        "이의신청 결정 기간은 쉬는 날을 빼고 셉니다",
        "the time to decide an objection leaves out days off",
    ),
    "progress_send_by=next_working_day": (
        "처리 상황은 기간이 지난 뒤 첫 근무일까지 알립니다",
        "word of the progress is due by the first working day after the period",
    ),
    "progress_send_by=same_day": (
        "처리 상황은 기간의 마지막 날까지 알립니다",
        "word of the progress is due by the last day of the period itself",
    ),
    "local_holiday_excluded=true": ("우리 지역만 쉬는 날도 셈에서 뺍니다", "a local day off is left out"),
    "local_holiday_excluded=false": ("우리 지역만 쉬는 날은 셈에서 빼지 않습니다", "a local day off counts"),
}
OWED: Words = {
    "office": ("약속", "The promise"),
    "duty": ("시의 의무", "The duty of the city"),
    "citizen": ("민원인께서 하실 일", "For the petitioner to do"),
    "third_party": ("제3자가 할 수 있는 일", "Open to the third party"),
    "nobody": ("법에서 정한 기간", "A time set by law"),
}
STATES: Words = {
    "open": ("진행 중입니다", "it is running"),
    "suspended": ("멈춰 있습니다", "it stands still"),
    "met": ("지켰습니다", "it was kept"),
    "broken": ("지키지 못했습니다", "it was broken"),
    "lapsed": ("기간이 지났습니다", "its time ran out"),
    "void": ("더는 해당하지 않습니다", "it no longer applies"),
    "met citizen": ("하셨습니다", "it was done"),
    "met third_party": ("하였습니다", "it was done"),
    "met nobody": ("기간 안에 결정이 있었습니다", "the decision came in time"),
    "broken deemed": (
        "지키지 못했습니다. 그래서 수리된 것으로 봅니다",
        "it was broken, and so the petition counts as accepted",
    ),
    "lapsed citizen": ("하지 않으신 채 기간이 지났습니다", "its time ran out without it"),
    "kept": ("지켰습니다", "it was kept"),
    "noted": ("정해진 한도가 없어 잰 그대로 보여 드립니다", "there is no limit; it is shown as measured"),
    "unstarted": ("이 사건에서는 시작되지 않았습니다", "it has not begun in this case"),
}
FIELDS: Words = {
    "seconds_to_officer": ("담당자를 만나기까지", "until the officer was found"),
    "seconds_to_attention": ("응대를 시작하기까지", "until the visitor was attended to"),
    "rings": ("전화벨", "rings of the telephone"),
    "wait_seconds": ("기다린 시간", "time waited"),
    "duration_seconds": ("통화 시간", "length of the call"),
    "hangup_delay_seconds": ("수화기를 내려놓기까지", "until the receiver was put down"),
    "settled_without_transfer": ("전화를 돌리지 않고 끝냄", "settled without being passed on"),
    "arrived_at": ("도착", "arrival"),
    "kind": ("민원의 종류", "the kind of petition"),
    "channel": ("접수 방법", "the way it came"),
    "via": ("요청한 방법", "the way it was asked for"),
    "memo.reply_wanted": ("회신을 원하는지", "whether a reply is wanted"),
    "cause": ("통화하지 못한 까닭", "why the officer was not reached"),
    "assistance_needed": ("도움이 필요한지", "whether assistance is needed"),
    "bell": ("안내벨을 눌렀는지", "whether the bell was rung"),
    "compound": ("복합민원인지", "whether it is a compound petition"),
    "guardian_wanted": ("후견인을 원하는지", "whether a guardian is wanted"),
    "period_days": ("처리기간의 날수", "the days of its period"),
    "has_period": ("처리기간이 있는지", "whether it has a period"),
    "urgent": ("긴급한지", "whether it is urgent"),
    "line_busy": ("통화 중이었는지", "whether the line was busy"),
    "to_agency": ("다른 기관으로 가는지", "whether it goes to another agency"),
    "decision": ("결정 내용", "the decision"),
    "over_objection": ("제3자의 뜻에 반하는지", "whether it is against a third party's wish"),
    "by": ("누가 또는 무엇으로", "by whom or by what means"),
}
COUNTED: Words = {"rings": ("{}번", "ring"), "settled_without_transfer": ("{}", "")}
"""How a measured number is said; any other is in seconds."""
LIMITS: Words = {
    "at_most": ("{} 이하", "at most {}"),
    "below": ("{} 미만", "less than {}"),
    "at_least": ("{} 이상", "at least {}"),
}
VALUES: Words = {
    "True": ("예", "yes"),
    "False": ("아니요", "no"),
    "None": ("알려지지 않음", "not stated"),
    "inquiry": ("질의", "inquiry"),
    "inquiry_law": ("법령 질의", "inquiry about the law"),
    "suggestion": ("건의", "suggestion"),
    "grievance": ("고충민원", "grievance"),
    "service_grievance": ("서비스 불만", "grievance about the service"),
    "handling_grievance": ("처리에 대한 불만", "grievance about the handling"),
    "disclosure": ("정보공개 청구", "request for information"),
    "statutory": ("법정민원", "statutory petition"),
    "commendation": ("칭찬", "commendation"),
    "corruption_report": ("부패 신고", "report of corruption"),
    "other": ("기타 민원", "other petition"),
    "visit": ("방문", "visit"),
    "phone": ("전화", "telephone"),
    "post": ("우편", "post"),
    "fax": ("팩스", "fax"),
    "web": ("인터넷", "web"),
    "email": ("전자우편", "e-mail"),
    "sms": ("문자", "text message"),
    "absent": ("자리에 없음", "absent"),
}
TESTS: Words = {
    "any_of": ("{}", "{}"),
    "none_of": ("{} 말고 다른 것", "anything but {}"),
    "at_least": ("{} 이상", "at least {}"),
    "present": ("있는지: {}", "there: {}"),
    "includes": ("{} 포함", "{} among them"),
}
OBSTACLES: Words = {
    "never_happened": ("이런 기록이 없습니다: {event}", "there is no record that {event}"),
    "refused": (
        "기록은 있으나 규칙({code})에 어긋나 받아들여지지 않았습니다: {event}",
        "it was refused by the rule {code} that {event}",
    ),
    "not_received": (
        "민원이 접수되지 않아 아직 뜻이 없습니다: {event}",
        "the petition is not received yet; until then it means nothing that {event}",
    ),
    "does_not_fit": (
        "조건에 맞지 않습니다: {event} - {field}: {found} (필요한 값: {wanted})",
        "it does not fit: {event}; {field}: {found}, where {wanted} is wanted",
    ),
    "nothing_to_judge": (
        "기록에 따질 수 있는 값이나 시각이 없습니다: {event}",
        "the record carries no number or time to judge by, though {event}",
    ),
    "no_period": ("이런 민원에는 정해진 기간이 없습니다: {event}", "no period is set for it, though {event}"),
    "not_broken": (
        "다른 약속의 기한이 지나야 시작되는데, 지나지 않았습니다: {other}",
        "it begins only once another promise is past its date, and this is not: {other}",
    ),
    "over_by_then": (
        "그때에는 기한이 이미 지났거나, 그해에 이미 시작되었습니다: {event}",
        "its time was over already by then, or it had begun once that year, when {event}",
    ),
    "case_closed": ("그때에는 사건이 끝나 있었습니다: {event}", "the case was closed by then, when {event}"),
    "city_duty": (
        "모든 시민에 대한 의무여서 시 자체의 사건 {home}에서 봅니다",
        "it is owed to everybody: ask for it in the city's own case, {home}",
    ),
    "no_clock": ("시간이나 수로 재는 약속이 아닙니다. {code}", "it is not kept by a clock or a number: {code}"),
}
KINDS: Words = {
    "task": ("할 일로 지킵니다", "it is kept by a task"),
    "notice": ("알림으로 지킵니다", "it is kept by a message"),
    "admission": ("접수할 때 지킵니다", "it is kept when something comes in"),
    "workflow": ("처리 과정에서 지킵니다", "it is kept by the way of handling"),
    "conduct": ("직원의 태도로 지키며, 어긋나면 신고하실 수 있습니다", "it is conduct; report it where it falls short"),
    "remedy": ("약속이 지켜지지 못했을 때의 보상입니다", "it is what follows when a promise was broken"),
}
