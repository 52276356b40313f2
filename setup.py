"""Compiles the pure core where that is asked for: `make wheel`, that is GIHAN_COMPILE=1.

With GIHAN_COMPILE=watched the core counts which ways it goes, with GIHAN_COMPILE=trained it is laid out by what was
counted; gcc alone knows how.

The one rule: the same source, compiled or not, decides the same. What defines the frozen values that msgspec reads and
writes stays interpreted.
"""

import os

from setuptools import setup

COMPILED = [
    "admission",
    "bookmark",
    "calendar",
    "chapters",
    "choosing",
    "consequences",
    "counting",
    "declared",
    "demands",
    "effective",
    "effects",
    "fold",
    "governing",
    "heads",
    "instants",
    "kept",
    "lines",
    "promises",
    "refusals",
    "remedies",
    "routing",
    "rulebook",
    "runs",
    "scan",
    "shifting",
    "simulation",
    "standing",
    "stating",
    "warm",
    "workflows",
    "world",
]

# How an attribute is looked up, and that nobody but the core calls its functions, so that it knows where they are.
FLAGS = ["-include", "services/rules/attributes.h", "-fvisibility=hidden"]


TRAINING = {
    "1": [],
    "watched": ["-fprofile-generate", "-fprofile-update=single"],
    "trained": ["-fprofile-use", "-fprofile-correction"],
}


def extensions() -> list[object]:
    """The modules of the core as C extensions; none unless asked for."""
    asked = os.environ.get("GIHAN_COMPILE", "")
    if not asked:
        return []
    training = TRAINING[asked]
    from mypyc.build import mypycify

    files = [f"services/rules/{name}.py" for name in COMPILED]
    made = list(mypycify(["--follow-imports=silent", *files], opt_level="3"))
    for extension in made:
        if not extension.include_dirs:
            continue  # it only names a module of the one library
        extension.extra_compile_args = [*extension.extra_compile_args, *FLAGS, *training]
        extension.extra_link_args = [*extension.extra_link_args, *training]
    return made


# Compiled anew each time: what was counted lies beside the object file of the time before.
setup(ext_modules=extensions(), options={"build_ext": {"force": True}})
