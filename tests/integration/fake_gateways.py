"""Gateways that are none: they judge what they are handed as the real ones do (signature, time, form), keep what they
took, and fail as they are told to.

The one rule: whatever is not as the vendor's documents say is refused, so that a mistake of ours shows.
"""

import asyncio
import base64
import hashlib
import hmac
import re
import secrets
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

KEY, SECRET = "the-access-key", "the-secret"
SILENCE_SECONDS = 30.0
SLOW_SECONDS = 0.3
FAULTS = ("none", "500", "slow", "hang", "silent")
"""500: not now; slow: a while for each answer; hang: neither taken nor answered; silent: taken and not answered."""


class Fake:
    """What all have: what they took (key or text by times), their fault, and what becomes of what they took."""

    def __init__(self) -> None:
        self.taken: Counter[str] = Counter()
        self.messages: list[dict[str, Any]] = []
        self.refused: list[str] = []
        self.fault = "none"
        self.fate = "pending"
        self.requests = 0
        self._silence = asyncio.Event()

    def app(self) -> Starlette:
        raise NotImplementedError

    async def before(self) -> Response | None:
        """What a fault answers before anything is taken."""
        self.requests += 1
        match self.fault:
            case "500":
                return JSONResponse({"errorCode": "InternalError", "errorMessage": "later"}, 500)
            case "slow":
                await asyncio.sleep(SLOW_SECONDS)
            case "hang":
                await self._until_let_go()
                return JSONResponse({}, 500)
        return None

    async def after(self) -> None:
        """A lost answer."""
        if self.fault == "silent":
            await self._until_let_go()

    async def _until_let_go(self) -> None:
        try:
            async with asyncio.timeout(SILENCE_SECONDS):
                await self._silence.wait()
        except TimeoutError:
            return

    def let_go(self) -> None:
        """Ends every silence."""
        self._silence.set()
        self._silence = asyncio.Event()

    def refuse(self, why: str, status: int = 400) -> Response:
        """Refuses, and remembers why for the test that wonders."""
        self.refused.append(why)
        return JSONResponse({"errorCode": why, "errorMessage": why}, status)


class FakeSolapi(Fake):
    """Solapi's messages/v4."""

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/messages/v4/send-many/detail", self._send, methods=["POST"]),
                Route("/messages/v4/list", self._list),
            ]
        )

    def _judge(self, request: Request) -> Response | None:
        form = r"HMAC-SHA256 ApiKey=([^,]+), Date=([^,]+), salt=([^,]+), signature=([0-9a-f]{64})"
        found = re.fullmatch(form, request.headers.get("authorization", ""))
        if found is None or found[1] != KEY:
            return self.refuse("InvalidAPIKey", 403)
        when = datetime.fromisoformat(found[2])
        if when.tzinfo is None or abs(datetime.now(UTC) - when) > timedelta(minutes=15):
            return self.refuse("RequestTimeTooSkewed", 403)
        if not 12 <= len(found[3]) <= 64:
            return self.refuse("InvalidSalt", 403)
        wanted = hmac.new(SECRET.encode(), f"{found[2]}{found[3]}".encode(), hashlib.sha256).hexdigest()
        return None if hmac.compare_digest(wanted, found[4]) else self.refuse("SignatureDoesNotMatch", 403)

    async def _send(self, request: Request) -> Response:
        if (answer := self._judge(request)) or (answer := await self.before()):
            return answer
        body = await request.json()
        if not body.get("messages"):
            return self.refuse("ValidationError")
        listed, failed = [], []
        for message in body["messages"]:
            code = _flaw_of(message)
            id = f"M4V{letters(24).upper()}"
            fields = message.get("customFields")
            if code:
                more = {"to": message["to"], "from": message["from"], "type": message.get("type"), "country": "82"}
                more |= {"accountId": "1", "statusMessage": "refused"}
                failed.append({**more, "messageId": id, "statusCode": code, "customFields": fields})
                continue
            self.taken[(fields or {}).get("key", id)] += 1
            self.messages.append({**message, "messageId": id, "created": datetime.now(UTC)})
            listed.append({"messageId": id, "statusCode": "2000", "statusMessage": "ok", "customFields": fields})
        await self.after()
        if not listed:
            return JSONResponse({"errorCode": "FailedToAddMessage", "failedMessageList": failed}, 400)
        shown = listed if body.get("showMessageList") else None
        return JSONResponse(
            {"groupInfo": _group(len(listed), len(failed)), "failedMessageList": failed, "messageList": shown}
        )

    async def _list(self, request: Request) -> Response:
        if answer := self._judge(request):
            return answer
        query = request.query_params
        assert not re.search(r"01\d{8,9}", unquote(str(request.url))), "a number in an address"
        found = list(self.messages)
        if "messageId" in query:
            found = [one for one in found if one["messageId"] == query["messageId"]]
        if "startDate" in query:
            first, last = (datetime.fromisoformat(query[name]) for name in ("startDate", "endDate"))
            found = [one for one in found if first <= one["created"] <= last]
        start, limit = int(query.get("startKey", 0)), min(int(query.get("limit", 20)), 2)
        page = found[start : start + limit]
        more = str(start + limit) if start + limit < len(found) else None
        return JSONResponse(
            {
                "limit": limit,
                "nextKey": more,
                "messageList": {
                    one["messageId"]: {
                        "messageId": one["messageId"],
                        "to": one["to"],
                        "type": one["type"],
                        "statusCode": {"pending": "3000", "delivered": "4000", "undelivered": "3058"}[self.fate],
                        "customFields": one.get("customFields"),
                    }
                    for one in page
                },
            }
        )


