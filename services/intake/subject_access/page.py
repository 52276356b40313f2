"""The document as a page to print: it needs nothing else, and no script.

The one rule: it says what the document says, and what a person wrote is never read as markup.
"""

import hashlib
from base64 import b64encode
from pathlib import Path

from markupsafe import Markup

from services.chassis import pages
from services.chassis.vault import PERSON_FIELDS
from services.intake.subject_access.held import Held
from services.intake.subject_access.words import Words
from services.rules.instants import instant

_STYLE = (
    "body{font:11pt/1.6 'Noto Sans KR','Malgun Gothic',NanumGothic,system-ui,sans-serif;color:#17212b;margin:0}"
    "main{max-width:46rem;margin:0 auto;padding:1.5rem;word-break:keep-all;overflow-wrap:anywhere}"
    "h2{border-top:1px solid #c9d3da;padding-top:1rem}dl{display:grid;grid-template-columns:8rem 1fr;margin:0 0 1rem}"
    "dd{margin:0}small{color:#4a5a68}blockquote{margin:0 0 1rem;white-space:pre-wrap}"
    "table{border-collapse:collapse;width:100%}th,td{border-bottom:1px solid #c9d3da;text-align:left;padding:.25rem}"
    "@media print{h2,h3{break-after:avoid}tr{break-inside:avoid}}"
)
_HASH = b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_OWN = f"style-src 'sha256-{_HASH}'"
HEADERS = {"Content-Security-Policy": f"default-src 'none'; {_OWN}; base-uri 'none'; frame-ancestors 'none'"}
_templates = pages.templates(Path(__file__).parent / "templates")


def page(held: Held, words: Words) -> str:
    """The document as HTML."""
    return _templates.get_template("held.html").render(
        held=held,
        t=words,
        when=lambda at: words.when(instant(at)).text,
        as_of=words.when(instant(held.as_of)).text,
        fields=PERSON_FIELDS,
        style=Markup(_STYLE),  # noqa: S704 - our own stylesheet
    )
