"""Each gateway against one that judges as the real one does: signatures, forms, answers, and what is asked later."""

import asyncio
import hashlib
import hmac
import importlib
import re
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult
from fake_gateways import KEY, SECRET, Fake, FakeKannel, FakeSens, FakeSolapi, serving

from services.chassis.clock import RealClock
from services.chassis.settings import ROOT, Settings, SettingsError
from services.notifier.gateways import Answer, Found, Gateway, Letter, Outcome, calling, email
from services.notifier.gateways.email import EmailGateway, Server
from services.notifier.gateways.kannel import KannelGateway
from services.notifier.gateways.opening import opened, serves
from services.notifier.gateways.sens import HOSTS, SensGateway, signature
from services.notifier.gateways.solapi import AlimTalk, SolapiGateway, authorization
from services.notifier.reports import Marks
from services.notifier.texts import Message
from services.rules.tenants import Tenant, parse

TENANTS = parse((ROOT / "deploy" / "tenants.yaml").read_bytes())
ANSEONG = TENANTS["anseong"]
SHORT = "[안성시] 민원이 접수되었습니다. 접수번호 R-1"
TALKS = {"receipt.ko": AlimTalk("KA01PF", "KA01TP", frozenset(("city", "receipt")))}


async def letter(key: str = "k1", text: str = SHORT, **more: Any) -> Letter:
    fields: dict[str, Any] = {
        "key": key,
        "attempt": 1,
        "tenant": ANSEONG,
        "language": "ko",
        "template": "receipt",
        "contact": {"mobile": "010-9876-5432", "email": "hong@citizen.example"},
        "message": Message("[안성시] 민원 접수", (text,)),
        "at": await RealClock().now(),
    }
    return Letter(**(fields | more))


async def one(gateway: Gateway, letter: Letter) -> Answer:
    (answer,) = await gateway.send([letter])
    return answer


def solapi(url: str, secret: str = SECRET) -> SolapiGateway:
    return SolapiGateway("texts", KEY, secret, url=url, talks=TALKS)


def sens(url: str, secret: str = SECRET) -> SensGateway:
    return SensGateway("texts", FakeSens.service, KEY, secret, url=url)


def kannel(url: str, password: str = SECRET) -> KannelGateway:
    return KannelGateway("texts", url, KEY, password, report_to=Marks(bytes(32)).address("http://notifier.example/"))


KINDS = [(FakeSolapi, solapi), (FakeSens, sens), (FakeKannel, kannel)]
ASKED = KINDS[:2]


@asynccontextmanager
async def talking(fake: Fake, make: Any, *more: Any) -> AsyncIterator[Any]:
    async with serving(fake) as url, closing(make(url, *more)) as gateway:
        yield gateway