def letters(number: int) -> str:
    """An id without digits: an address with it must never look like one with a telephone number."""
    return "".join(secrets.choice("abcdef") for _ in range(number))


def _flaw_of(message: dict[str, Any]) -> str | None:
    """Solapi's code for what is wrong with a message."""
    if not re.fullmatch(r"01\d{8,9}", message.get("to", "")) or not re.fullmatch(r"\d{8,11}", message.get("from", "")):
        return "1062"
    size = len(message.get("text", "").encode("cp949"))
    if size > {"SMS": 90}.get(message.get("type", ""), 2000):
        return "1030"
    talk = message.get("kakaoOptions")
    if message.get("type") == "ATA" and not (
        talk
        and talk.get("pfId")
        and talk.get("templateId")
        and all(re.fullmatch(r"#\{.+\}", n) for n in talk["variables"])
    ):
        return "3104"
    return None


def _group(taken: int, failed: int) -> dict[str, Any]:
    total = taken + failed
    cash = {"requested": 0, "replacement": 0, "refund": 0, "sum": 0}
    count = {"total": total, "sentTotal": 0, "sentSuccess": 0, "sentPending": 0, "sentReplacement": 0, "refund": 0}
    return {
        "groupId": "G4V1", "count": {**count, "registeredFailed": failed, "registeredSuccess": taken},
        "countForCharge": {}, "balance": cash, "point": cash, "app": {}, "log": [], "status": "SENDING",
        "allowDuplicates": True, "isRefunded": False, "accountId": "1", "masterAccountId": None, "apiVersion": "4",
        "price": {}, "dateCreated": "2026-03-10T00:00:00.000Z", "dateUpdated": "2026-03-10T00:00:00.000Z",
    }  # fmt: skip


