"""The enacted files: charters, calendars and laws, as bytes.

The one rule: a file that a log has enacted is kept for ever, unchanged; the log names it by its sha256.
"""

import os
from pathlib import Path

FOLDER = Path(__file__).parent
KINDS = ("charters", "calendars", "law")


def read(folder: Path | None = None) -> dict[str, bytes]:
    """Every charter, calendar and law file under its name, such as "charters/seoul-1.yaml": those that come with Gihan,
    and those of a folder of one's own (else the one that GIHAN_CONTRACTS names), which has the same three inside.

    Raises ValueError where the folder is none, or where a file in it says otherwise than one of ours of that name.
    """
    ours = _in(FOLDER)
    named = folder or os.environ.get("GIHAN_CONTRACTS")
    if not named:
        return ours
    if not Path(named).is_dir():
        raise ValueError(f"there is no folder {named}; name one that holds charters, calendars or law")
    theirs = _in(Path(named))
    for name in sorted(ours.keys() & theirs.keys()):
        if ours[name] != theirs[name]:
            raise ValueError(
                f"{named}/{name} differs from the file of that name in Gihan; give it a version of its own"
            )
    return ours | theirs


def _in(folder: Path) -> dict[str, bytes]:
    return {
        f"{kind}/{path.name}": path.read_bytes() for kind in KINDS for path in sorted((folder / kind).glob("*.yaml"))
    }


def messages(folder: Path | None = None) -> dict[str, bytes]:
    """By tenant, the files in which cities word their messages themselves: ours, and those of `messages` in a folder of
    one's own, which go before ours. Nothing is decided by them, so no log enacts them."""
    named = folder or os.environ.get("GIHAN_CONTRACTS")
    folders = [FOLDER, *([Path(named)] if named else [])]
    return {path.stem: path.read_bytes() for one in folders for path in sorted((one / "messages").glob("*.yaml"))}
