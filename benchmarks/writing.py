"""What a measurement leaves: its figures as JSON, and a table in Markdown, which is printed too."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from edgeloop.files import write_text

RESULTS = Path(__file__).parent / "results"


def keep(out: Path, name: str, document: object, text: str) -> None:
    """Write `name`.json and `name`.md into a folder, and print the latter."""
    write_text(out / f"{name}.json", json.dumps(document, indent=2) + "\n")
    write_text(out / f"{name}.md", text)
    print(text)


def markdown(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table."""
    lines = [_line(head), "|---" * len(head) + "|", *map(_line, rows)]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"
