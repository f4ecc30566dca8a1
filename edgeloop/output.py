"""What a command prints: results on stdout, everything else on stderr; with --json one document and nothing else."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console, RenderableType

from edgeloop.record import Record, json_text

WIDTH = 120  # where stdout is no terminal


def show(result: Any, tables: Sequence[RenderableType], *, as_json: bool) -> None:
    """Print a command's result for people, or as JSON.

    Args:
        result: a record, a list of them, or None.
        tables: the same for people.
        as_json: print the result as one JSON document instead.
    """
    if as_json:
        sys.stdout.write(json_text(as_document(result)) + "\n")
        return
    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
    for table in tables:
        console.print(table)


def as_document(result: Any) -> Any:
    """A record, or a collection of them, as what `json.dumps` takes."""
    if isinstance(result, Record):
        return json.loads(result.to_json())
    if isinstance(result, (list, tuple)):
        return [as_document(one) for one in result]
    return result


def say(*lines: str) -> None:
    """Tell people something on stderr, wrapped at no column."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    for line in lines:
        console.print(line, markup=False)
