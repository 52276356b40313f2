"""The ways out: a gateway for text messages over HTTP, and e-mail over SMTP.

The one rule: an answer says what is certain. Refused for good, refused for now, never reached, and "it may
have been taken" are four different things, and only the last one has to be asked after before another
attempt.
"""

import asyncio
import re
from collections.abc import Mapping
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from enum import StrEnum
from typing import Literal, NamedTuple, Protocol
from urllib.parse import unquote, urlsplit

import aiosmtplib
import httpx

from services.notifier import texts
from services.notifier.texts import Message
from services.rules import instants
from services.rules.instants import Instant
from services.rules.tenants import Tenant

Means = Literal["sms", "email"]

CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 5.0
_MOBILE = re.compile(r"01[016789]\d{7,8}")
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,250}[A-Za-z0-9])?")


class Outcome(StrEnum):
    """How an attempt ended."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    """Refused for good: the same again would be refused again."""
    DEFERRED = "deferred"
    """The gateway answered that it cannot now."""
    UNREACHABLE = "unreachable"
    """Nothing was handed over."""
    UNANSWERED = "unanswered"
    """It was handed over and no answer came: it may have been taken."""


class Answer(NamedTuple):
    """The outcome of an attempt, and the gateway's own code, which holds nothing personal."""

    outcome: Outcome
    code: str


class Found(StrEnum):
    """What a gateway says when asked after a message."""

    TAKEN = "taken"
    NOT_TAKEN = "not_taken"
    CANNOT_SAY = "cannot_say"
    UNREACHABLE = "unreachable"


class Letter(NamedTuple):
    """One message on its way: what, to whom, from whom. `key` is the same at every attempt."""

    key: str
    tenant: Tenant
    language: str
    contact: Mapping[str, str]
    message: Message
    at: Instant


class Gateway(Protocol):
    """A way out."""

    means: Means

    async def send(self, letter: Letter) -> Answer:
        """One attempt. Never raises for what the other side does."""

    async def find(self, key: str) -> Found:
        """Whether an earlier attempt with this key was taken."""

    async def close(self) -> None:
        """Gives connections back."""


class SmsGateway:
    """Text messages through a gateway that knows a message by our key (the development gateway's form)."""

    means: Means = "sms"

    def __init__(self, url: str) -> None:
        # No proxy from the environment and no redirect: a text goes where the settings say, or nowhere.
        self._http = httpx.AsyncClient(
            base_url=url,
            trust_env=False,
            follow_redirects=False,
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
        )

    async def send(self, letter: Letter) -> Answer:
        """Hands over a text; decides itself whether it is a short or a long one."""
        number = re.sub(r"[\s().-]", "", letter.contact.get("mobile", ""))
        if not _MOBILE.fullmatch(number):
            return Answer(Outcome.REJECTED, "bad_number")
        kind, text = texts.sms_text(letter.message)
        content = {
            "key": letter.key,
            "from": letter.tenant.sms_sender,
            "to": number,
            "kind": kind,
            "subject": letter.message.subject if kind == "LMS" else "",
            "text": text,
        }
        try:
            response = await self._http.post("/messages", json=content)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout):
            return Answer(Outcome.UNREACHABLE, "no_connection")
        except httpx.HTTPError:
            return Answer(Outcome.UNANSWERED, "no_answer")
        return _of_status(response.status_code)

    async def find(self, key: str) -> Found:
        """Asks the gateway by our key."""
        try:
            response = await self._http.get(f"/messages/{key}")
        except httpx.HTTPError:
            return Found.UNREACHABLE
        if response.status_code == httpx.codes.OK:
            return Found.TAKEN
        return Found.NOT_TAKEN if response.status_code == httpx.codes.NOT_FOUND else Found.UNREACHABLE

    async def close(self) -> None:
        """Gives connections back."""
        await self._http.aclose()


def _of_status(status: int) -> Answer:
    code = f"http_{status}"
    if 200 <= status < 300:
        return Answer(Outcome.ACCEPTED, code)
    if status in (408, 425, 429) or status >= 500:
        return Answer(Outcome.DEFERRED, code)
    return Answer(Outcome.REJECTED, code)


class EmailGateway:
    """E-mail over one SMTP connection, kept open between messages."""

    means: Means = "email"

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._client = aiosmtplib.SMTP(
            hostname=parts.hostname,
            port=parts.port or 25,
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            use_tls=parts.scheme == "smtps",
            timeout=ANSWER_SECONDS,
        )
        self._turn = asyncio.Lock()

    async def send(self, letter: Letter) -> Answer:
        """Hands over a mail. Before the text itself is under way, a broken line means that nothing was
        taken.
        """
        to = letter.contact.get("email", "")
        if not _ADDRESS.fullmatch(to):
            return Answer(Outcome.REJECTED, "bad_address")
        mail = compose(letter, to)
        async with self._turn:
            try:
                await self._connect()
            except aiosmtplib.SMTPResponseException as error:
                # A greeting or a login that fails says nothing about this mail.
                self._client.close()
                return Answer(Outcome.UNREACHABLE, f"smtp_{error.code}")
            except (aiosmtplib.SMTPException, OSError):
                return Answer(Outcome.UNREACHABLE, "no_connection")
            return await self._hand_over(letter.tenant.email_sender, to, mail.as_bytes())

    async def _hand_over(self, sender: str, to: str, content: bytes) -> Answer:
        under_way = False
        try:
            await self._client.mail(sender)
            await self._client.rcpt(to)
            under_way = True
            await self._client.data(content)
        except aiosmtplib.SMTPResponseException as error:
            return await self._refused(error)
        except (aiosmtplib.SMTPException, OSError):
            self._client.close()
            if under_way:
                return Answer(Outcome.UNANSWERED, "no_answer")
            return Answer(Outcome.UNREACHABLE, "no_connection")
        return Answer(Outcome.ACCEPTED, "smtp_250")

    async def _connect(self) -> None:
        if not self._client.is_connected:
            await self._client.connect(timeout=CONNECT_SECONDS)

    async def _refused(self, error: aiosmtplib.SMTPResponseException) -> Answer:
        code = f"smtp_{error.code}"
        if error.code == 421:
            self._client.close()
            return Answer(Outcome.UNREACHABLE, code)
        try:
            await self._client.rset()
        except (aiosmtplib.SMTPException, OSError):
            self._client.close()
        return Answer(Outcome.REJECTED if error.code >= 500 else Outcome.DEFERRED, code)

    async def find(self, key: str) -> Found:
        """SMTP cannot be asked; the stable Message-ID lets the receiver see a second copy for what it is."""
        return Found.CANNOT_SAY

    async def close(self) -> None:
        """Gives the connection back."""
        self._client.close()


def compose(letter: Letter, to: str) -> EmailMessage:
    """The mail of a letter: plain text, marked as sent by a program, its Message-ID made of the letter's
    key.
    """
    tenant = letter.tenant
    sender = Address(tenant.name_ko if letter.language == "ko" else tenant.name_en, addr_spec=tenant.email_sender)
    mail = EmailMessage(policy=policy.SMTP)
    mail["From"] = sender
    mail["To"] = Address(addr_spec=to)
    mail["Subject"] = letter.message.subject
    mail["Date"] = format_datetime(instants.local(letter.at, tenant.zone))
    mail["Message-ID"] = f"<{letter.key}@{sender.domain}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail["Content-Language"] = letter.language
    mail.set_content("\n".join(letter.message.lines) + "\n", cte="base64")
    return mail
