"""Structured logs: one JSON object a line on standard error, so that a command's output stays its own.

The one rule it protects: no personal data in a log. Only named fields pass, and only with values that look
like identifiers, numbers or codes; the text of an exception never passes unless its class promises to be
clean.
"""

import json
import logging
import re
import sys
import traceback
from collections import Counter
from collections.abc import Iterable, Mapping, MutableMapping
from pathlib import Path
from typing import Any

import orjson
import structlog

# fmt: off
ALLOWED = frozenset({
    "address", "attempt", "batch", "bytes", "calendar", "case", "cause_sequence", "charter", "clock",
    "code", "count", "decision", "decisions", "due", "error", "events",
    "expected", "generation", "id", "instance", "key",
    "kind", "lag", "lane", "level", "load", "logger", "marker_sequence", "means", "milliseconds", "mode",
    "name", "number", "occurrence", "outcome", "part", "partition", "pending", "pid", "pointer", "port",
    "promise", "reader", "reason", "receipt", "route", "sequence", "service", "signal", "since",
    "source", "state", "status", "stream", "subject", "subject_ref", "table", "task", "template",
    "tenant", "timestamp", "to", "type", "until", "version", "waited", "where",
})
# fmt: on
"""Field names that may be logged. Whoever needs another one adds it here, where a reviewer sees it."""

_IDENTIFIER = re.compile(r"[A-Za-z0-9_.:/@+*<>=,-]{0,200}\Z")
_EVENT = re.compile(r"[a-z][a-z0-9_.]{0,63}\Z")
_ROOT = str(Path(__file__).parents[2]) + "/"

_level = logging.INFO
dropped: Counter[str] = Counter()
"""How many fields were dropped, by cause: `name` (not allowed), `value` (not an identifier), `event`."""


class OperatorError(RuntimeError):
    """An error written for the operator: says what is wrong, where and what to do, and holds no personal
    value.

    Its text is the only exception text that reaches a log or a terminal.
    """


def error_code(error: BaseException) -> str:
    """The class of an error, with PostgreSQL's SQLSTATE where there is one; safe to log, unlike its text."""
    name = f"{type(error).__module__.split('.')[0]}.{type(error).__qualname__}".removeprefix("builtins.")
    state = getattr(error, "sqlstate", None)
    return f"{name}:{state}" if isinstance(state, str) else name


def configure(service: str, level: str = "info") -> None:
    """Names the process in each line and sets the level; call once, first."""
    structlog.configure(wrapper_class=_wrapper(level))
    structlog.contextvars.bind_contextvars(service=service)
    # Libraries put what they please into their messages (a validation error prints its input), so of their
    # records only origin, level and the kind of error are kept.
    logging.basicConfig(handlers=[_Foreign()], level=logging.WARNING, force=True)
    # A library that set up a logger of its own as it was imported (FastStream does) would go past that.
    for logger in logging.root.manager.loggerDict.values():
        if isinstance(logger, logging.Logger):
            logger.handlers.clear()
            logger.propagate = True
            logger.setLevel(logging.NOTSET)


def _wrapper(level: str) -> type[structlog.typing.FilteringBoundLogger]:
    global _level
    _level = logging.getLevelNamesMapping()[level.upper()]
    return structlog.make_filtering_bound_logger(_level)


def get_logger(**fields: Any) -> structlog.typing.FilteringBoundLogger:
    """A logger with `fields` bound. The event is a fixed lower_case name, never a sentence with values in it."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return logger.bind(**fields)


def canonical(event: str, **fields: Any) -> None:
    """The one line that tells of a handled event: ids, positions and the outcome, all in one place.

    The same as `get_logger().info`, without the loggers in between: there is one such line for each event.
    """
    canonical_lines(event, fields, [{}])


def canonical_lines(event: str, common: Mapping[str, Any], lines: Iterable[Mapping[str, Any]]) -> None:
    """The lines of events that were handled together, written together; `common` stands in each of them."""
    if _level > logging.INFO:
        return
    *processors, render = structlog.get_config()["processors"]
    line: Any = {"event": event, **common}
    try:
        for process in processors:
            line = process(None, "info", line)
        told = [render(None, "info", line | _allowed(own)) for own in lines]
    except structlog.DropEvent:
        return
    if told:
        _OUTPUT.msg("\n".join(told))


def _describe_error(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replaces exc_info by class and places; the text goes in only where its class promises to be clean."""
    error = line.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    elif isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        frames = traceback.extract_tb(error.__traceback__)[-6:]
        line["error"] = error_code(error)
        line["where"] = [f"{frame.filename.removeprefix(_ROOT)}:{frame.lineno}" for frame in frames]
        if isinstance(error, OperatorError):
            line["error_text"] = _Clean(error)
    return line


class _Clean(str):
    """Text that comes from an OperatorError, the only free text that passes."""

    __slots__ = ()


def _keep_allowed(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    event = line.pop("event", None)
    named = event if isinstance(event, str) and _EVENT.match(event) else "unnamed"
    dropped["event"] += named != event
    return {"event": named, **_allowed(line)}


def _allowed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that may stand in a line, and are what they may be."""
    kept: dict[str, Any] = {}
    for name, value in fields.items():
        if type(value) is str and name in ALLOWED:
            if _IDENTIFIER.match(value):
                kept[name] = value
            else:
                dropped["value"] += 1
        elif isinstance(value, _Clean):
            kept[name] = str(value)
        elif name not in ALLOWED:
            dropped["name"] += 1
        elif _is_identifier(value):
            kept[name] = value
        else:
            dropped["value"] += 1
    return kept


def _is_identifier(value: Any) -> bool:
    if isinstance(value, str):
        return _IDENTIFIER.match(value) is not None
    if value is None or isinstance(value, (bool, int, float)):
        return True
    if isinstance(value, (list, tuple)):
        return all(_is_identifier(item) for item in value)
    if isinstance(value, Mapping):
        return all(_is_identifier(key) and _is_identifier(item) for key, item in value.items())
    return False


class _Output:
    """Writes to standard error as it is at each line, so that a redirected or captured one is honoured.

    A line that cannot be written (the disk of the log is full) is dropped: no work is undone for the want of its line.
    """

    def msg(self, line: str) -> None:
        try:
            sys.stderr.write(line + "\n")
            sys.stderr.flush()
        except OSError:
            dropped["output"] += 1

    debug = info = warning = error = critical = msg


class _Foreign(logging.Handler):
    """Brings records of the standard library's logging into ours, without their text."""

    def emit(self, record: logging.LogRecord) -> None:
        get_logger(logger=record.name).log(
            record.levelno,
            "library",
            where=f"{record.module}:{record.lineno}",
            exc_info=record.exc_info if record.exc_info and record.exc_info[1] else None,
        )


def _dumps(line: Mapping[str, Any], **_: Any) -> str:
    try:
        return orjson.dumps(line, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # a number of more than 64 bits, half a character in the text of an error
        return json.dumps(line)


_OUTPUT = _Output()

# Done on import: structlog's own default prints the text of errors and the variables of their frames.
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        _describe_error,
        _keep_allowed,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.JSONRenderer(_dumps),
    ],
    wrapper_class=_wrapper("info"),
    logger_factory=lambda *_: _OUTPUT,
    cache_logger_on_first_use=False,
)