@asynccontextmanager
async def closing(gateway: Gateway) -> AsyncIterator[Gateway]:
    try:
        yield gateway
    finally:
        await gateway.close()


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is no gateway in trouble."""
    for module in (calling, email):
        monkeypatch.setattr(module, "ANSWER_SECONDS", 60.0)
        monkeypatch.setattr(module, "CONNECT_SECONDS", 60.0)


@pytest.mark.parametrize(("fake", "make"), KINDS)
async def test_a_text_is_taken_with_its_sender_and_its_words(fake: Any, make: Any) -> None:
    other = fake()
    async with talking(other, make) as gateway:
        answer = await one(gateway, await letter())
    assert other.refused == []
    assert answer.outcome is Outcome.ACCEPTED
    (taken,) = other.messages
    assert (taken["to"], taken["from"]) == ("01098765432", "0000000002")
    assert taken.get("text", taken.get("content")) == SHORT


@pytest.mark.parametrize(("fake", "make"), KINDS)
async def test_a_long_text_goes_whole(fake: Any, make: Any) -> None:
    other, text = fake(), "가나다라마바사" * 20
    async with talking(other, make) as gateway:
        assert (await one(gateway, await letter(text=text))).outcome is Outcome.ACCEPTED
    assert other.refused == []
    assert other.messages[0].get("text", other.messages[0].get("content")) == text
    assert other.messages[0].get("type", "LMS") == "LMS"


@pytest.mark.parametrize(("fake", "make"), KINDS)
async def test_a_wrong_secret_is_trouble_with_us_and_refuses_no_message(fake: Any, make: Any) -> None:
    other = fake()
    async with talking(other, make, "another-secret") as gateway:
        answer = await one(gateway, await letter())
    assert answer.outcome is Outcome.UNREACHABLE
    assert other.taken == {}
    assert len(other.refused) == 1


@pytest.mark.parametrize(("fake", "make"), KINDS)
async def test_a_number_that_is_none_is_refused_without_a_question(fake: Any, make: Any) -> None:
    other = fake()
    async with talking(other, make) as gateway:
        answer = await one(gateway, await letter(contact={"mobile": "+82 10 1234"}))
    assert answer == (Outcome.REJECTED, "bad_number", None)
    assert other.requests == 0


@pytest.mark.parametrize(("fake", "make"), KINDS)
@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ("500", Outcome.DEFERRED),
        ("slow", Outcome.ACCEPTED),
        ("hang", Outcome.UNANSWERED),
        ("silent", Outcome.UNANSWERED),
    ],
)
async def test_each_trouble_has_its_answer(
    fake: Any, make: Any, fault: str, outcome: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calling, "ANSWER_SECONDS", 5.0 if fault in ("hang", "silent") else 60.0)
    other = fake()
    other.fault = fault
    async with talking(other, make) as gateway:
        answer = await one(gateway, await letter())
    assert answer.outcome is outcome
    assert sum(other.taken.values()) == (fault in ("slow", "silent"))


@pytest.mark.parametrize("make", [solapi, sens, kannel])
async def test_nobody_there_is_not_reached(make: Any) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        gateway = make(f"http://127.0.0.1:{closed.getsockname()[1]}")
        assert (await one(gateway, await letter())).outcome is Outcome.UNREACHABLE
        if gateway.finds:
            assert (await gateway.find(await letter(), 0)).found is Found.UNREACHABLE
            assert (await gateway.report("r")).found is Found.UNREACHABLE
        await gateway.close()


@pytest.mark.parametrize(("fake", "make"), ASKED)
async def test_a_message_without_an_answer_is_found_again_among_many(
    fake: Any, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lists have two on a page; others to the same number are not it."""
    other = fake()
    async with serving(other) as url, closing(make(url)) as gateway:
        monkeypatch.setattr(calling, "ANSWER_SECONDS", 5.0)
        hasty = make(url)
        lost = await letter("k9", "접수번호 R-9")
        for number in range(5):
            await one(gateway, await letter(f"k{number}", f"접수번호 R-{number}"))
        assert (await gateway.find(lost, lost.at)).found is Found.NOT_TAKEN
        other.fault = "silent"
        assert (await one(hasty, lost)).outcome is Outcome.UNANSWERED
        await hasty.close()
        other.fault = "none"
        told = await gateway.find(lost, lost.at)
        assert told.found is Found.TAKEN
        assert told.ref
        assert (await gateway.find(await letter("k7", "접수번호 R-7"), lost.at)).found is Found.NOT_TAKEN
        other.fate = "delivered"
        assert (await gateway.report(told.ref)).found is Found.DELIVERED
    assert other.refused == []


@pytest.mark.parametrize(("fake", "make"), ASKED)
async def test_what_became_of_a_message_is_told_when_asked(fake: Any, make: Any) -> None:
    other = fake()
    async with talking(other, make) as gateway:
        ref = (await one(gateway, await letter())).ref
        told = []
        for other.fate in ("pending", "delivered", "undelivered"):
            told.append((await gateway.report(ref)).found)
        assert (await gateway.report("nobody-knows-it")).found is Found.CANNOT_SAY
    assert told == [Found.TAKEN, Found.DELIVERED, Found.UNDELIVERED]


