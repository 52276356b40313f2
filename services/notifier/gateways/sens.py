"""Naver Cloud SENS, of the public and of the government cloud: text messages.

The one rule: SENS keeps no name of ours for a message, so one without an answer is looked for by the minutes around
the attempt, and known again by its recipient and its text, word for word. What is asked names no telephone number.

Requests are signed with HMAC-SHA256 over method, path with query, time and access key; the time may differ from
theirs by five minutes.
"""

import base64
import hashlib
import hmac
import re
from typing import Any
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

import httpx

from services.chassis.clock import RealClock
from services.notifier import texts
from services.notifier.gateways import Answer, Found, Letter, Outcome, Told, mobile, sender, short_subject
from services.notifier.gateways.calling import UNREACHED, OneByOne, read
from services.rules import instants
from services.rules.instants import Instant

HOSTS = {"public": "https://sens.apigw.ntruss.com", "government": "https://sens.apigw.gov-ntruss.com"}
PAGE = 100
MOST_PAGES = 50
_AROUND = 10 * instants.MINUTE
_SEOUL = ZoneInfo("Asia/Seoul")
"""SENS tells and takes times of Seoul, without an offset."""


class SensGateway(OneByOne):
    """Texts, one in a request: the request's id is all that names a message."""

    finds = True
    reports = True

    def __init__(self, name: str, service: str, key: str, secret: str, *, url: str, rate: float = 0) -> None:
        super().__init__(name, url, rate)
        self._key = key
        self._secret = secret
        self._path = f"/sms/v2/services/{quote(service, safe=':')}/messages"

    async def hand_over(self, letter: Letter, number: str, kind: str, text: str) -> httpx.Response | Answer:
        """A text, as SMS or LMS."""
        body: dict[str, Any] = {
            "type": kind,
            "contentType": "COMM",
            "countryCode": "82",
            "from": sender(letter.tenant),
            "content": text,
            "messages": [{"to": number}],
        }
        if kind == "LMS":
            body["subject"] = short_subject(letter)
        return await self.line.post(self._path, json=body, headers=await self._signed("POST", self._path))

    def taken(self, answer: Answer, response: httpx.Response) -> Answer:
        """With the id of the request. Without one it may have been taken, and is looked for."""
        ref = read(response).get("requestId")
        return answer._replace(ref=str(ref)) if ref else Answer(Outcome.UNANSWERED, "no_request_id")

    async def find(self, letter: Letter, since: Instant) -> Told:
        """Looks for a message to the same number with the same words around that time."""
        _, text = texts.sms_text(letter.message)
        number, from_ = mobile(letter), sender(letter.tenant)
        window = {"requestStartTime": _time(since - _AROUND), "requestEndTime": _time(since + _AROUND)}
        for page in range(MOST_PAGES):
            listed = await self._get(**window, pageSize=str(PAGE), pageIndex=str(page))
            if listed is None:
                return UNREACHED
            for one in listed.get("messages") or ():
                if (one.get("to"), one.get("from")) != (number, from_):
                    continue
                whole = await self._get(str(one.get("messageId")))
                if whole is None:
                    return UNREACHED
                if any(message.get("content") == text for message in whole.get("messages") or ()):
                    return _fate(one)
            if not listed.get("hasMore"):
                return Told(Found.NOT_TAKEN)
        return Told(Found.CANNOT_SAY)

    async def report(self, ref: str) -> Told:
        """Asks by the id of the request."""
        listed = await self._get(requestId=ref)
        if listed is None:
            return UNREACHED
        messages = listed.get("messages") or ()
        return _fate(messages[0]) if messages else Told(Found.CANNOT_SAY, ref=ref)

    async def _get(self, message: str = "", **query: str) -> Any:
        path = f"{self._path}/{quote(message, safe='')}" if message else self._path
        address = f"{path}?{urlencode(query, quote_via=quote)}" if query else path
        return await self.line.get(address, await self._signed("GET", address))

    async def _signed(self, method: str, address: str) -> dict[str, str]:
        milliseconds = str(await RealClock().now() // 1000)
        return {
            "x-ncp-apigw-timestamp": milliseconds,
            "x-ncp-iam-access-key": self._key,
            "x-ncp-apigw-signature-v2": signature(self._secret, method, address, milliseconds, self._key),
        }


def signature(secret: str, method: str, address: str, milliseconds: str, key: str) -> str:
    """What proves who asks; `address` is the path with its query, as it is sent."""
    signed = f"{method} {address}\n{milliseconds}\n{key}".encode()
    return base64.b64encode(hmac.new(secret.encode(), signed, hashlib.sha256).digest()).decode()


def _time(moment: Instant) -> str:
    return instants.local(moment, _SEOUL).strftime("%Y-%m-%d %H:%M:%S")


def _fate(one: Any) -> Told:
    """COMPLETED with `success` arrived, with anything else it will not; READY and PROCESSING are on their way."""
    code = re.sub(r"[^a-z0-9]", "", str(one.get("statusCode") or "").lower())[:40]
    ref = str(one.get("requestId") or "") or None
    if one.get("status") != "COMPLETED":
        return Told(Found.TAKEN, "sens_pending", ref)
    arrived = one.get("statusName") == "success"
    return Told(Found.DELIVERED if arrived else Found.UNDELIVERED, f"sens_{code or 'no_code'}", ref)
