"""The report as a document in one language: headings, sentences, tables and plots, for whatever form shows it.

The one rule: what is shown is worked out once; page, PDF and file of a report say the same.
"""

from zoneinfo import ZoneInfo

from services.intake.pages.words import Language, Speaker
from services.intake.reporting import citizens, promises
from services.intake.reporting.parts import TEXTS, Document, Section
from services.rules.reporting.report import Report

_NOTES = ("due", "open", "retracted", "share", "department", "live", "again")


def speaker_of(language: Language, zone: ZoneInfo) -> Speaker:
    """Who speaks the texts of reports."""
    return Speaker(language, zone, TEXTS)


def document(report: Report, speaker: Speaker) -> Document:
    """The report in the language of the speaker, who speaks the texts of this folder."""
    say = speaker.say
    stuck = [say("report.stuck", stuck=report.stuck)] if report.stuck else []
    return Document(
        say("report.title", city=report.name[speaker.language], year=report.year),
        (
            say("report.lead", year=report.year),
            say("report.as_of", when=speaker.when(report.as_of).text, charter=report.charter.partition("@")[2]),
            say("report.counted", cases=report.cases),
            *stuck,
        ),
        (
            promises.summary(report, speaker),
            promises.lines("deadlines", report, speaker),
            promises.lines("measures", report, speaker),
            promises.places(report, speaker),
            promises.duties(report.duties, speaker),
            citizens.amends(report, speaker),
            citizens.times(report, speaker),
            citizens.survey(report, speaker),
            promises.lines("law", report, speaker),
            Section("notes", say("notes.title"), tuple(say(f"notes.{name}") for name in _NOTES), ()),
        ),
    )
