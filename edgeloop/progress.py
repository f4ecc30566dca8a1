"""A progress bar on stderr for work that turns out to be long."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import Progress

T = TypeVar("T")
PATIENCE_SECONDS = 2.0  # shorter work shows no bar


def bar(items: Iterable[T], description: str, total: int) -> Iterator[T]:
    """Yield the items; when they take longer than two seconds, show how many of `total` are done."""
    begin = time.monotonic()
    progress = Progress(console=Console(stderr=True), transient=True)
    task = progress.add_task(description, total=total)
    try:
        for item in items:
            progress.advance(task)
            if not progress.live.is_started and time.monotonic() - begin > PATIENCE_SECONDS:
                progress.start()
            yield item
    finally:
        if progress.live.is_started:  # stopping a bar that never began leaves an empty line
            progress.stop()
