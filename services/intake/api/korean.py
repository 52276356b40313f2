"""What the API has to say to those who read Korean: every problem, by its English sentence or else by its code.

The one rule it protects: a Korean sentence says what the English one says, and nothing that was sent.
"""

import re

_MORE = re.compile(r" \((\d+) more fields are wrong\.\)$")

_SENTENCES = {
    # The form of values (contracts)
    "a time needs an offset such as +09:00": "시각에는 +09:00과 같은 시차를 함께 적어 주십시오.",
    "write a time as RFC 3339 with an offset, such as 2026-03-12T18:00:00+09:00": (
        "시각은 2026-03-12T18:00:00+09:00과 같이 시차가 있는 RFC 3339 형식으로 적어 주십시오."
    ),
    "there is no such date or time of day; check month, day, hour and offset": (
        "그런 날짜나 시각은 없습니다. 월, 일, 시와 시차를 확인해 주십시오."
    ),
    "a time must lie in the years 1970 to 2999": "시각은 1970년부터 2999년 사이여야 합니다.",
    "a date must lie in the years 1970 to 2999": "날짜는 1970년부터 2999년 사이여야 합니다.",
    "use letters a to z, digits, '-' and '_', at most 64, beginning with a letter or digit": (
        "영문자, 숫자, '-', '_'로 64자까지 적어 주십시오. 첫 글자는 영문자나 숫자여야 합니다."
    ),
    "write a type as <noun>.<verb> in lower case, such as complaint.received": (
        "종류는 complaint.received와 같이 소문자로 <명사>.<동사> 꼴로 적어 주십시오."
    ),
    "write a date as YYYY-MM-DD, such as 2026-03-12": "날짜는 2026-03-12와 같이 YYYY-MM-DD로 적어 주십시오.",
    "there is no such date; check month and day": "그런 날짜는 없습니다. 월과 일을 확인해 주십시오.",
    "control characters and line breaks have no place here; leave them out": (
        "여기에는 제어 문자와 줄바꿈을 쓸 수 없습니다. 빼고 보내 주십시오."
    ),
    "this looks like an address or a number of a person; such data has no place in this field": (
        "개인의 주소나 번호로 보입니다. 이 항목에는 개인정보를 적을 수 없습니다."
    ),
    "write a text that people can read, without control characters": (
        "사람이 읽을 수 있는 글을 제어 문자 없이 적어 주십시오."
    ),
    "until lies before from; exchange them": "끝(until)이 시작(from)보다 앞섭니다. 서로 바꾸어 주십시오.",
    "name either to_department or to_agency": "to_department와 to_agency 가운데 하나만 적어 주십시오.",
    # Where a sentence says more than its code
    "Name the case: only an event that opens one may leave it out.": (
        "민원을 지정해 주십시오. 새 민원을 여는 이벤트만 생략할 수 있습니다."
    ),
    "The tenant's own id names no case. Give the id of one.": (
        "기관 자신의 이름은 민원이 아닙니다. 민원의 id를 적어 주십시오."
    ),
    "give the person's telephone number, or the receipt number of a case of theirs: one of the two": (
        "전화번호와 그분이 낸 민원의 접수번호 가운데 하나만 적어 주십시오."
    ),
    "There is a field here that is not known.": "알 수 없는 항목이 있습니다. 계약에 있는 항목만 보내 주십시오.",
}