# Solapi


async def test_one_bad_message_of_many_is_refused_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    other = FakeSolapi()
    async with talking(other, solapi) as gateway:
        strange = await letter("k2", tenant=_sending_from("1"))
        answers = await gateway.send([await letter("k1"), strange, await letter("k3")])
        assert [answer.outcome for answer in answers] == [Outcome.ACCEPTED, Outcome.REJECTED, Outcome.ACCEPTED]
        assert answers[1].code == "solapi_1062"
        assert (await one(gateway, strange)).outcome is Outcome.REJECTED  # all of a request refused: another answer
    assert other.taken == {"k1": 1, "k3": 1}


def _sending_from(number: str) -> Tenant:
    told = f"{{name_ko: 안성시, name_en: A, zone: Asia/Seoul, calendar: kr, administrator: a, sms_sender: '{number}'}}"
    return parse(f"anseong: {told}".encode())["anseong"]


async def test_alimtalk_goes_where_its_values_are_all_there_and_a_text_in_its_place() -> None:
    other = FakeSolapi()
    values = {"city": "안성시", "receipt": "R-1", "due": "-"}
    async with talking(other, solapi) as gateway:
        await one(gateway, await letter("k1", message=Message("-", (SHORT,), values)))
        await one(gateway, await letter("k2", message=Message("-", (SHORT,), {"city": "안성시"})))
        await one(gateway, await letter("k3", message=Message("-", (SHORT,), values), template="result"))
    talk, *texts = other.messages
    assert talk["type"] == "ATA"
    assert talk["kakaoOptions"] == {
        "pfId": "KA01PF",
        "templateId": "KA01TP",
        "variables": {"#{city}": "안성시", "#{receipt}": "R-1"},
        "disableSms": False,
    }
    assert talk["text"] == SHORT  # what Solapi sends where KakaoTalk does not reach
    assert [text["type"] for text in texts] == ["SMS", "SMS"]
    assert all("kakaoOptions" not in text for text in texts)


def test_the_signature_is_the_one_worked_out_by_hand() -> None:
    # printf '2026-03-10T09:00:00+09:00salt' | openssl dgst -sha256 -hmac secret
    assert authorization("key", "secret", "2026-03-10T09:00:00+09:00", "salt") == (
        "HMAC-SHA256 ApiKey=key, Date=2026-03-10T09:00:00+09:00, salt=salt, "
        "signature=218f08bc3141a05cc66475bf5adf50a83f08f9b4109a9f5f525482b95af47bb1"
    )


async def test_the_vendors_own_client_signs_and_asks_as_we_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """The vendor's client is the oracle: the fake must take what it sends, and our signature must be its."""
    try:
        authenticator = importlib.import_module("solapi.lib.authenticator")
        service = importlib.import_module("solapi").SolapiMessageService(KEY, SECRET)
        request = importlib.import_module("solapi.model").RequestMessage
    except ImportError:
        pytest.skip(
            "the vendor's client (PyPI: solapi 5.0.3) is not installed: our Solapi signature has no oracle here"
        )
    theirs = authenticator.Authenticator(KEY, SECRET).get_auth_info()
    said = re.fullmatch(r"HMAC-SHA256 ApiKey=(.*), Date=(.*), salt=(.*), signature=(.*)", theirs)
    assert said is not None
    assert authorization(KEY, SECRET, said[2], said[3]) == theirs
    other = FakeSolapi()
    async with serving(other) as service.base_url:
        sent = await asyncio.to_thread(service.send, request(from_="0212345678", to="01098765432", text="안녕"))
        assert sent.group_info.count.registered_success == 1
        service.auth_info["api_secret"] = "another"
        with pytest.raises(Exception, match="SignatureDoesNotMatch"):
            await asyncio.to_thread(service.send, request(from_="0212345678", to="01098765432", text="안녕"))
    assert other.refused == ["SignatureDoesNotMatch"]


# SENS


