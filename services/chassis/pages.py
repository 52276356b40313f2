"""Pages that the server makes: their templates, and the headers with which each goes.

The one rule: nothing on a page comes from outside this house, what stands in a value is never read as markup, and a
value that is missing is an error and not a gap.
"""

from http import HTTPStatus
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined


class PageError(Exception):
    """A page that cannot be shown; `problem` names its texts."""

    def __init__(self, status: HTTPStatus, problem: str) -> None:
        super().__init__(problem)
        self.status = status
        self.problem = problem


def templates(folder: Path) -> Environment:
    """The templates of a folder."""
    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        auto_reload=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def headers(*own: str) -> dict[str, str]:
    """The headers of a page; `own` are the kinds of thing beside styles, pictures and forms that it takes from where it
    comes from itself (such as script-src)."""
    sources = "; ".join(f"{kind} 'self'" for kind in ("style-src", "img-src", "form-action", *own))
    return {
        "Content-Security-Policy": f"default-src 'none'; {sources}; base-uri 'none'; frame-ancestors 'none'",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    }