class FakeSens(Fake):
    """SENS' sms/v2."""

    service = "ncp:sms:kr:123456789012:sens"

    def app(self) -> Starlette:
        path = "/sms/v2/services/{service}/messages"
        return Starlette(
            routes=[
                Route(path, self._send, methods=["POST"]),
                Route(path, self._list),
                Route(path + "/{message}", self._one),
            ]
        )

    def _judge(self, request: Request) -> Response | None:
        if request.path_params["service"] != self.service:
            return self.refuse("no such service", 404)
        time = request.headers.get("x-ncp-apigw-timestamp", "")
        if not time.isdigit() or abs(datetime.now(UTC).timestamp() * 1000 - int(time)) > 300_000:
            return self.refuse("timestamp", 401)
        if request.headers.get("x-ncp-iam-access-key") != KEY:
            return self.refuse("access key", 401)
        raw = request.scope["raw_path"].decode()
        address = raw.partition("?")[0] + (
            f"?{request.scope['query_string'].decode()}" if request.scope["query_string"] else ""
        )
        signed = f"{request.method} {address}\n{time}\n{KEY}".encode()
        wanted = base64.b64encode(hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()).decode()
        if not hmac.compare_digest(wanted, request.headers.get("x-ncp-apigw-signature-v2", "")):
            return self.refuse("signature", 401)
        assert not re.search(r"01\d{8,9}", unquote(address)), "a number in an address"
        return None

    async def _send(self, request: Request) -> Response:
        if (answer := self._judge(request)) or (answer := await self.before()):
            return answer
        body = await request.json()
        limit = {"SMS": 90, "LMS": 2000}.get(body.get("type", ""), 0)
        if (
            len(body["content"].encode("cp949")) > limit
            or len(body.get("subject", "").encode("cp949")) > 40
            or not re.fullmatch(r"\d{8,11}", body["from"])
            or [set(one) for one in body["messages"]] != [{"to"}]
        ):
            return self.refuse("form")
        id = letters(32)
        self.taken[body["content"]] += 1
        one = {"requestId": id, "messageId": f"m-{id}", "to": body["messages"][0]["to"], "from": body["from"]}
        self.messages.append({**one, "content": body["content"], "created": datetime.now(UTC), "type": body["type"]})
        await self.after()
        return JSONResponse({"requestId": id, "requestTime": "-", "statusCode": "202", "statusName": "success"}, 202)

    async def _list(self, request: Request) -> Response:
        if answer := self._judge(request):
            return answer
        query = request.query_params
        if "requestId" in query:
            found = [one for one in self.messages if one["requestId"] == query["requestId"]]
        else:
            korea = timedelta(hours=9)
            first, last = (
                datetime.strptime(query[name], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC) - korea
                for name in ("requestStartTime", "requestEndTime")
            )
            found = [one for one in self.messages if first <= one["created"] <= last]
        index, size = int(query.get("pageIndex", 0)), min(int(query.get("pageSize", 10)), 2)
        page = found[index * size : (index + 1) * size]
        more = (index + 1) * size < len(found)
        return JSONResponse({"messages": [self._shown(one) for one in page], "hasMore": more, "statusCode": "202"})

    async def _one(self, request: Request) -> Response:
        if answer := self._judge(request):
            return answer
        found = [one for one in self.messages if one["messageId"] == request.path_params["message"]]
        return JSONResponse({"messages": [{**self._shown(one), "content": one["content"]} for one in found]})

    def _shown(self, one: dict[str, Any]) -> dict[str, Any]:
        """SENS does not show the text in a list."""
        shown = {name: one[name] for name in ("requestId", "messageId", "to", "from", "type")}
        if self.fate == "pending":
            return {**shown, "status": "PROCESSING"}
        arrived = self.fate == "delivered"
        return {
            **shown,
            "status": "COMPLETED",
            "statusCode": "0" if arrived else "3018",
            "statusName": "success" if arrived else "fail",
        }


class FakeKannel(Fake):
    """smsbox' sendsms, by POST. `dlr` has the addresses at which it is to report."""

    def __init__(self) -> None:
        super().__init__()
        self.dlr: list[str] = []

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/cgi-bin/sendsms", self._send, methods=["POST"])])

    async def _send(self, request: Request) -> Response:
        said = {name.removeprefix("x-kannel-"): value for name, value in request.headers.items()}
        if (said.get("username"), said.get("password")) != (KEY, SECRET):
            self.refused.append("login")
            return PlainTextResponse("Authorization failed for sendsms", 403)
        if answer := await self.before():
            return answer
        if request.url.query or said.get("coding") != "2" or not said["content-type"].startswith("text/plain"):
            self.refused.append("form")
            return PlainTextResponse("bad", 400)
        text = (await request.body()).decode()
        self.taken[text] += 1
        self.messages.append({"to": said["to"], "from": said["from"], "content": text})
        if "dlr-url" in said:
            self.dlr.append(said["dlr-url"])
        await self.after()
        return PlainTextResponse("0: Accepted for delivery", 202)


@asynccontextmanager
async def serving(fake: Fake) -> AsyncIterator[str]:
    """The fake at an address of this machine, for as long as the block lasts."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(fake.app(), log_config=None, access_log=False, lifespan="off"))
        serving = asyncio.create_task(server.serve([taken]))
        try:
            yield f"http://127.0.0.1:{taken.getsockname()[1]}"
        finally:
            fake.let_go()
            server.should_exit = server.force_exit = True
            await serving
