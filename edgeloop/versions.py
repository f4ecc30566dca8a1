"""The versions made in a workspace, and what people call them.

var/versions/<md5>.json     one record a version: what `edgeloop.dataset.describe` counted
data.dvc                    names the current one
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import yaml

from edgeloop.config import Workspace
from edgeloop.dataset import DatasetVersion
from edgeloop.errors import BadInput
from edgeloop.formats.findings import printable

SHORTEST = 4  # digits of an md5 that name a version
_MD5 = re.compile(r"([0-9a-f]{32})(?:\.dir)?")
_DIGITS = re.compile(rf"[0-9a-f]{{{SHORTEST},32}}")


def record_of(place: Workspace, md5: str) -> Path:
    """Where the record of a version lies."""
    return place.var / "versions" / f"{md5}.json"


def made(place: Workspace) -> list[str]:
    """The md5 of every version made in this workspace, oldest first."""
    records = (place.var / "versions").glob("*.json")
    return [path.stem for path in sorted(records, key=lambda path: (path.stat().st_mtime_ns, path.stem))]


def load(place: Workspace, md5: str) -> DatasetVersion:
    """The record of a version that was made here, its root where its snapshot is laid out in this workspace."""
    return DatasetVersion.load(record_of(place, md5)).model_copy(update={"root": place.snapshots / md5})


def with_state(place: Workspace, state: str) -> str | None:
    """The md5 of the version that was made of a state of data/."""
    return next((md5 for md5 in made(place) if load(place, md5).state == state), None)


def pointed(pointer: Path) -> str | None:
    """The version that a .dvc file names, None when there is no such file or it is broken."""
    try:
        return _pointed(pointer.read_text(encoding="utf-8"))
    except (FileNotFoundError, UnicodeDecodeError):
        return None


def _pointed(text: str) -> str | None:
    try:
        found = _MD5.fullmatch(yaml.safe_load(text)["outs"][0]["md5"])
    except (yaml.YAMLError, LookupError, TypeError):
        return None
    return found[1] if found else None


def find(place: Workspace, name: str) -> str:
    """The md5 of the version that a person means.

    Args:
        place: the workspace.
        name: "current", "previous", an md5 or at least four of its first digits, or, in a git checkout, a revision
            whose data.dvc names a version.

    Raises:
        BadInput: no version is called so, or several are.
    """
    if name in ("current", "previous"):
        return _current(place) if name == "current" else _previous(place)
    if whole := _MD5.fullmatch(name):
        return whole[1]
    known = sorted({*made(place), *filter(None, [pointed(place.pointer)])})
    begun = [md5 for md5 in known if _DIGITS.fullmatch(name) and md5.startswith(name)]
    if len(begun) > 1:
        raise BadInput(f"{name} begins {len(begun)} versions, {' and '.join(begun[:3])}; give more digits.")
    md5 = begun[0] if begun else _at_revision(place, name)
    if md5 is None:
        raise BadInput(
            f"expected a version: current, previous, {SHORTEST} or more digits of an md5, or a git revision whose "
            f"{place.pointer.name} names one, came {name[:80]!r}; `edgeloop dataset show` lists them."
        )
    return md5


def _current(place: Workspace) -> str:
    md5 = pointed(place.pointer)
    if md5 is None and not place.pointer.exists():
        raise BadInput("there is no data set yet; run `edgeloop ingest` on a labelled set first.")
    if md5 is None:
        raise BadInput(f"{printable(place.pointer)} names no version; expected one that `edgeloop ingest` made.")
    return md5


def _previous(place: Workspace) -> str:
    """The version that was made before the current one."""
    current, known = _current(place), made(place)
    before = known[: known.index(current)] if current in known else known
    if not before:
        raise BadInput(f"no version was made before {current} in this workspace; name one by its md5.")
    return before[-1]


def _at_revision(place: Workspace, revision: str) -> str | None:
    """The version in data.dvc as git has it at a revision; None without git, a checkout, such a revision or file."""
    if not revision or revision.startswith("-") or not (place.root / ".git").exists():
        return None
    command = ["git", "-C", str(place.root), "show", f"{revision}:./{place.pointer.relative_to(place.root).as_posix()}"]
    try:
        shown = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError:
        return None
    return _pointed(shown.stdout.decode("utf-8", "replace")) if shown.returncode == 0 else None
