"""Admission: whether what comes in is let in, what is still asked for, and how it is marked.

The one rule: only what a charter's own words refuse is refused; whatever merely asks lets the petition in.
"""

import msgspec

from services.rules.charter import Charter, Clause, Petition
from services.rules.demands import matches
from services.rules.facts import Data, Fact


class Judgement(msgspec.Struct, frozen=True, gc=False):
    """What a charter says to something that comes in.

    `clause` and `refused` name who refuses it, and the code; empty where it is let in. `asks` are the details to ask
    for, `marks` how the case is to be marked.
    """

    clause: str = ""
    refused: str = ""
    asks: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()


def judge(charter: Charter, type: str, data: Data) -> Judgement:
    """What the charter says to an event of a type by its data alone, whose `has_` flags say which details are there.

    A flag that is absent is not known, and nothing is refused or asked for on its account.
    """
    asks: list[str] = []
    marks: list[str] = []
    petition = Petition(data)
    for clause in charter.admitting.get(type, ()):
        if not _concerns(clause, type, data, petition):
            continue
        asks += clause.asks
        if clause.refuse:
            return Judgement(clause.id, clause.refuse, clause.asks)
        marks += [clause.mark] if clause.mark else []
    return Judgement("", "", tuple(dict.fromkeys(asks)), tuple(dict.fromkeys(marks)))


def _concerns(clause: Clause, type: str, data: Data, petition: Petition) -> bool:
    for match in clause.on:  # noqa: SIM110 - asked of every receipt
        if matches(match, type, data, petition):
            return True
    return False


def refusal(charter: Charter, fact: Fact) -> str:
    """The code with which the charter refuses a fact, or nothing."""
    if fact.type not in charter.refusing:
        return ""  # what clauses ask for or mark is nothing to a fact that is there
    return judge(charter, fact.type, fact.data).refused
