"""The report as PDF: the same document, drawn.

The one rule: the same report gives the same bytes, and every bar has its number beside it.
"""

from fpdf.enums import TableBordersLayout, TextEmphasis
from fpdf.fonts import FontFace

from services.chassis import pdf
from services.intake.pages.words import Speaker
from services.intake.reporting.document import document
from services.intake.reporting.parts import Plot, Section, Table
from services.rules.reporting.report import Report

MAIN, GROUND, SOFT, LINE = (18, 69, 89), (232, 237, 240), (74, 90, 104), (201, 211, 218)
_MARGIN = 16.0
_HEADS = FontFace(emphasis=TextEmphasis.B, color=SOFT)


def printed(report: Report, speaker: Speaker) -> bytes:
    """The document on A4 pages that lie on their side. Raises FontMissing."""
    content = document(report, speaker)
    paper = pdf.Document(speaker.language, content.title, report.name[speaker.language])
    paper.set_margins(_MARGIN, _MARGIN)
    paper.set_auto_page_break(True, _MARGIN)
    paper.add_page(orientation="landscape")  # there is a column for every month
    _text(paper, content.title, 18, "B")
    for line in content.says:
        _text(paper, line, 10)
    for section in content.sections:
        _section(paper, section)
    return paper.written()


def _section(paper: pdf.Document, section: Section) -> None:
    _room(paper, 40)
    paper.ln(6)
    paper.start_section(section.heading)
    _text(paper, section.heading, 14, "B")
    for line in section.says:
        _text(paper, line, 10)
    for part in section.parts:
        paper.ln(2)
        if isinstance(part, Plot):
            _plot(paper, part)
        else:
            _table(paper, part)


def _room(paper: pdf.Document, height: float) -> None:
    if paper.will_page_break(height):
        paper.add_page(same=True)


def _text(paper: pdf.Document, text: str, points: float, style: str = "") -> None:
    paper.set_font(pdf.FONT, style, points)
    paper.set_text_color(23, 33, 43)
    paper.multi_cell(0, points * 0.6, text, new_x="LMARGIN", new_y="NEXT", align="L")


def _plot(paper: pdf.Document, plot: Plot) -> None:
    """A bar a line: its label, the bar on its ground, its number."""
    line, label, number = 5.0, 30.0, 42.0
    _room(paper, 8 + line * len(plot.bars))
    _text(paper, plot.caption, 10, "B")
    width = paper.epw - label - number
    paper.set_font(pdf.FONT, "", 9)
    for bar in plot.bars:
        top = paper.get_y()
        paper.cell(label, line, bar.label)
        for color, length in ((GROUND, 1000), (MAIN, plot.length(bar))):
            paper.set_fill_color(*color)
            if length:
                paper.rect(paper.l_margin + label, top + 1, width * length / 1000, line - 2, style="F")
        paper.set_x(paper.l_margin + label + width + 2)
        paper.cell(number - 2, line, bar.text, new_x="LMARGIN", new_y="NEXT")


def _table(paper: pdf.Document, table: Table) -> None:
    _room(paper, 30)
    _text(paper, table.caption, 10, "B")
    paper.set_font(pdf.FONT, "", 8)
    paper.set_fill_color(255, 255, 255)
    paper.set_draw_color(*LINE)
    columns = len(table.head)
    first = 5.0 if table.wide else max(3.0, columns / 2.5)
    with paper.table(
        borders_layout=TableBordersLayout.HORIZONTAL_LINES,
        col_widths=(first, *(1.0 for _ in range(columns - 1))),
        text_align=("LEFT", *("RIGHT" for _ in range(columns - 1))),
        headings_style=_HEADS,
        line_height=4.2,
        padding=0.8,
    ) as drawn:
        for row in (table.head, *table.rows):
            drawn.row(row)
