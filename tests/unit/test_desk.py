"""The desk without a server: what it says, in which list a task stands, who may know of it, where a sign-in leads."""

import base64
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import yaml
from joserfc import jwt
from joserfc.jwk import KeySet

from contracts import files
from deploy import devissuer
from deploy.devissuer import Issuer
from services.chassis.settings import ROOT, Settings, SettingsError
from services.chassis.signon import StaffRole
from services.cli.demo.week import people
from services.notifier.desk import item, lists
from services.notifier.desk.item import typed_amount
from services.notifier.desk.lists import LISTS, Filter, may_see
from services.notifier.desk.signing_in import SignOn, local
from services.notifier.desk.site import TEXTS
from services.notifier.tasks import kinds, life
from services.notifier.tasks.life import NotPossible
from services.reading.speaking import LANGUAGES, catalogue
from services.reading.visibility import Caller, Case, Named, Role
from services.rules import tenants as tenants_file

TENANTS = tenants_file.parse((ROOT / "deploy" / "tenants.yaml").read_bytes())
ADDRESSES = {"NATS_URL": "nats://x@127.0.0.1:1", "DATABASE_URL": "postgresql://x@127.0.0.1/x"}


def leaves(texts: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every text with its dotted name."""
    if isinstance(texts, str):
        yield path.removeprefix("."), texts
    else:
        for name, below in texts.items():
            yield from leaves(below, f"{path}.{name}")


def texts_of(language: Any) -> dict[str, str]:
    return dict(leaves(catalogue(TEXTS, language)))


def test_both_languages_say_the_same_things() -> None:
    korean, english = (texts_of(language) for language in LANGUAGES)
    assert korean.keys() == english.keys()
    values = {name: [set(re.findall(r"{(\w+)}", one[name])) for one in (korean, english)] for name in korean}
    assert {name: pair for name, pair in values.items() if pair[0] != pair[1]} == {}


def test_every_text_that_a_template_names_is_there() -> None:
    known = texts_of("ko")
    for template in (ROOT / "services/notifier/desk/templates").glob("*.html"):
        for name in re.findall(r"""\bt\(["']([a-z_.]+)["'][,)]""", template.read_text()):
            assert name in known, f"{template.name}: {name}"


def test_every_code_has_a_word() -> None:
    """Of states, steps, outcomes and refusals: nobody is shown a code."""
    known = texts_of("ko")
    codes = {code for kind in kinds.known().values() for code in kind.outcomes}
    codes |= {*life.MEANS, *life.DECLINED, *life.ACKNOWLEDGED}
    refused = set(re.findall(r"[a-z_]+", (life.NotPossible.__doc__ or "").partition("`code`: ")[2].partition(".\n")[0]))
    wanted = {f"code.{code}" for code in codes} | {f"refused.{code}" for code in refused if code}
    wanted |= {f"{group}.{step}" for group in ("offer", "done") for step in item.STEPS}
    wanted |= {f"list_name.{name}" for name in LISTS} | {f"role.{role}" for role in get_args(StaffRole)}
    wanted |= {f"list_state.{name}" for name in (*lists.STATES, "all")} | {f"list_due.{name}" for name in lists.DUES}
    wanted |= {f"waits.{name}" for name in lists.WANTS}
    wanted |= {f"state.{state}" for states in lists.STATES.values() for state in states}
    assert wanted - known.keys() == set()


def tasks_of_charters() -> set[str]:
    """Every task that a charter names."""
    found = {"compensation", "try_again"}

    def walk(part: Any) -> None:
        if isinstance(part, dict):
            found.update(task for task in part.get("tasks") or () if isinstance(task, str))
            found.update([part["task"]] if isinstance(part.get("task"), str) else [])
            for below in part.values():
                walk(below)
        elif isinstance(part, list):
            for below in part:
                walk(below)

    for name, content in files.read().items():
        if name.startswith("charters/"):
            walk(yaml.safe_load(content))
    return found


def test_each_task_of_each_charter_stands_in_one_list() -> None:
    listed = [task for tasks in LISTS.values() for task in tasks]
    assert len(listed) == len(set(listed))
    assert tasks_of_charters() - set(listed) == set()


def test_each_desk_of_a_charter_is_a_department_of_its_city() -> None:
    """What is for a desk reaches somebody: a department that the tenant's file names, or the office of audit."""
    for name, content in files.read().items():
        city = TENANTS.get(name.removeprefix("charters/").rpartition("-")[0])
        if city is None:
            continue
        named = set(re.findall(r"\bto_[a-z_]+", content.decode())) & tasks_of_charters()
        desks = {kinds.of(task).lies_with for task in named}
        assert desks - {"audit"} <= city.desks.keys(), name


def test_a_filter_leaves_out_what_it_does_not_know() -> None:
    asked = {"list": "duty'; drop table", "state": "x", "due": "overdue", "wants": "all", "department": "도로과\x00"}
    wanted = Filter.of(asked)
    assert wanted == Filter(due="overdue", department="도로과")
    assert Filter.of(wanted.query) == wanted


PLAIN = Case("web", False, "도로과", "k-1", frozenset())
SEALED = PLAIN._replace(sealed=True, named=Named(frozenset({"도로과"}), frozenset({"k-9"})))
NOWHERE = Case("web", True, None, None, frozenset(), Named(frozenset({"도로과"})))


def task(name: str = "compensation", case: str = "c1", **more: Any) -> dict[str, Any]:
    usual = {"task": name, "case": case, "tenant": "anseong", "officer": "k-1", "at_fault": ["k-1"], "department": None}
    return {**usual, "lies_with": kinds.of(name).lies_with, **more}


@pytest.mark.parametrize(
    ("role", "department", "staff", "about", "case", "seen"),
    [
        ("clerk", "도로과", "k-1", task(), PLAIN, True),
        ("clerk", "환경과", "k-2", task(), PLAIN, False),
        ("audit", "감사과", "k-3", task(), PLAIN, True),
        # A complaint about a department is not that department's to know of, nor the officer's whom it names.
        ("head", "도로과", "k-4", task(), SEALED, False),
        ("clerk", "도로과", "k-9", task(), SEALED, False),
        ("audit", "감사과", "k-9", task(), SEALED, False),
        ("audit", "감사과", "k-3", task(), SEALED, True),
        # The desk that takes such a complaint in knows of it, unless it is the one complained of.
        ("clerk", "토지민원과", "k-5", task("to_land_and_civil_affairs"), NOWHERE, True),
        ("clerk", "도로과", "k-5", task("to_land_and_civil_affairs", department="도로과"), NOWHERE, False),
        ("clerk", "환경과", "k-5", task("to_land_and_civil_affairs"), NOWHERE, False),
        # Measures against an officer are for heads and audit, and never the officer's own to see.
        ("clerk", "도로과", "k-6", task("retraining"), PLAIN, False),
        ("head", "도로과", "k-6", task("retraining"), PLAIN, True),
        ("head", "도로과", "k-1", task("retraining"), PLAIN, False),
        ("head", "도로과", "k-6", task("personnel_measure", "_officer-k-1"), None, False),
        ("audit", "감사과", "k-6", task("personnel_measure", "_officer-k-1"), None, True),
        ("audit", "감사과", "k-1", task("personnel_measure", "_officer-k-1", at_fault=[], officer=None), None, False),
        # The municipality's own duties are everybody's.
        ("clerk", "환경과", "k-7", task("improve", "anseong"), None, True),
        ("clerk", "환경과", "k-7", task("improve", "unknown"), None, False),
    ],
)
def test_who_may_know_of_a_task(
    role: Role, department: str, staff: str, about: dict[str, Any], case: Case | None, seen: bool
) -> None:
    caller = Caller("anseong", "desk", f"anseong/staff/{staff}", role, department, staff)
    assert may_see(caller, TENANTS["anseong"], about, case) is seen


@pytest.mark.parametrize(
    "typed",
    [
        *("", " ", "0", "000", "-1", "+5", "1.5", "1e3", "=1+1", "5천", "２０", "٣", "0x10", "1 000", "NaN", "null"),
        *("10,000,001", "9" * 30, "1" + "0" * 4000, "5\x00"),
    ],
)
def test_an_amount_that_is_none_is_not_taken(typed: str) -> None:
    with pytest.raises(NotPossible) as reason:
        typed_amount(typed)
    assert reason.value.code == "wrong_amount"


@pytest.mark.parametrize(("typed", "amount"), [("1", 1), (" 20,000 ", 20_000), ("10,000,000", 10_000_000)])
def test_an_amount_is_typed_as_people_do(typed: str, amount: int) -> None:
    assert typed_amount(typed) == amount


@pytest.mark.parametrize("to", ["/desk/ko/", "/desk/en/tasks/0a", "/desk/ko/?list=duty&department=%EB%8F%84"])
def test_a_sign_in_leads_to_the_page_that_was_asked_for(to: str) -> None:
    assert local(to) == to


@pytest.mark.parametrize(
    "to",
    [
        *("", "https://evil.example/", "//evil.example", "/desk/ko//evil.example", "/desk/ko/../in", "/desk/fr/"),
        *("/desk/en/\\evil.example", "javascript:alert(1)", "/desk/in", "/desk/en/?a=b#c", "/desk/en/\r\nX: y"),
    ],
)
def test_a_sign_in_leads_nowhere_else(to: str) -> None:
    assert local(to) == "/desk"


def test_secrets_are_sent_over_tls_or_to_this_machine() -> None:
    def read(**more: str) -> Settings:
        return Settings.from_env("notifier", {**ADDRESSES, **more})

    for name in ("GIHAN_OIDC_ISSUER", "GIHAN_DESK_URL"):
        for place in ("http://sign-on.example", "ftp://127.0.0.1", "sign-on.example", "http://127.0.0.1.evil.example"):
            with pytest.raises(SettingsError, match=name):
                read(**{name: place})
        with pytest.raises(SettingsError, match="GIHAN_HOST"):
            read(**{name: "http://127.0.0.1:9"}, GIHAN_HOST="0.0.0.0")
    ours = {"GIHAN_OIDC_ISSUER": "http://127.0.0.1:9", "GIHAN_OIDC_CLIENT": "desk", "GIHAN_OIDC_KEYS": "x"}
    with pytest.raises(SettingsError, match="sign-on of development"):
        SignOn(read(**ours, GIHAN_DESK_URL="https://desk.example"), devissuer.RealClock())
    with pytest.raises(SettingsError, match="GIHAN_OIDC_CLIENT"):
        SignOn(read(GIHAN_DESK_URL="https://desk.example"), devissuer.RealClock())
    assert SignOn(read(**ours, GIHAN_DESK_URL="http://127.0.0.1:8/"), devissuer.RealClock())


class Still:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.at = 1_800_000_000_000_000

    async def now(self) -> int:
        return self.at


async def test_the_development_sign_on_gives_a_code_once_to_whoever_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Still()
    issuer = Issuer("http://127.0.0.1:9", {"seoul": "서울"}, clock)  # type: ignore[arg-type]
    verifier = "v" * 43
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    back = "http://127.0.0.1:8/desk/back"
    asked = {"redirect_uri": back, "state": "s", "nonce": "n", "code_challenge": challenge}
    ask = {"response_type": "code", "client_id": "desk", "code_challenge_method": "S256", **asked}
    person = {"tenant": "seoul", "role": "approver", "department": "도로과", "staff": "a-1"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(issuer.app()), base_url="http://issuer") as http:
        assert (await http.get("/authorize", params=ask)).status_code == 200
        for wrong in (
            *({"redirect_uri": "https://evil.example/desk/"}, {"redirect_uri": "http://127.0.0.1/elsewhere"}),
            *({"code_challenge": ""}, {"code_challenge_method": "plain"}, {"client_id": "other"}),
        ):
            assert (await http.get("/authorize", params={**ask, **wrong})).status_code == 400, wrong

        async def code() -> str:
            granted = await http.post("/authorize", data={**asked, **person})
            sent = parse_qs(urlsplit(granted.headers["location"]).query)
            assert (sent["state"], sent["iss"]) == (["s"], ["http://127.0.0.1:9"])
            return sent["code"][0]

        async def redeem(code: str, **wrong: str) -> httpx.Response:
            form = {"code": code, "redirect_uri": back, "client_id": "desk", "code_verifier": verifier, **wrong}
            return await http.post("/token", data=form)

        for wrong in ({"code_verifier": "x" * 43}, {"redirect_uri": back + "x"}, {"client_id": "other"}):
            assert (await redeem(await code(), **wrong)).status_code == 400, wrong
        late = await code()
        clock.at += 61_000_000
        assert (await redeem(late)).status_code == 400
        first = await code()
        told = (await redeem(first)).json()
        assert (await redeem(first)).status_code == 400
        keys = KeySet.import_key_set((await http.get("/keys")).json())
        claims = jwt.decode(told["id_token"], keys, algorithms=["ES256"]).claims
        assert {name: claims[name] for name in ("aud", "nonce", "tenant", "roles", "department", "staff")} == {
            **{"aud": "desk", "nonce": "n", "tenant": "seoul", "roles": ["approver"]},
            **{"department": "도로과", "staff": "a-1"},
        }
        assert jwt.decode(told["access_token"], keys, algorithms=["ES256"]).claims["aud"] == "gihan"
        person["privacy"] = "yes"
        told = (await redeem(await code())).json()
        claims = jwt.decode(told["access_token"], keys, algorithms=["ES256"]).claims
        assert claims["roles"] == ["approver", "privacy"]


def test_the_development_sign_on_proposes_departments_of_the_demo() -> None:
    assert devissuer.DEPARTMENTS == people.DEPARTMENTS


def test_every_page_stands_in_the_package() -> None:
    folder = Path(lists.__file__).parent
    patterns = (ROOT / "pyproject.toml").read_text().partition('"*" = [')[2].partition("]")[0]
    kept = {one.suffix for one in folder.rglob("*") if one.is_file() and one.suffix not in (".py", ".pyc")}
    assert {suffix for suffix in kept if f'"*{suffix}"' not in patterns} == set()