_CODES = {
    # The form
    "not_utf8": "글이 UTF-8이 아닙니다. UTF-8로 된 JSON을 보내 주십시오.",
    "not_json": "본문이 JSON이 아니거나 너무 깊습니다. UTF-8로 된 JSON 문서를 보내 주십시오.",
    "not_a_number": "숫자가 아니거나 범위를 벗어났습니다. 정수는 2^53 안이어야 하며, 없는 값은 빼고 보내 주십시오.",
    "too_deep": "값이 너무 깊게 겹쳐 있습니다. 16단계까지만 받습니다.",
    "bad_text": "글에 쓸 수 없는 문자(NUL, 반쪽 문자)가 있습니다. 빼고 보내 주십시오.",
    "duplicate_key": "한 객체에 같은 항목이 두 번 있습니다. 한 번만 보내 주십시오.",
    "too_large": "이벤트 하나는 64 KiB까지입니다. 글을 줄여 주십시오.",
    "wrong_number": "이벤트의 수가 허용된 범위를 벗어났습니다. 나누어 보내 주십시오.",
    "invalid": "빠졌거나 잘못된 항목이 있습니다. `errors`를 보십시오.",
    "missing": "꼭 있어야 하는 항목이 빠졌습니다.",
    "extra_forbidden": "알 수 없는 항목이 있습니다. 계약에 있는 항목만 보내 주십시오.",
    "literal_error": "정해진 값 가운데 하나를 적어 주십시오.",
    "string_type": "글자로 적어 주십시오.",
    "string_too_short": "글이 너무 짧습니다.",
    "string_too_long": "글이 너무 깁니다.",
    "string_pattern_mismatch": "형식이 맞지 않습니다.",
    "int_type": "정수로 적어 주십시오.",
    "bool_type": "true 또는 false로 적어 주십시오.",
    "list_type": "목록으로 적어 주십시오.",
    "dict_type": "객체로 적어 주십시오.",
    "model_type": "객체로 적어 주십시오.",
    "too_short": "목록이 너무 짧습니다.",
    "too_long": "목록이 너무 깁니다.",
    "greater_than_equal": "값이 너무 작습니다.",
    "less_than_equal": "값이 너무 큽니다.",
    "value_error": "값이 맞지 않습니다. 계약에 적힌 형식을 확인해 주십시오.",
    "wrong_cursor": "이어 보기 표식이 맞지 않습니다. 앞 쪽에서 받은 것을 그대로 보내 주십시오.",
    "wrong_key": "Idempotency-Key는 따옴표로 묶은, 255자까지의 글이어야 합니다.",
    # Whose, and what
    "unknown_tenant": "여기서 맡지 않는 기관입니다. 철자를 확인해 주십시오.",
    "wrong_tenant": "자기 기관의 이벤트만 보낼 수 있습니다.",
    "wrong_source": "source는 인증 키가 나타내는 시스템이어야 합니다.",
    "unknown_source": "이 기관에 그런 시스템은 없습니다. 운영자에게 이름을 확인해 주십시오.",
    "unknown_service": "그 코드의 서비스가 없습니다.",
    "unknown_type": "그런 종류의 이벤트는 없습니다.",
    "unknown_version": "있는 버전을 적거나 빼고 보내 주십시오.",
    "wrong_subject": "이 종류의 이벤트에 맞지 않는 대상(subject)입니다.",
    "wrong_type": "받은 주소에 적힌 종류와 같아야 합니다.",
    "unknown_revision": (
        "이 프로그램이 모르는 규칙 판입니다. 운영자가 그 판이 있는 배포본을 모든 서비스에 먼저 설치한 뒤에 "
        "보내 주십시오."
    ),
    "unknown_charter": (
        "이 판, 날짜, 해시의 헌장이 여기에 없습니다. 운영자가 파일을 contracts/charters에 넣거나 그 파일이 있는 "
        "배포본을 설치하고 모든 서비스를 다시 시작한 뒤에 보내 주십시오."
    ),
    "unknown_calendar": (
        "이 판, 날짜, 해시의 달력이 여기에 없습니다. 운영자가 파일을 contracts/calendars에 넣거나 그 파일이 있는 "
        "배포본을 설치하고 모든 서비스를 다시 시작한 뒤에 보내 주십시오."
    ),
    "not_administrator": "이 종류는 기관의 관리 시스템만 보낼 수 있습니다.",
    "time_in_future": "시각이 5분 넘게 앞섭니다. 보내는 시스템의 시계를 맞추어 주십시오.",
    "too_old": "시각이 이 기관이 정한 기한보다 오래되었습니다.",
    "anonymous": "이 기관은 이름과 주소가 없는 민원을 접수하지 않습니다. 전화번호도 함께 적어 주십시오.",
    "other_content": "이 id는 다른 내용으로 이미 쓰였습니다. 새 이벤트에는 새 id를 주십시오.",
    "key_reused": "이 Idempotency-Key는 다른 내용으로 이미 쓰였습니다. 새 요청에는 새 키를 주십시오.",
    "other_source": "다른 시스템이 연 민원입니다. 그 시스템과 기관이 정한 협력 시스템만 알릴 수 있습니다.",
    "unknown_fact": "취소할 사실이 없습니다. source와 id를 확인해 주십시오.",
    "other_case": "그 사실은 다른 민원의 것입니다. 그 민원을 대상으로 적어 주십시오.",
    # Who asks
    "unknown_key": "`Authorization: Bearer <키>`로 시스템의 API 키를 보내 주십시오.",
    "wrong_token": "로그인 정보가 맞지 않거나 기한이 지났습니다. 다시 로그인해 주십시오.",
    "no_department": "로그인 정보에 부서가 없습니다. 관리자에게 알려 주십시오.",
    "not_allowed": "이 역할로는 할 수 없는 일입니다.",
    "operators_only": "운영자를 위한 주소입니다. 이 기기에서, 또는 운영자의 토큰으로 물어 주십시오.",
    "unknown_case": "그런 민원이 없거나, 볼 수 있는 민원이 아닙니다.",
    "unknown_event": "그 이름으로 보내신 이벤트가 없습니다.",
    "unknown_deadline": "그 이름의 기한이 있는 민원이 없습니다.",
    "unknown_person": (
        "그 이름과 그 번호가 함께 있는 사람이 없습니다. 신분증과 둘을 다시 확인해 주십시오. "
        "지워진 사람은 접수번호로만 찾습니다."
    ),
    "unknown_appointment": "그런 약속이 없습니다.",
    "out_of_calendar": "기간이 달력에 없는 날에 끝납니다.",
    # How much, and when
    "held_back": "이 기관의 이벤트가 아직 많이 처리되고 있습니다. 잠시 뒤에 다시 보내 주십시오.",
    "too_many_requests": "요청이 너무 잦습니다. Retry-After에 적힌 시간 뒤에 다시 보내 주십시오.",
    "too_many_at_once": "동시에 보내신 요청이 너무 많습니다. 앞의 답을 받은 뒤에 보내 주십시오.",
    "unavailable": "제때 답을 얻지 못했습니다. 같은 것을 같은 id로 다시 보내 주십시오. 한 번만 접수됩니다.",
    "internal": "저희 쪽에서 문제가 생겼습니다. 반쯤 된 것은 없으니 같은 것을 같은 id로 다시 보내 주십시오.",
    "not_found": "그런 주소가 없습니다.",
    "method_not_allowed": "이 주소에서 쓸 수 없는 방법입니다.",
    "request_entity_too_large": "본문이 너무 큽니다. 4 MiB까지 받습니다. 줄이거나 나누어 보내 주십시오.",
    "unreadable_form": "양식을 읽을 수 없습니다. 항목이 너무 많거나 길고, 또는 받지 않는 파일이 들어 있습니다.",
}

_OTHERS = "값이 맞지 않습니다. 문서에 적힌 형식을 확인해 주십시오."


def say(code: str, detail: str) -> str:
    """A problem in Korean, by its English detail, else by its code; what is neither gets a sentence that fits all."""
    more = _MORE.search(detail)
    sentence = detail[: more.start()] if more else detail
    korean = _SENTENCES.get(sentence.removeprefix("Value error, ")) or _CODES.get(code, _OTHERS)
    return f"{korean} (그 밖에 {more[1]}개 항목이 더 맞지 않습니다.)" if more else korean
