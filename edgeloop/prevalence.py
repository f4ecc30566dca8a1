"""What each frame stands for in production: weights from a table that says how frames were drawn.

Audit frames are a random draw, so each stands for as many production frames as any other and all weigh 1. Frames that
were chosen on purpose (uncertain, flagged, rare) are there more often than they occur: counted alike, they would make
false positives and misses look as frequent as they are in the queue. A frame that was drawn with probability p stands
for 1 / p frames (Horvitz and Thompson, 1952).

The table is a CSV with a header. `frame` is a frame id or a file name; then either
    weight               the number of production frames it stands for, up to a common factor, or
    stratum,population   the stratum it was drawn from and how many frames the stratum has in production;
                         the weight is that number over the frames of the stratum that are scored
"""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgeloop.errors import BadInput
from edgeloop.formats.findings import printable
from edgeloop.frames import LabelledFrame

if TYPE_CHECKING:
    from edgeloop.audit import AuditFrames

Row = Mapping[str, str]


def weighted(audit: AuditFrames, table: Path) -> AuditFrames:
    """The same frames with the weights of a table; rows about other frames say nothing here.

    Raises:
        BadInput: the table has other columns, a frame has no row or several, or a weight is no positive number.
    """
    rows = _read(table)
    chosen = [_row_of(frame, rows, table) for frame in audit.frames]
    if "weight" in chosen[0]:
        weights = tuple(_positive(row, "weight", table) for row in chosen)
    else:
        scored = Counter(row["stratum"] for row in chosen)
        weights = tuple(_positive(row, "population", table) / scored[row["stratum"]] for row in chosen)
        _refuse_contradictions(chosen, table)
    return replace(audit, weights=weights)


def _read(table: Path) -> dict[str, list[Row]]:
    """The rows by frame."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as handle:
            reader = csv.DictReader(handle, skipinitialspace=True)
            columns, rows = set(reader.fieldnames or ()), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise BadInput(f"{printable(table)} cannot be read as a table of weights ({reason}).") from error
    if "frame" not in columns or not ("weight" in columns or {"stratum", "population"} <= columns):
        raise BadInput(
            f"{printable(table)}: expected a CSV with the columns frame,weight or frame,stratum,population; came "
            f"{','.join(sorted(columns)) or 'nothing'}."
        )
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["frame"], []).append(row)
    return found


def _row_of(frame: LabelledFrame, rows: Mapping[str, Sequence[Row]], table: Path) -> Row:
    image = frame.frame.image
    named = [row for key in {frame.frame.frame_id, image.name, image.stem} for row in rows.get(key, ())]
    if len(named) != 1:
        raise BadInput(
            f"{printable(table)} has {len(named) or 'no'} row{'s' if named else ''} for {printable(image.name)} "
            f"({frame.frame.frame_id}); expected one for every frame that is scored."
        )
    return named[0]


def _positive(row: Row, column: str, table: Path) -> float:
    try:
        value = float(row[column])
    except (TypeError, ValueError):
        value = math.nan
    if not 0 < value < math.inf:
        raise BadInput(
            f"{printable(table)}: expected a positive {column} for {printable(row['frame'])}, came {row[column]!r}."
        )
    return value


def _refuse_contradictions(rows: Sequence[Row], table: Path) -> None:
    """A stratum has one population."""
    said: dict[str, str] = {}
    for row in rows:
        if said.setdefault(row["stratum"], row["population"]) != row["population"]:
            raise BadInput(
                f"{printable(table)} gives the stratum {printable(row['stratum'])} a population of "
                f"{said[row['stratum']]} and of {row['population']}; expected one."
            )
