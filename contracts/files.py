"""The enacted files: charters, calendars and laws, as bytes.

The one rule: a file that a log has enacted is kept for ever, unchanged; the log names it by its sha256.
"""

from pathlib import Path

FOLDER = Path(__file__).parent
KINDS = ("charters", "calendars", "law")


def read(folder: Path = FOLDER) -> dict[str, bytes]:
    """Every charter, calendar and law file under its name in the folder, such as "charters/seoul-1.yaml"."""
    return {
        f"{kind}/{path.name}": path.read_bytes() for kind in KINDS for path in sorted((folder / kind).glob("*.yaml"))
    }
