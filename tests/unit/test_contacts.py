"""What a form takes is what a gateway can use."""

import pytest

from services.chassis.contacts import mobile_number, takes_mail


@pytest.mark.parametrize(
    "text",
    [
        "01012345678",
        "010-1234-5678",
        "010.1234.5678",
        "(010) 1234 5678",
        "+82 10-1234-5678",
        "+82 (0)10 1234 5678",
        "0082 10 1234 5678",
        "０１０－１２３４－５６７８",
    ],
)
def test_a_mobile_number_is_one_number_however_it_is_written(text: str) -> None:
    assert mobile_number(text) == "01012345678"


@pytest.mark.parametrize(
    "text", ["", "02-120-0000", "+1 617 635 4500", "010-1234", "010-1234-5678 Kim", "+8210", "82", "010-1234-567890"]
)
def test_where_no_text_reaches_there_is_no_number(text: str) -> None:
    assert mobile_number(text) is None


def test_an_address_is_one_that_plain_smtp_takes() -> None:
    assert takes_mail("hong.gildong+gihan@anseong.example")
    for text in (
        "",
        "hong",
        "홍@anseong.example",
        "hong@시청.example",
        "a@b.example\r\nBcc: c@d.example",
        "a b@c.example",
    ):
        assert not takes_mail(text)
