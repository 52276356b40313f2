"""The report as HTML: the sections for the page, and a whole file that needs nothing else.

The one rule: no script, and nothing from outside.
"""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from services.intake.pages.words import Speaker
from services.intake.reporting.document import document
from services.rules.reporting.report import Report

_HERE = Path(__file__).parent
_STYLE = _HERE.parent / "pages" / "static" / "pages.css"
_environment = Environment(
    loader=FileSystemLoader(_HERE / "templates"),
    autoescape=True,
    auto_reload=False,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def sections(report: Report, speaker: Speaker) -> Markup:
    """All but the heading, for a page."""
    template = _environment.get_template("sections.html")
    return Markup(template.render(document=document(report, speaker), t=speaker.say))  # noqa: S704 - it was escaped


def whole(report: Report, speaker: Speaker) -> bytes:
    """A file by itself."""
    style = Markup(_STYLE.read_text(encoding="utf-8"))  # noqa: S704 - our own stylesheet
    return (
        _environment.get_template("whole.html")
        .render(
            document=document(report, speaker),
            sections=sections(report, speaker),
            language=speaker.language,
            style=style,
        )
        .encode()
    )
