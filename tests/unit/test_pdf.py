"""Documents as PDF: the same bytes for the same content, and Korean that a program can read out."""

import re
import subprocess
import sys
import zlib

import pytest

from services.chassis import pdf
from services.chassis.pdf import FONT, Document, FontMissing

MAKE = """
import hashlib
from services.chassis.pdf import Document
document = Document("ko", "사과문", "서울특별시")
document.add_page()
document.cell(text="약속한 기한을 지키지 못해 죄송합니다")
print(hashlib.sha256(document.written()).hexdigest())
"""


def test_the_same_content_gives_the_same_bytes_in_another_process() -> None:
    """Other hash seeds, other moments: what chance decides would differ."""
    ran = [
        subprocess.run(
            [sys.executable, "-c", MAKE], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        )
        for seed in ("1", "2")
    ]
    assert ran[0].stdout == ran[1].stdout


def test_korean_stands_in_the_text_and_the_language_is_named() -> None:
    document = Document("ko", "사과문", "서울특별시")
    document.add_page()
    document.set_font(FONT, "B", 14)
    document.cell(text="기한")
    written = document.written()
    assert b"/Lang (ko)" in written
    streams = [_inflated(stream) for stream in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", written, re.DOTALL)]
    # The table from glyphs to characters, without which the text could be seen and not read.
    tables = b"".join(stream for stream in streams if b"beginbfchar" in stream or b"beginbfrange" in stream)
    for character in "기한":
        assert f"<{ord(character):04X}>".encode() in tables.upper()


def test_a_missing_font_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf, "find_spec", lambda name: None)
    with pytest.raises(FontMissing, match="requirements-fonts"):
        Document("en", "Letter", "Seoul")


def _inflated(stream: bytes) -> bytes:
    try:
        return zlib.decompress(stream)
    except zlib.error:
        return stream
