"""PostgreSQL in memory: the shell's own statements and migrations, run by SQLite behind the face of asyncpg.

The one rule: every statement that the shell sends is executed, none is answered by hand but for advisory locks. What
SQLite says otherwise is rewritten by a few rules; a statement that they do not cover fails loudly. A transaction reads
what is committed, and from its first write or lock on it is alone, which is one of the orders that PostgreSQL may
choose.
"""

import asyncio
import json
import re
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, TypeVar

import asyncpg
from simulated_process import CURRENT, Process

MIGRATIONS = Path(__file__).parents[2] / "deploy" / "migrations"
SCHEMAS = "chassis|sla_timer|notifier|read"
TABLES = "partitions|cases|decisions|relay|enacted"
VIEWS = "fold_position|notifier|tasks_overdue"
"""The views that the two services read themselves. Those of pages and commands are left out."""
IDLE_SECONDS = 5.0
IDLE_IN_TRANSACTION_SECONDS = 10.0
"""When the server ends a session that has fallen silent, outside a transaction and inside."""

ARRAY = "\x00"
"""What begins a text that stands for an array."""
STUBS = (
    "create table chassis__leases (name text primary key, generation integer not null)",
    'create table read__subject_refs (tenant text, "case" text, receipt text)',
    'create table read__link_epochs (tenant text, "case" text, epoch integer)',
)


T = TypeVar("T")


