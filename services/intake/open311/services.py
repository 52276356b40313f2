"""The services that a municipality offers in the sense of GeoReport: its kinds of petition, and its statutory services.

The one rule: they follow from the contract and the charter; no city has a list of its own here.
"""

import hashlib
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

from services.chassis.http import Problem
from services.rules.charter import Charter

_KINDS: Mapping[str, tuple[str, str]] = {
    "inquiry": ("질의", "Inquiry"),
    "inquiry_law": ("법령 질의", "Question of law"),
    "suggestion": ("건의", "Suggestion"),
    "grievance": ("고충민원", "Grievance"),
    "service_grievance": ("불친절 신고", "Grievance about a service"),
    "handling_grievance": ("처리 불만", "Grievance about the handling of a case"),
    "disclosure": ("정보공개 청구", "Request for information"),
    "commendation": ("칭찬", "Commendation"),
    "corruption_report": ("부패 신고", "Report of corruption"),
    "other": ("기타 민원", "Other petition"),
}
NOTIFY_BY = ("sms", "email", "post", "none")


class Service(NamedTuple):
    """A service: its code, its names, and what a petition for it says."""

    code: str
    ko: str
    en: str
    data: Mapping[str, Any]

    def name(self, korean: bool) -> str:
        """Its name in the language of the reader."""
        return self.ko if korean else self.en


def offered(charter: Charter | None) -> list[Service]:
    """Every service of a municipality."""
    kinds = [Service(kind, ko, en, {"kind": kind}) for kind, (ko, en) in _KINDS.items()]
    names = charter.services if charter else {}
    statutory = [Service(_code(name), name, name, {"kind": "statutory", "service": name}) for name in names]
    return kinds + statutory


def find(charter: Charter | None, code: str) -> Service:
    """The service with a code. Raises Problem 404."""
    found = next((service for service in offered(charter) if service.code == code), None)
    if found is None:
        raise Problem(HTTPStatus.NOT_FOUND, "unknown_service", "There is no service of this code.")
    return found


def of_case(charter: Charter | None, kind: str | None, service: str | None) -> Service | None:
    """The service that a case is about."""
    code = _code(service) if kind == "statutory" and service else kind
    return next((each for each in offered(charter) if each.code == code), None)


def attributes(charter: Charter | None) -> list[dict[str, Any]]:
    """What a petition may say beside what GeoReport has fields for."""
    needs_address = charter is not None and any(
        clause.refuse and "address" in clause.asks for clause in charter.clauses.values()
    )
    return [
        {
            "variable": True,
            "code": "applicant_address",
            "datatype": "string",
            "required": needs_address,
            "order": 1,
            "description": "신청인 주소 / Address of the petitioner",
        },
        {
            "variable": True,
            "code": "notify_by",
            "datatype": "singlevaluelist",
            "required": False,
            "order": 2,
            "description": "알림 방법 / How to be told",
            "values": [{"key": means, "name": means} for means in NOTIFY_BY],
        },
    ]


def _code(name: str) -> str:
    return f"statutory-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