def test_the_signature_of_sens_is_the_one_worked_out_by_hand() -> None:
    # printf 'GET /sms/v2/services/s/messages?requestId=r\n1700000000000\nkey' |
    #   openssl dgst -sha256 -hmac secret -binary | base64
    found = signature("secret", "GET", "/sms/v2/services/s/messages?requestId=r", "1700000000000", "key")
    assert found == "MOfiJdx8sDTaHXCS9G3cTcGoRMTkFAFf4hJm1mC7yaY="


def test_the_two_clouds_have_their_hosts() -> None:
    assert HOSTS == {
        "public": "https://sens.apigw.ntruss.com",
        "government": "https://sens.apigw.gov-ntruss.com",
    }


# Kannel


async def test_kannel_is_told_where_to_report_and_the_address_names_nobody() -> None:
    other = FakeKannel()
    async with talking(other, kannel) as gateway:
        await one(gateway, await letter())
        assert (await gateway.find(await letter(), 0)).found is Found.CANNOT_SAY
    mark = hmac.new(bytes(32), b"k1|1", hashlib.sha256).hexdigest()[:32]
    assert other.dlr == [f"http://notifier.example/reports/k1/1/{mark}?status=%d"]


# What the settings say


def _opened(tmp_path: Path, gateways: str, tenants: str = "", **settings: Any) -> list[Gateway]:
    path = tmp_path / "gateways.yaml"
    path.write_text(gateways, encoding="utf-8")
    (tmp_path / "secret").write_text("s\n")
    (tmp_path / "reports.key").write_bytes(bytes(32))
    fields = {"nats_url": "", "database_url": "", "gateways_file": path, "reports_key_file": tmp_path / "reports.key"}
    extra = "" if not tenants else f", gateways: {tenants}"
    known = parse(
        "a: {name_ko: 가, name_en: A, zone: Asia/Seoul, calendar: kr, administrator: a, sms_sender: '031-678-2114'"
        f"{extra}}}".encode()
    )
    return opened(Settings(**(fields | settings)), known)


MAIL = "email: {kind: email, url: 'smtp://127.0.0.1'}\n"


async def test_every_kind_is_made_as_described(tmp_path: Path) -> None:
    described = MAIL + (
        "a: {kind: solapi, key_file: secret, secret_file: secret, rate: 5,"
        " talks: {receipt.ko: {channel: c, template: t}}}\n"
        "b: {kind: sens, cloud: government, service: s, key_file: secret, secret_file: secret}\n"
        "c: {kind: kannel, url: 'http://127.0.0.1:1', user: u, password_file: secret, reports_url: 'http://h'}\n"
        "sms: {kind: development, url: 'http://127.0.0.1:1'}\n"
    )
    made = {gateway.name: gateway for gateway in _opened(tmp_path, described, "{sms: a}")}
    assert {name: type(gateway).__name__ for name, gateway in made.items()} == {
        "email": "EmailGateway",
        "a": "SolapiGateway",
        "b": "SensGateway",
        "c": "KannelGateway",
        "sms": "DevelopmentGateway",
    }
    assert made["a"].rate == 5
    tenants = {"x": SimpleNamespace(id="x", gateways={"sms": "a"}), "y": SimpleNamespace(id="y", gateways={})}
    assert serves(made["a"], tenants) == ["x"]  # type: ignore[arg-type]
    assert serves(made["sms"], tenants) == ["y"]  # type: ignore[arg-type]
    assert serves(made["email"], tenants) == ["x", "y"]  # type: ignore[arg-type]
    for gateway in made.values():
        await gateway.close()


