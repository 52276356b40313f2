"""The core stays pure: its syntax trees hold no clock, I/O, randomness or environment, and no order left to chance."""

import ast
import builtins
from pathlib import Path

import pytest

import services.rules

FOLDER = Path(services.rules.__file__).parent

# What the core may import; whatever is not here is refused, so that a new dependency is a decision.
ALLOWED = frozenset(
    {
        "array",
        "bisect",
        "calendar",
        "collections",
        "dataclasses",
        "datetime",
        "functools",
        "hashlib",
        "heapq",
        "itertools",
        "json",
        "msgspec",
        "typing",
        "yaml",
        "zlib",
        "zoneinfo",
    }
)
OURS = ("services.rules", "contracts")
CLOCKS = frozenset({"now", "utcnow", "today", "time_ns", "monotonic", "perf_counter", "localtime", "getenv", "environ"})
CALLS = frozenset({"open", "input", "print", "eval", "exec", "compile", "__import__", "hash", "globals", "vars"})
ORDERED = frozenset({"list", "tuple", "enumerate", "iter", "next", "zip", "map", "join", "min", "max", "reversed"})


def faults(source: str) -> list[str]:
    """What in a module's source a pure module may not hold, a line each."""
    found = []
    for node in ast.walk(ast.parse(source)):
        found += [f"line {getattr(node, 'lineno', 0)}: {fault}" for fault in _faults_of(node)]
    return found


def _faults_of(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [f"imports {alias.name}" for alias in node.names if not _may_import(alias.name)]
    if isinstance(node, ast.ImportFrom):
        return [] if node.level == 0 and _may_import(node.module or "") else [f"imports from {node.module}"]
    if isinstance(node, ast.Attribute) and node.attr in CLOCKS:
        return [f"reads .{node.attr}"]
    if isinstance(node, ast.Global | ast.AsyncFunctionDef | ast.Await):
        return [f"holds {type(node).__name__}"]
    if isinstance(node, ast.For | ast.comprehension) and _is_set(node.iter):
        return ["walks a set, whose order differs from run to run"]
    if isinstance(node, ast.Call):
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        if isinstance(node.func, ast.Name) and name in CALLS:
            return [f"calls {name}()"]
        if name in ORDERED and any(_is_set(argument) for argument in node.args):
            return [f"{name}() of a set, whose order differs from run to run"]
    return []


def _may_import(name: str) -> bool:
    return name.partition(".")[0] in ALLOWED or any(name == own or name.startswith(f"{own}.") for own in OURS)


def _is_set(node: ast.expr) -> bool:
    if isinstance(node, ast.Set | ast.SetComp):
        return True
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("set", "frozenset")


@pytest.mark.parametrize("path", sorted(FOLDER.glob("**/*.py")), ids=lambda path: path.name)
def test_the_core_is_pure(path: Path) -> None:
    assert faults(path.read_text(encoding="utf-8")) == []


def test_every_module_of_the_core_is_read() -> None:
    assert {"fold.py", "standing.py", "counting.py", "world.py"} <= {path.name for path in FOLDER.glob("**/*.py")}


@pytest.mark.parametrize(
    "snippet",
    [
        "import asyncio",
        "import os.path",
        "import time",
        "import random",
        "import socket",
        "import uuid",
        "from pathlib import Path",
        "from nats.aio import client",
        "import asyncpg",
        "import structlog",
        "from services.chassis.clock import open_clock",
        "from services.intake import app",
        "from . import fold",
        "from datetime import datetime\nmoment = datetime.now()",
        "from datetime import date\nday = date.today()",
        "from datetime import datetime\nread = datetime.utcnow",
        "text = open('file').read()",
        "print('x')",
        "async def fold(): ...",
        "for name in {'a', 'b'}: pass",
        "found = [name for name in set(names)]",
        "found = list(frozenset(names))",
        "text = ', '.join({name for name in names})",
        "key = hash('x')",
    ],
)
def test_what_is_not_pure_is_found(snippet: str) -> None:
    assert faults(snippet)


@pytest.mark.parametrize(
    "snippet",
    [
        "from services.rules.instants import instant",
        "import msgspec",
        "found = sorted({'b', 'a'})",
        "inside = 'a' in {'a', 'b'}",
        "from datetime import datetime\nmoment = datetime.fromisoformat('2026-11-02T10:00:00+09:00')",
    ],
)
def test_what_is_pure_passes(snippet: str) -> None:
    assert faults(snippet) == []


def test_the_named_calls_exist() -> None:
    assert all(hasattr(builtins, name) for name in CALLS)
