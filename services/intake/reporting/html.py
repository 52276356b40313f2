"""The report as HTML: the sections for the page, and a whole file that needs nothing else.

The one rule: no script, and nothing from outside.
"""

from pathlib import Path

from markupsafe import Markup

from services.chassis import pages
from services.intake.pages.words import Speaker
from services.intake.reporting.document import document
from services.rules.reporting.report import Report

_HERE = Path(__file__).parent
_STYLE = _HERE.parent / "pages" / "static" / "pages.css"
_templates = pages.templates(_HERE / "templates")


def sections(report: Report, speaker: Speaker) -> Markup:
    """All but the heading, for a page."""
    template = _templates.get_template("sections.html")
    return Markup(template.render(document=document(report, speaker), t=speaker.say))  # noqa: S704 - it was escaped


def whole(report: Report, speaker: Speaker) -> bytes:
    """A file by itself."""
    style = Markup(_STYLE.read_text(encoding="utf-8"))  # noqa: S704 - our own stylesheet
    return (
        _templates.get_template("whole.html")
        .render(
            document=document(report, speaker),
            sections=sections(report, speaker),
            language=speaker.language,
            style=style,
        )
        .encode()
    )