@pytest.mark.parametrize(
    ("gateways", "tenants", "words"),
    [
        (MAIL, "", "Tenant a has no gateway for sms"),
        (MAIL, "{sms: email}", "Tenant a has no gateway for sms"),
        (MAIL + "sms: {kind: pigeon}", "", "does not describe gateways: Invalid value 'pigeon'"),
        (MAIL + "sms: {kind: development, url: u, colour: red}", "", "unknown field `colour`"),
        (
            MAIL + "sms: {kind: sens, cloud: moon, service: s, key_file: secret, secret_file: secret}",
            "",
            "`cloud` must be",
        ),
        (
            MAIL + "sms: {kind: sens, service: s, key_file: none, secret_file: secret}",
            "",
            "Gateway sms: a file of secrets",
        ),
        ("]", "", "it is no YAML"),
    ],
)
def test_a_description_that_is_wrong_is_said_in_a_sentence(
    tmp_path: Path, gateways: str, tenants: str, words: str
) -> None:
    with pytest.raises(SettingsError, match=re.escape(words)):
        _opened(tmp_path, gateways, tenants)


def test_reports_to_kannel_want_a_key(tmp_path: Path) -> None:
    described = MAIL + "sms: {kind: kannel, url: u, user: u, password_file: secret, reports_url: 'http://h'}"
    with pytest.raises(SettingsError, match="GIHAN_REPORTS_KEY_FILE"):
        _opened(tmp_path, described, reports_key_file=None)


def test_a_sender_that_no_network_takes_is_refused_at_the_start(tmp_path: Path) -> None:
    tenant = parse(b"a: {name_ko: a, name_en: A, zone: Asia/Seoul, calendar: kr, administrator: a, sms_sender: '1588'}")
    settings = Settings(nats_url="", database_url="", sms_url="http://h", smtp_url="smtp://127.0.0.1")
    with pytest.raises(SettingsError, match="8 to 11 digits"):
        opened(settings, tenant)


# E-mail


class Sink:
    """A mail server's judgement: what it took, with the words of MAIL and RCPT."""

    def __init__(self) -> None:
        self.mails: list[Any] = []
        self.options: list[list[str]] = []
        self.answer = "250 OK"

    async def handle_EHLO(self, server: Any, session: Any, envelope: Any, hostname: str, responses: list[str]) -> Any:
        session.host_name = hostname
        return [*responses[:-1], "250-DSN", responses[-1]]

    async def handle_MAIL(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if self.answer.startswith("530"):
            return self.answer
        envelope.mail_from = address
        self.options.append(options)
        return "250 OK"

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if self.answer != "250 OK":
            return self.answer
        envelope.rcpt_tos.append(address)
        self.options.append(options)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.mails.append(envelope)
        return "250 OK"


class _Dsn(SMTP):
    """aiosmtpd knows no DSN; its parameters are let through."""

    def _getparams(self, params: Any) -> dict[str, Any]:
        return dict(one.partition("=")[::2] for one in params)

    async def smtp_MAIL(self, arg: str | None) -> None:
        address, *options = (arg or "").split()
        status = await self._call_handler_hook("MAIL", address.partition(":")[2].strip("<>"), options)
        await self.push(status)

    async def smtp_RCPT(self, arg: str | None) -> None:
        address, *options = (arg or "").split()
        await self.push(await self._call_handler_hook("RCPT", address.partition(":")[2].strip("<>"), options))


@asynccontextmanager
async def mail_server(sink: Sink, kind: type[SMTP] = _Dsn, **more: Any) -> AsyncIterator[int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = await asyncio.get_running_loop().create_server(lambda: kind(sink, **more), "127.0.0.1", port)
    try:
        yield port
    finally:
        server.close()


async def test_a_mail_carries_a_message_id_that_stays_and_that_nobody_can_guess() -> None:
    sink, marks = Sink(), Marks(bytes(32))
    async with mail_server(sink) as port:
        gateway = EmailGateway(Server.at(f"smtp://127.0.0.1:{port}"), mark=marks.of, return_path="bounces@city.example")
        for attempt in (1, 2):
            assert (await one(gateway, await letter(attempt=attempt))).outcome is Outcome.ACCEPTED
        await gateway.close()
    contents = [mail.content.decode() for mail in sink.mails]
    id = f"k1.{marks.of('k1')}"
    assert all(f"Message-ID: <{id}@anseong.example>\r\n" in content for content in contents)
    assert all("Auto-Submitted: auto-generated\r\n" in content for content in contents)
    assert [mail.mail_from for mail in sink.mails] == ["bounces@city.example"] * 2
    assert sink.options[:2] == [[f"ENVID={id}", "RET=HDRS"], ["NOTIFY=SUCCESS,FAILURE"]]


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        ("550 5.1.1 no such user", Outcome.REJECTED),
        ("451 4.7.1 greylisted", Outcome.DEFERRED),
        ("421 closing", Outcome.UNREACHABLE),
        ("530 5.7.0 authentication required", Outcome.UNREACHABLE),
    ],
)
async def test_for_now_for_good_and_not_for_us_are_told_apart(said: str, outcome: Outcome) -> None:
    sink = Sink()
    sink.answer = said
    async with mail_server(sink) as port:
        gateway = EmailGateway(Server.at(f"smtp://127.0.0.1:{port}"))
        answers = await gateway.send([await letter("k1"), await letter("k2")])
        assert (answers[0].outcome, answers[0].code) == (outcome, f"smtp_{said[:3]}")
        # Trouble with us ends the round; a refusal is about one mail.
        assert answers[1].code == ("not_tried" if outcome is Outcome.UNREACHABLE else f"smtp_{said[:3]}")
        sink.answer = "250 OK"
        assert (await one(gateway, await letter("k3"))).outcome is Outcome.ACCEPTED
        await gateway.close()


