"""Sessions: a browser that was signed in, known by a cookie until it is idle for too long, or for a day at work.

The one rule it protects: what the database keeps opens nothing. The cookie is 256 random bits, new at each sign-in; its
digest is the row's name, and the token in every form is made from it.
"""

import base64
import hashlib
import hmac
import secrets
from typing import NamedTuple

import asyncpg
from starlette.responses import Response

from services.chassis.clock import Clock
from services.chassis.signon import Member

_MINUTE = 60 * 1_000_000
IDLE = 30 * _MINUTE
"""A session ends so long after its last request, in microseconds; a page that listens for changes is no request."""
LONGEST = 10 * 60 * _MINUTE
"""And so long after its sign-in: then the city's sign-on is asked again who this is."""
_SEEN_EVERY = _MINUTE


class Session(NamedTuple):
    """Who is signed in; `form` is what a form must carry, so that no other page can send one."""

    member: Member
    form: str


class Sessions:
    """Rows of notifier.desk_sessions. `secure`: the cookie goes over TLS alone, and by its name's prefix no neighbour
    in the domain can set it."""

    def __init__(self, pool: asyncpg.Pool, clock: Clock, secure: bool) -> None:
        self._pool = pool
        self._clock = clock
        self._secure = secure
        self.cookie = "__Host-gihan_desk" if secure else "gihan_desk"

    async def begin(self, member: Member, answer: Response) -> None:
        """Begins a session and gives its cookie to the answer. Rows whose time is over go."""
        token, now = secrets.token_urlsafe(32), await self._clock.now()
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(
                "delete from notifier.desk_sessions where begun <= $1 or seen <= $2", now - LONGEST, now - IDLE
            )
            await connection.execute(
                "insert into notifier.desk_sessions values ($1, $2, $3, $4, $5, $6, $6)",
                _digest(token),
                member.tenant,
                member.staff,
                sorted(member.roles),
                member.department,
                now,
            )
        self.set_cookie(answer, self.cookie, token)

    async def read(self, token: str | None, touch: bool = True) -> Session | None:
        """The session of a cookie, None where there is none any more. With `touch` it counts as used."""
        if not token:
            return None
        now = await self._clock.now()
        row = await self._pool.fetchrow(
            "select * from notifier.desk_sessions where digest = $1 and begun > $2 and seen > $3",
            _digest(token),
            now - LONGEST,
            now - IDLE,
        )
        if row is None:
            return None
        member = Member.of(row["tenant"], row["staff"], row["roles"], row["department"])
        if member is None:
            return None
        if touch and now - row["seen"] >= _SEEN_EVERY:
            await self._pool.execute(
                "update notifier.desk_sessions set seen = $2 where digest = $1", row["digest"], now
            )
        return Session(member, _form(token))

    async def end(self, token: str, answer: Response) -> None:
        """Ends a session at once."""
        await self._pool.execute("delete from notifier.desk_sessions where digest = $1", _digest(token))
        answer.delete_cookie(self.cookie, path="/", secure=self._secure, httponly=True, samesite="lax")

    def set_cookie(self, answer: Response, name: str, value: str, seconds: int | None = None) -> None:
        """A cookie that no script reads. Lax, not Strict: who comes from the sign-on, or from a mail, is signed in."""
        answer.set_cookie(name, value, seconds, path="/", secure=self._secure, httponly=True, samesite="lax")


def is_of(session: Session, given: str) -> bool:
    """Whether a form was made for this session."""
    return hmac.compare_digest(session.form.encode(), given.encode("utf-8", "replace"))


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def _form(token: str) -> str:
    mac = hmac.digest(token.encode("utf-8", "replace"), b"form", "sha256")
    return base64.urlsafe_b64encode(mac).decode().rstrip("=")
