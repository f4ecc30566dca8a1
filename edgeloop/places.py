"""Where a command is to write, looked at before any work: nothing is made, and what could not be is refused."""

from __future__ import annotations

import os
from pathlib import Path

from edgeloop.errors import BadInput
from edgeloop.formats.findings import printable


def require_place(folder: Path) -> None:
    """Refuse a folder that nothing could be written into. It need not exist, and is not made.

    Raises:
        BadInput: it or what is above it is no folder, or may not be written.
    """
    there = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
    wrong = "is none" if not there.is_dir() else "" if os.access(there, os.W_OK | os.X_OK) else "may not be written"
    if wrong:
        where = f"{printable(folder)}: expected a folder to write into; {printable(there)} {wrong}"
        raise BadInput(f"{where}. Name another.")


def refuse_target(target: Path | None, suffix: str, model: Path | None = None) -> None:
    """Refuse a file to write that would take the model's own place, or could not be written.

    Args:
        target: the file; None where none is asked for.
        suffix: the ending of its kind.
        model: the user's own, where there is one.

    Raises:
        BadInput: it is the model, a folder, ends otherwise, or its folder could not be written into.
    """
    if target is None:
        return
    if target.suffix.lower() != suffix or target.is_dir():
        came = "a folder" if target.is_dir() else f"one that ends in {target.suffix or 'nothing'}"
        raise BadInput(f"{printable(target)}: expected a file to write that ends in {suffix}, came {came}.")
    if model is not None and target.resolve() == model.resolve():
        raise BadInput(f"{printable(target)} is the model itself; name another file to write.")
    require_place(target.parent)