class Record(tuple[Any, ...]):
    """A row, by name and by place."""

    places: dict[str, int]

    def __getitem__(self, key: Any) -> Any:
        found = tuple.__getitem__(self, self.places[key] if key.__class__ is str else key)
        return json.loads(found[1:]) if found.__class__ is str and found.startswith(ARRAY) else found

    def keys(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(self.places)


def _records(cursor: sqlite3.Cursor) -> list[Record]:
    """What a statement brought."""
    rows = cursor.fetchall()
    if not rows:
        return []
    places = {column[0]: place for place, column in enumerate(cursor.description)}
    records = list(map(Record, rows))
    for record in records:
        record.places = places
    return records


class Database:
    """The server. While `down` it refuses everybody; `close_sessions` ends what a process has open."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.down = False
        self.lost_commit = 0.0
        self.uncovered = ""
        self.sessions: list[Connection] = []
        self.locks: dict[Any, Connection] = {}
        self.turn = asyncio.Lock()
        self.engine = sqlite3.connect(":memory:", isolation_level=None)
        # SQLite's own MIN is empty where one value is.
        self.engine.create_function("least", -1, lambda *of: min((one for one in of if one is not None), default=None))
        self.engine.deserialize(_EMPTY)

    def close_sessions(self, of: Process | None = None, *, idle: bool = False) -> None:
        """Ends sessions: of one process or of all; with `idle` only those outside a transaction."""
        for session in list(self.sessions):
            if of in (None, session.process) and not (idle and session.in_transaction):
                session.end()


class Connection:
    """A session, with the part of asyncpg's that the shell uses."""

    def __init__(self, database: Database, process: Process) -> None:
        self.process = process
        self.ended = False
        self._database = database
        self.in_transaction = False
        self._writing = False
        self._mourners: list[Callable[[Any], None]] = []
        database.sessions.append(self)

    # -- statements

    async def execute(self, sql: str, *args: Any, timeout: float | None = None) -> str:
        """Runs a statement; returns its tag, as far as it is looked at."""
        if sql.startswith("SET "):
            return "SET"

        def run() -> str:
            cursor = self._run(sql, args)
            cursor.fetchall()
            return f"{sql.split()[0].upper()} {cursor.rowcount}"

        return await self._in_turn(sql, run)

    async def executemany(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """Runs a statement once for each row."""

        def run() -> None:
            for row in rows:
                self._run(sql, row)

        await self._in_turn(sql, run)

    async def copy_records_to_table(
        self, table: str, *, columns: Sequence[str], records: Sequence[Sequence[Any]]
    ) -> None:
        """Writes rows."""
        places = ", ".join(f"${place}" for place in range(1, len(columns) + 1))
        await self.executemany(f"insert into {table} ({', '.join(columns)}) values ({places})", records)

    async def fetch(self, sql: str, *args: Any, timeout: float | None = None) -> list[Record]:
        """All rows."""
        return await self._in_turn(sql, lambda: _records(self._run(sql, args)))

    async def fetchrow(self, sql: str, *args: Any, timeout: float | None = None) -> Record | None:
        """The first row."""
        return next(iter(await self.fetch(sql, *args)), None)

    async def fetchval(self, sql: str, *args: Any, timeout: float | None = None) -> Any:
        """The first value of the first row."""
        if "pg_try_advisory_lock" in sql:
            await self._reach()
            return self._database.locks.setdefault(args, self) is self
        if "clock_timestamp" in sql:
            await self._reach()
            return SIMULATED_TIME[0]()
        row = await self.fetchrow(sql, *args)
        return None if row is None else row[0]

    async def cursor(self, sql: str, *args: Any, prefetch: int | None = None) -> AsyncIterator[Record]:
        """The rows, one by one."""
        for row in await self.fetch(sql, *args):
            yield row

    def _run(self, sql: str, args: Sequence[Any]) -> sqlite3.Cursor:
        text, values = translated(self._without_old(sql, args), args)
        try:
            return self._database.engine.execute(text, values)
        except sqlite3.IntegrityError as error:
            raise asyncpg.UniqueViolationError(str(error)) from None
        except sqlite3.Error as error:
            self._database.uncovered = f"{error}: {text}"
            raise AssertionError(self._database.uncovered) from None

    def _without_old(self, sql: str, args: Sequence[Any]) -> str:
        """SQLite knows no `old` in RETURNING: looked up before, by the key, which is the first value."""
        old = _old(sql)
        if old is None:
            return sql
        found = self._database.engine.execute(old.looked_up, (args[0],)).fetchone()
        return sql.replace(old.named, "null" if found is None else repr(found[0]))

    # -- sessions and transactions

    async def _reach(self) -> None:
        await self.process.gate()
        if self._database.down:
            self.end()
        if self.ended:
            raise asyncpg.InterfaceError("connection is closed")

    async def _in_turn(self, sql: str, run: Callable[[], T]) -> T:
        """Runs a statement when nobody else is writing; from its first write on a transaction is alone."""
        await self._reach()
        if self._writing:
            return run()
        turn = self._database.turn
        await turn.acquire()
        try:
            if self.ended:
                raise asyncpg.InterfaceError("connection is closed")
            if self.in_transaction and _WRITES.search(sql):
                self._database.engine.execute("begin")
                self._writing = True
            return run()
        finally:
            if not self._writing:
                turn.release()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """All or nothing; whether a commit whose answer is lost stood, nobody knows."""
        await self._reach()
        self.in_transaction = True
        try:
            yield
            await self._reach()
            luck = self._database.random.random()
            if luck < self._database.lost_commit:
                self._finish("commit" if luck < self._database.lost_commit / 2 else "rollback")
                self.end()
                raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
            self._finish("commit")
        except BaseException:
            self._finish("rollback")
            raise

    def _finish(self, how: str) -> None:
        """Ends the transaction, if it has not ended, and lets the next one write."""
        self.in_transaction = False
        if self._writing:
            self._writing = False
            self._database.engine.execute(how)
            self._database.turn.release()

    def add_termination_listener(self, tell: Callable[[Any], None]) -> None:
        """Whom to tell of the end."""
        self._mourners.append(tell)

    def end(self) -> None:
        """The server closes the session: an open transaction is undone, its locks are free."""
        self.ended = True
        while self._mourners:
            self._mourners.pop()(self)
        self._finish("rollback")
        if self in self._database.sessions:
            self._database.sessions.remove(self)
        for key in [key for key, holder in self._database.locks.items() if holder is self]:
            del self._database.locks[key]

    terminate = end


class Pool:
    """A pool without a limit."""

    def __init__(self, database: Database, process: Process) -> None:
        self._database = database
        self._process = process

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Connection]:
        """A session for as long as the block; one that is open already, so it is had at once."""
        if self._database.down:
            raise ConnectionRefusedError
        connection = Connection(self._database, self._process)
        try:
            yield connection
        finally:
            connection.end()

    async def fetch(self, sql: str, *args: Any) -> list[Record]:
        """All rows."""
        async with self.acquire() as connection:
            return await connection.fetch(sql, *args)

    async def fetchrow(self, sql: str, *args: Any) -> Record | None:
        """The first row."""
        async with self.acquire() as connection:
            return await connection.fetchrow(sql, *args)

    async def fetchval(self, sql: str, *args: Any) -> Any:
        """The first value of the first row."""
        async with self.acquire() as connection:
            return await connection.fetchval(sql, *args)

    async def execute(self, sql: str, *args: Any) -> str:
        """Runs a statement."""
        async with self.acquire() as connection:
            return await connection.execute(sql, *args)


async def connect(database: Database) -> Connection:
    """A session of its own for the running process."""
    process = CURRENT.get()
    await process.gate()
    if database.down:
        raise ConnectionRefusedError
    return Connection(database, process)


SIMULATED_TIME: list[Any] = []
"""What the server's clock says: a function that gives an aware datetime."""


# -- from PostgreSQL's words to SQLite's -----------------------------------------------------------------------

_UNNEST = re.compile(r"unnest\(((?:\$\d+,? ?)+)\)( (?:as )?(\w+) \(([\w, ]+)\))?", re.IGNORECASE)

_VALUES = re.compile(rf"{_UNNEST.pattern}|(?:= any|<> all)\(\$(?P<array>\d+)\)|\$(?P<plain>\d+)", re.IGNORECASE)


class _Plain(NamedTuple):
    """A statement whose values are all single ones: its text, and the places of its values in order."""

    text: str
    places: tuple[int, ...]


@cache
def _plain_statement(sql: str) -> _Plain | None:
    """A statement without arrays, which most are: always the same text; None for another one."""
    text = _words(sql)
    found = list(_VALUES.finditer(text))
    if any(match["plain"] is None for match in found):
        return None
    return _Plain(_VALUES.sub("?", text), tuple(int(match["plain"]) - 1 for match in found))


def translated(sql: str, args: Sequence[Any]) -> tuple[str, list[Any]]:
    """A statement and its values as SQLite takes them."""
    plain = _plain_statement(sql)
    if plain is not None:
        return plain.text, [_plain(args[place]) for place in plain.places]
    text = _words(sql)
    values: list[Any] = []

    def one(match: re.Match[str]) -> str:
        if match["plain"]:
            values.append(_plain(args[int(match["plain"]) - 1]))
            return "?"
        if match["array"]:
            found = list(args[int(match["array"]) - 1])
            values.extend(found)
            return ("in (" if "any" in match[0].lower() else "not in (") + ", ".join("?" * len(found)) + ")"
        return _rows(match, args, values)

    return _VALUES.sub(one, text), values


def _rows(match: re.Match[str], args: Sequence[Any], values: list[Any]) -> str:
    """Arrays side by side as a table; their values are added to `values`."""
    arrays = [args[int(number) - 1] for number in re.findall(r"\d+", match[1])]
    names = (match[4] or ", ".join(f"c{place}" for place in range(len(arrays)))).split(", ")
    lines = list(zip(*arrays, strict=True))
    if not lines:
        empty = ", ".join(f"null as {name}" for name in names)
        return f"(select {empty} where 0) as {match[3] or 'u'}"
    values.extend(value for line in lines for value in line)
    columns = ", ".join(f"column{place} as {name}" for place, name in enumerate(names, 1))
    shape = ", ".join("(" + ", ".join("?" * len(names)) + ")" for _ in lines)
    return f"(select {columns} from (values {shape})) as {match[3] or 'u'}"


_WRITES = re.compile(r"^\s*(insert|update|delete)|for (share|update)", re.IGNORECASE)


def _plain(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    return ARRAY + json.dumps(value) if isinstance(value, (list, tuple)) else value


class _Old(NamedTuple):
    """What a statement calls `old`, and the statement that says what it is."""

    named: str
    looked_up: str


@cache
def _old(sql: str) -> _Old | None:
    named = re.search(r"\bold\.(\w+)", sql)
    if named is None:
        return None
    table = re.search(r"(?:insert into|update) ([\w.]+)", sql, re.IGNORECASE)
    assert table is not None
    return _Old(named[0], f"select {named[1]} from {_words(table[1])} where key = ?")


@cache
def _words(sql: str) -> str:
    text = re.sub(rf"\b({SCHEMAS})\.(\w+)", r"\1__\2", sql)
    # The fold names its tables without their schema.
    text = re.sub(rf"\b(from|join|into|update) ({TABLES})\b", r"\1 sla_timer__\2", text)
    text = re.sub(r"::\w+(\[\])?", "", text)
    # A table goes by its name without the schema, too.
    upsert = re.search(r"insert into (\w+?)__(\w+) \(", text, re.IGNORECASE)
    if upsert and re.search(rf"\b{upsert[2]}\.", text):
        text = text.replace(f"{upsert[1]}__{upsert[2]} (", f"{upsert[1]}__{upsert[2]} as {upsert[2]} (", 1)
    text = re.sub(r'collate "C"', "", text, flags=re.IGNORECASE)
    text = re.sub(r" for (share|update)( skip locked)?", "", text, flags=re.IGNORECASE)
    if re.search(r"insert into .* select ", text, re.IGNORECASE | re.DOTALL):
        # Without it SQLite reads ON CONFLICT as the condition of a join.
        text = re.sub(r" on conflict", " where true on conflict", text, flags=re.IGNORECASE)
    return text


def _statements() -> Iterator[str]:
    for name in (
        "004_sla_timer.sql",
        "005_notifier.sql",
        "009_recovery.sql",
        "014_go_live.sql",
        "015_delivery.sql",
        "016_messages.sql",
        "017_tasks.sql",
        "020_bookmarks.sql",
        "022_covered.sql",
    ):
        text = re.sub(r"--.*", "", (MIGRATIONS / name).read_text(encoding="utf-8"))
        text = re.sub(r"create function .*?\$\$;", "", text, flags=re.IGNORECASE | re.DOTALL)
        text = re.sub(r"comment on [^']*'(?:[^']|'')*';", "", text, flags=re.IGNORECASE)
        for statement in text.split(";"):
            if statement.strip() and not _LEFT_OUT.match(statement.strip()) and "intake." not in statement:
                yield from _single(statement)


_LEFT_OUT = re.compile(
    rf"create schema|(create|drop) (or replace )?view read\.(?!({VIEWS})\b)|alter table \S+ drop constraint"
    # What rearranges rows finds none; the first ones are made of `values` and `generate_series`.
    r"|update|insert (?!.*(values|generate_series))",
    re.IGNORECASE | re.DOTALL,
)


def _single(statement: str) -> Iterator[str]:
    """SQLite adds one column at a time, and makes it unique by an index."""
    table, *columns = re.split(r",?\s+add column ", statement)
    if not columns:
        yield statement
    for column in columns:
        yield f"{table} add column {column.removesuffix(' unique')}"
        if column.endswith(" unique"):
            name = column.split()[0]
            yield f"create unique index {name}_key on {table.split()[-1]} ({name})"


def _schema() -> str:
    made = [*STUBS]
    for statement in _statements():
        text = _words(statement)
        # SQLite changes no conditions: the new one stands from the first.
        changed = re.match(r"\s*alter table (\w+?__(\w+)) add constraint \2_(\w+)_check (.*)", text, re.DOTALL)
        if changed:
            table, _, column, condition = changed.groups()
            place = next(place for place, one in enumerate(made) if f"create table {table} " in one.lower())
            old = re.compile(rf"^( +{column} .*)check \((?:[^()]|\([^()]*\))*\)", re.IGNORECASE | re.MULTILINE)
            made[place], replaced = old.subn(rf"\1{condition}", made[place])
            assert replaced == 1, statement
            continue
        if "generate_series" in text:
            made += [f"insert into sla_timer__partitions (partition) values ({number})" for number in range(16)]
            continue
        # An identity column is SQLite's only as the primary key.
        if re.search(r"generated always as identity", text, re.IGNORECASE):
            text = re.sub(r"(\w+)( +)text +primary key", r"\1 text unique", text, flags=re.IGNORECASE)
            text = re.sub(
                r"number +bigint +(primary key|not null) +generated always as identity",
                "number integer primary key autoincrement",
                text,
                flags=re.IGNORECASE,
            )
        text = re.sub(r"references \w+ \(\w+\)", "", text, flags=re.IGNORECASE)
        text = re.sub(r"default '\{\}'", "default ''", text, flags=re.IGNORECASE)
        made.append(re.sub(r"(text|bytea)\[\]", r"\1", text))
    return ";\n".join(made) + ";"


def _empty() -> bytes:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as engine:
        engine.executescript(_schema())
        return engine.serialize()


_EMPTY = _empty()
"""A database without rows: copying it costs a tenth of making it."""
