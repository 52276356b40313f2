"""E-mail over SMTP.

The one rule: a mail is known by its Message-ID, which is the same at every attempt, so that a receiver sees a second
copy for what it is, and which nobody can guess, so that a report about it (RFC 3464) proves that it has seen the mail.
"""

import ssl
from collections.abc import Callable, Sequence
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import aiosmtplib

from services.chassis.contacts import takes_mail
from services.notifier.gateways import Answer, Found, Letter, Means, Outcome, Told
from services.notifier.gateways.calling import ANSWER_SECONDS, CONNECT_SECONDS
from services.rules import instants
from services.rules.instants import Instant

_NOT_OURS = (421, 530, 535, 538)
"""The server closes, or does not let us in: nothing that another mail would change."""


class Server(NamedTuple):
    """An SMTP server. `smtps` is TLS from the first byte; `smtp` must offer STARTTLS, but on this machine itself."""

    host: str
    port: int
    smtps: bool
    user: str | None = None
    password: str | None = None
    ca_file: str | None = None
    """The authority of its certificate, where that is not one of the machine's."""

    @classmethod
    def at(cls, url: str, password: str | None = None, ca_file: str | None = None) -> "Server":
        """The server of an address like smtp://user@host:587; `password` goes before one in the address."""
        parts = urlsplit(url)
        smtps = parts.scheme == "smtps"
        inside = unquote(parts.password) if parts.password else None
        user = unquote(parts.username) if parts.username else None
        port = parts.port or (465 if smtps else 25)
        return cls(parts.hostname or "localhost", port, smtps, user, password or inside, ca_file)

    @property
    def here(self) -> bool:
        """Whether it is this machine."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


class EmailGateway:
    """E-mail over one SMTP connection, kept open between messages. `mark` makes what stands behind a key in the
    Message-ID; `return_path` is where bounces go (default: the tenant's own address)."""

    means: Means = "email"
    together = 10
    finds = False
    reports = False

    def __init__(
        self,
        server: Server,
        name: str = "email",
        *,
        rate: float = 0,
        mark: Callable[[str], str] | None = None,
        return_path: str | None = None,
    ) -> None:
        self.name = name
        self.rate = rate
        self._mark = mark
        self._return_path = return_path
        self._client = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            username=server.user,
            password=server.password,
            use_tls=server.smtps,
            # Whoever sits in between could take the offer of TLS out of a server's answer: then nothing is sent.
            start_tls=not (server.smtps or server.here),
            tls_context=ssl.create_default_context(cafile=server.ca_file),
            timeout=ANSWER_SECONDS,
        )

    async def send(self, letters: Sequence[Letter]) -> list[Answer]:
        """Hands over mails, one after the other; when the server falls silent the rest is not tried."""
        answers: list[Answer] = []
        for letter in letters:
            silent = answers and answers[-1].outcome in (Outcome.UNREACHABLE, Outcome.UNANSWERED)
            answers.append(Answer(Outcome.UNREACHABLE, "not_tried") if silent else await self._send(letter))
        return answers

    async def _send(self, letter: Letter) -> Answer:
        """Hands over a mail. Before the text itself is under way, a broken line means that nothing was taken."""
        to = letter.contact.get("email", "")
        if not takes_mail(to):
            return Answer(Outcome.REJECTED, "bad_address")
        id = letter.key if self._mark is None else f"{letter.key}.{self._mark(letter.key)}"
        mail = compose(letter, to, id)
        try:
            await self._connect()
        except aiosmtplib.SMTPResponseException as error:
            # A greeting, a login or a STARTTLS that fails says nothing about this mail.
            self._client.close()
            return Answer(Outcome.UNREACHABLE, f"smtp_{error.code}")
        except (aiosmtplib.SMTPException, OSError):
            self._client.close()
            return Answer(Outcome.UNREACHABLE, "no_connection")
        return await self._hand_over(self._return_path or letter.tenant.email_sender, to, id, mail.as_bytes())

    async def _hand_over(self, return_path: str, to: str, id: str, content: bytes) -> Answer:
        under_way = False
        # Delivery status notifications (RFC 3461), where the server knows them and somebody reads them.
        asked = self._mark is not None and self._client.supports_extension("dsn")
        try:
            await self._client.mail(return_path, options=[f"ENVID={id}", "RET=HDRS"] if asked else None)
            await self._client.rcpt(to, options=["NOTIFY=SUCCESS,FAILURE"] if asked else None)
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
            await self._client.ehlo()  # says what the server can

    async def _refused(self, error: aiosmtplib.SMTPResponseException) -> Answer:
        code = f"smtp_{error.code}"
        if error.code in _NOT_OURS:
            self._client.close()
            return Answer(Outcome.UNREACHABLE, code)
        try:
            await self._client.rset()
        except (aiosmtplib.SMTPException, OSError):
            self._client.close()
        return Answer(Outcome.REJECTED if error.code >= 500 else Outcome.DEFERRED, code)

    async def find(self, letter: Letter, since: Instant) -> Told:
        """SMTP cannot be asked; the stable Message-ID lets the receiver see a second copy for what it is."""
        return Told(Found.CANNOT_SAY)

    async def report(self, ref: str) -> Told:
        """SMTP cannot be asked; bounces come by mail."""
        return Told(Found.CANNOT_SAY)

    async def close(self) -> None:
        """Gives the connection back."""
        self._client.close()


def compose(letter: Letter, to: str, id: str) -> EmailMessage:
    """The mail of a letter: plain text, marked as sent by a program; `id` is its Message-ID before the @."""
    tenant = letter.tenant
    sender = Address(tenant.name_ko if letter.language == "ko" else tenant.name_en, addr_spec=tenant.email_sender)
    mail = EmailMessage(policy=policy.SMTP)
    mail["From"] = sender
    mail["To"] = Address(addr_spec=to)
    mail["Subject"] = letter.message.subject
    mail["Date"] = format_datetime(instants.local(letter.at, tenant.zone))
    mail["Message-ID"] = f"<{id}@{sender.domain}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail["Content-Language"] = letter.language
    mail.set_content("\n".join(letter.message.lines) + "\n", cte="base64")
    return mail
