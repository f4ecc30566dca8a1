"""The live line on stderr: rewritten every second on a terminal, a line a minute in a journal."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

from rich.console import Console

from edgeloop.edge.meter import AgentStatus

TERMINAL_SECONDS, JOURNAL_SECONDS = 1.0, 60.0


class LiveLine:
    """An agent's status and the sentences in between; a thread of its own, so that a slow terminal stops nobody."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._line = self._console.status("starting") if self._terminal else None
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, status: Callable[[], AgentStatus]) -> None:
        """Show what `status` says until `close`."""
        self._thread = threading.Thread(target=self._work, args=(status,), name="edgeloop-line", daemon=True)
        if self._line:
            self._line.start()
        self._thread.start()

    def say(self, sentence: str) -> None:
        """A sentence of its own, above the line; any thread may call it."""
        self._console.print(sentence, markup=False)

    def close(self) -> None:
        self._closing.set()
        if self._thread:
            self._thread.join()
        if self._line:
            self._line.stop()

    def _work(self, status: Callable[[], AgentStatus]) -> None:
        while not self._closing.wait(TERMINAL_SECONDS if self._terminal else JOURNAL_SECONDS):
            if self._line:
                self._line.update(status().line().replace("[", r"\["))
            else:
                self._console.print(status().line(), markup=False)