async def test_an_address_that_is_none_is_refused_without_a_word_to_anybody() -> None:
    gateway = EmailGateway(Server.at("smtp://127.0.0.1:9"))
    for address in ("", "a@b\r\nBcc: x@y", "a b@c.example", "<a@b.example>", "a@b.example,c@d.example"):
        assert await one(gateway, await letter(contact={"email": address})) == (Outcome.REJECTED, "bad_address", None)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of localhost and its key, in one file, its own authority."""
    path = tmp_path / "mail.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=mail.test", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    path.write_text((tmp_path / "key.pem").read_text() + (tmp_path / "cert.pem").read_text())
    return path


def _context(certificate: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return context


async def test_mail_goes_over_tls_with_a_login_or_not_at_all(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """STARTTLS is wanted of every server but one on this machine, as which this one is made not to count."""
    monkeypatch.setattr(Server, "here", False)
    logins: list[Any] = []

    def know(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        logins.append((session.ssl is not None, data.login, data.password))
        return AuthResult(success=True)

    sink = Sink()
    known = {
        "tls_context": _context(certificate),
        "require_starttls": True,
        "authenticator": know,
        "auth_required": True,
    }
    async with mail_server(sink, SMTP, **known) as port:
        url = f"smtp://gihan@localhost:{port}"
        gateway = EmailGateway(Server.at(url, "pass word", str(certificate)))
        assert (await one(gateway, await letter())).outcome is Outcome.ACCEPTED
        await gateway.close()
        stranger = EmailGateway(Server.at(url, "pass word"))  # does not know who made that certificate
        assert (await one(stranger, await letter())).outcome is Outcome.UNREACHABLE
    assert logins == [(True, b"gihan", b"pass word")]
    assert len(sink.mails) == 1


async def test_a_server_that_offers_no_tls_gets_no_mail(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it looks when somebody in between has taken the offer out."""
    monkeypatch.setattr(Server, "here", False)
    sink = Sink()
    async with mail_server(sink) as port:
        gateway = EmailGateway(Server.at(f"smtp://127.0.0.1:{port}"))
        assert (await one(gateway, await letter())).outcome is Outcome.UNREACHABLE
        await gateway.close()
    assert sink.mails == []


@pytest.mark.parametrize(
    ("host", "here"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("10.0.0.1", False), ("mail.example", False)],
)
def test_only_this_machine_needs_no_tls(host: str, here: bool) -> None:
    assert Server(host, 25, False).here is here
