"""The examples of the OpenAPI document. The one rule: each is accepted as it stands; a test sends them all."""

from typing import Any

_HEAD: dict[str, Any] = {
    "specversion": "1.0",
    "id": "web-2026-000123",
    "source": "web",
    "type": "complaint.received",
    "subject": "m-2026-000123",
    "time": "2026-03-12T09:30:00+09:00",
    "tenant": "seoul",
}
_APPLICANT = {
    "name": "홍길동",
    "address": "서울시 중구 1",
    "mobile": "010-0000-0000",
    "email": "gildong@citizen.example",
}

COMPLAINT_EVENT: dict[str, Any] = {
    **_HEAD,
    "data": {
        "channel": "web",
        "kind": "inquiry",
        "title": "가로등이 꺼져 있습니다",
        "text": "공원 입구의 가로등이 사흘째 꺼져 있습니다.",
        "applicant": _APPLICANT,
        "notify_by": "sms",
        "language": "ko",
    },
}
COMPLETED_EVENT: dict[str, Any] = {
    **_HEAD,
    "id": "web-2026-000124",
    "type": "complaint.completed",
    "data": {"outcome": "answered", "by": "k-1024"},
}

BY_NUMBER: dict[str, Any] = {
    "name": _APPLICANT["name"],
    "number": _APPLICANT["mobile"],
    "checked": "identity_card",
}
BY_RECEIPT: dict[str, Any] = {"name": _APPLICANT["name"], "receipt": "000000001-3", "checked": "power_of_attorney"}

RESOURCES: dict[str, dict[str, Any]] = {
    "complaints": COMPLAINT_EVENT["data"],
    "commendations": {
        "channel": "web",
        "title": "창구에서 끝까지 도와주셨습니다",
        "applicant": _APPLICANT,
    },
    "appointments": {"at": "2026-03-13T14:00:00+09:00", "officer": "k-1024", "assistance_needed": True},
    "callbacks": {
        "via": "phone",
        "memo": {
            "caller": "홍길동",
            "phone": "010-0000-0000",
            "matter": "가로등 수리 일정",
            "taken_by": "k-2048",
            "reply_wanted": True,
        },
        "officer": "k-1024",
    },
    "callbacks/{case}/made": {"by": "k-1024", "reached": True},
    "callbacks/{case}/rescheduled": {"wanted_at": "2026-03-12T17:00:00+09:00"},
    "cases/{case}/faults": {"ground": "late", "text": "약속한 날까지 답이 없었습니다."},
}
"""By path, what is posted there."""
