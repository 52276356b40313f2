"""The reviewed table of permissions is the one that is in force."""

from deploy import matrix
from services.chassis.settings import ROOT
from services.rules.tenants import parse


def test_the_document_is_what_the_code_says() -> None:
    tenants = parse((ROOT / "deploy" / "tenants.yaml").read_bytes())
    assert matrix.DOCUMENT.read_text(encoding="utf-8") == matrix.document(tenants), f"write it anew: {matrix.COMMAND}"
