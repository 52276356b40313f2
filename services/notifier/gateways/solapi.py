"""Solapi (formerly CoolSMS): text messages, and AlimTalk that becomes a text where it does not arrive.

The one rule: our key goes with every message (`customFields`), so that one without an answer is looked for by it. The
interface takes the same message as often as it is handed over; that is why it is asked first.

Requests are signed with HMAC-SHA256 over date and salt. What is asked names no telephone number: a list of the minutes
around the attempt is read instead, since addresses end up in the logs of others.
"""

import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from services.chassis.clock import RealClock
from services.notifier import texts
from services.notifier.gateways import (
    BAD_NUMBER,
    Answer,
    Found,
    Letter,
    Means,
    Outcome,
    Told,
    mobile,
    sender,
    short_subject,
)
from services.notifier.gateways.calling import UNREACHED, Line, of_status, read
from services.rules import instants
from services.rules.instants import Instant

URL = "https://api.solapi.com"
PAGE = 500
MOST_PAGES = 20
_AROUND = 10 * instants.MINUTE
"""How long before and after an attempt its message is looked for: clocks differ, and servers take their time."""
_UTC = ZoneInfo("UTC")
_OURS = frozenset(
    ("InvalidAPIKey", "SignatureDoesNotMatch", "RequestTimeTooSkewed", "Unauthorized", "Forbidden", "NotEnoughBalance")
)
"""Errors that say something of our account and nothing of the message."""


class AlimTalk(NamedTuple):
    """An approved KakaoTalk template, and the values that it wants; without one of them a text is sent."""

    channel: str
    template: str
    variables: frozenset[str]


class SolapiGateway:
    """Texts and AlimTalk, all that it is handed in one request. `talks` has an approved template for some of ours, by
    our name and language, such as `receipt.ko`."""

    means: Means = "sms"
    together = 100
    finds = True
    reports = True

    def __init__(
        self, name: str, key: str, secret: str, *, url: str = URL, rate: float = 0, talks: Mapping[str, AlimTalk]
    ) -> None:
        self.name = name
        self.rate = rate
        self._key = key
        self._secret = secret
        self._talks = talks
        self._line = Line(url)

    async def send(self, letters: Sequence[Letter]) -> list[Answer]:
        """Hands over messages."""
        answers = dict.fromkeys((letter.key for letter in letters), BAD_NUMBER)
        wanted = [self._content(letter, number) for letter in letters if (number := mobile(letter)) is not None]
        if wanted:
            answers |= await self._hand_over(wanted)
        return [answers[letter.key] for letter in letters]

    def _content(self, letter: Letter, number: str) -> dict[str, Any]:
        kind, text = texts.sms_text(letter.message)
        content: dict[str, Any] = {
            "to": number,
            "from": sender(letter.tenant),
            "country": "82",
            "type": kind,
            "autoTypeDetect": False,
            "text": text,
            "customFields": {"key": letter.key},
        }
        if kind == "LMS":
            content["subject"] = short_subject(letter)
        talk = self._talks.get(f"{letter.template}.{letter.language}")
        if talk is not None and talk.variables <= letter.message.values.keys():
            content["type"] = "ATA"
            content["kakaoOptions"] = {
                "pfId": talk.channel,
                "templateId": talk.template,
                "variables": {f"#{{{name}}}": letter.message.values[name] for name in sorted(talk.variables)},
                "disableSms": False,
            }
        return content

    async def _hand_over(self, contents: Sequence[Mapping[str, Any]]) -> dict[str, Answer]:
        keys = [content["customFields"]["key"] for content in contents]
        # Two messages to one number in a request are two messages.
        body = {"messages": contents, "allowDuplicates": True, "showMessageList": True}
        response = await self._line.post("/messages/v4/send-many/detail", json=body, headers=await self._signed())
        if isinstance(response, Answer):
            return dict.fromkeys(keys, response)
        said = read(response)
        judged = {_key(one): _rejected(one) for one in said.get("failedMessageList") or ()}
        judged |= {_key(one): _accepted(one) for one in said.get("messageList") or ()}
        if response.is_success:
            other = Answer(Outcome.UNANSWERED, "not_listed")
        elif said.get("errorCode") in _OURS:
            other = Answer(Outcome.UNREACHABLE, _word(said["errorCode"]))
        else:
            other = of_status(response, _word(said.get("errorCode")))
        return {key: judged.get(key, other) for key in keys}

    async def find(self, letter: Letter, since: Instant) -> Told:
        """Looks for our key among what was handed over around that time."""
        window = {
            "dateType": "CREATED",
            "startDate": instants.text(since - _AROUND, _UTC),
            "endDate": instants.text(since + _AROUND, _UTC),
            "limit": str(PAGE),
        }
        start: dict[str, str] = {}
        for _ in range(MOST_PAGES):
            page = await self._line.get("/messages/v4/list", await self._signed(), **window, **start)
            if page is None:
                return UNREACHED
            for one in (page.get("messageList") or {}).values():
                if _key(one) == letter.key:
                    return _fate(one)
            if not page.get("nextKey"):
                return Told(Found.NOT_TAKEN)
            start = {"startKey": page["nextKey"]}
        return Told(Found.CANNOT_SAY)

    async def report(self, ref: str) -> Told:
        """Asks by Solapi's own id."""
        page = await self._line.get("/messages/v4/list", await self._signed(), messageId=ref)
        if page is None:
            return UNREACHED
        one = (page.get("messageList") or {}).get(ref)
        return Told(Found.CANNOT_SAY, ref=ref) if one is None else _fate(one)

    async def _signed(self) -> dict[str, str]:
        date = instants.local(await RealClock().now(), _UTC).isoformat(timespec="milliseconds")
        salt = secrets.token_hex(16)
        return {"Authorization": authorization(self._key, self._secret, date, salt)}

    async def close(self) -> None:
        """Gives connections back."""
        await self._line.close()


def authorization(key: str, secret: str, date: str, salt: str) -> str:
    """The header that proves who asks; `date` is ISO 8601 with an offset."""
    signature = hmac.new(secret.encode(), (date + salt).encode(), hashlib.sha256).hexdigest()
    return f"HMAC-SHA256 ApiKey={key}, Date={date}, salt={salt}, signature={signature}"


def _key(one: Mapping[str, Any]) -> str:
    return str((one.get("customFields") or {}).get("key", ""))


def _accepted(one: Mapping[str, Any]) -> Answer:
    return Answer(Outcome.ACCEPTED, _word(one.get("statusCode")), one.get("messageId"))


def _rejected(one: Mapping[str, Any]) -> Answer:
    return Answer(Outcome.REJECTED, _word(one.get("statusCode")))


def _fate(one: Mapping[str, Any]) -> Told:
    """2xxx: taken in; 3000: on its way; 4000: arrived; all else: it will not."""
    status, ref = str(one.get("statusCode") or ""), one.get("messageId")
    found = Found.UNDELIVERED
    if status == "4000":
        found = Found.DELIVERED
    elif status.startswith("2") or status in ("", "3000"):
        found = Found.TAKEN
    return Told(found, _word(status), ref)


def _word(code: object) -> str:
    """Solapi's code as one of our words, which holds nothing else."""
    plain = "".join(character for character in str(code or "no_code") if character.isascii() and character.isalnum())
    return f"solapi_{plain.lower()[:40]}"
