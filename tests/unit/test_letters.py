"""The letter of apology: the same bytes for the same words, and nothing in it that a value brings along."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from services.chassis.settings import ROOT
from services.notifier.tasks.letter_page import letter, words
from services.notifier.tasks.letters import Language
from services.rules.instants import instant
from services.rules.tenants import Tenant, parse

NOW = instant("2026-03-16T10:00:00+09:00")
VALUES = {
    "name": "홍길동",
    "address": "경기도 안성시 시청길 25",
    "receipt": "R-1",
    "promise": "문의에는 3일 안에 답합니다.",
    "due": "3월 12일(목) 오후 6시",
    "amount": "10,000원",
    "contact": "건축과 김담당 000-000-0002",
}


@pytest.fixture(scope="module")
def anseong() -> Tenant:
    return parse((ROOT / "deploy" / "tenants.yaml").read_bytes())["anseong"]


def read(written: bytes, folder: Path) -> str:
    """What a program reads aloud; skipped aloud where there is none."""
    if shutil.which("pdftotext") is None:
        pytest.skip("pdftotext is not there: install Debian's `poppler-utils`")
    (folder / "letter.pdf").write_bytes(written)
    ran = subprocess.run(["pdftotext", "-layout", folder / "letter.pdf", "-"], capture_output=True, check=True)
    return " ".join(ran.stdout.decode().split())


def test_the_same_words_on_the_same_day_are_the_same_bytes(anseong: Tenant) -> None:
    later_that_day = instant("2026-03-16T23:59:59+09:00")
    assert letter(VALUES, anseong, "ko", NOW) == letter(VALUES, anseong, "ko", later_that_day)
    assert letter(VALUES, anseong, "ko", NOW) != letter(VALUES, anseong, "ko", instant("2026-03-17T00:00:00+09:00"))
    assert b"/Lang (ko)" in letter(VALUES, anseong, "ko", NOW)
    assert b"/Lang (en)" in letter(VALUES, anseong, "en", NOW)


def test_it_can_be_read_out_in_both_languages(anseong: Tenant, tmp_path: Path) -> None:
    korean = read(letter(VALUES, anseong, "ko", NOW), tmp_path)
    assert korean == (
        "홍길동 귀하 경기도 안성시 시청길 25 접수번호 R-1 사과 말씀을 드립니다 "
        "홍길동 님의 민원을 처리하면서 저희가 드린 약속을 지키지 못했습니다. "
        "지키지 못한 약속: 문의에는 3일 안에 답합니다. 약속한 때: 3월 12일(목) 오후 6시 "
        "기다리시게 하고 불편을 드린 점, 변명 없이 진심으로 사과드립니다. "
        "행정서비스헌장에 따라 10,000원 상당의 보상을 드립니다. "
        "같은 일이 되풀이되지 않도록 처리 과정을 살펴 고치겠습니다. "
        "문의: 건축과 김담당 000-000-0002 2026년 3월 16일 안성시"
    )
    english = read(letter(VALUES | {"name": "Hong Gildong"}, anseong, "en", NOW), tmp_path)
    assert "Dear Hong Gildong, In handling your petition we did not keep what we had promised you." in english
    assert english.endswith("16 March 2026 Anseong")


def test_what_is_not_known_is_left_out(anseong: Tenant, tmp_path: Path) -> None:
    said = read(letter({"name": "홍길동"}, anseong, "ko", NOW), tmp_path)
    for absent in ("접수번호", "지키지 못한 약속:", "약속한 때", "보상", "문의:"):
        assert absent not in said


def test_a_value_brings_nothing_along(anseong: Tenant, tmp_path: Path) -> None:
    hostile = "김{amount}\r\n\u202e<b>x</b>\x00 (a) \\) Tj"
    said = read(letter(VALUES | {"name": hostile}, anseong, "ko", NOW), tmp_path)
    assert said.startswith("김{amount} <b>x</b> (a) \\) Tj 귀하 경기도")
    assert letter(VALUES | {"address": "가" * 5000, "name": ""}, anseong, "ko", NOW).startswith(b"%PDF")


@pytest.mark.parametrize("language", ["ko", "en"])
def test_every_placeholder_is_known(language: Language) -> None:
    said = words(language)
    used = set(
        re.findall(r"\{(\w+)\}", " ".join([said.to, said.receipt, *said.lines, said.contact, said.dated, said.sender]))
    )
    assert used == {*VALUES, "city", "date"} - {"address"}
