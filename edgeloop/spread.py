"""Work on many items on all cores, in order, with a bounded number of answers waiting."""

from __future__ import annotations

import gc
import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

P = TypeVar("P")
R = TypeVar("R")
CHUNK = 256  # items at most
SHARES = 16  # chunks a core at least, where there are so many items, so that all are busy to the end and a bar moves
AHEAD = 3  # chunks a core that are done or being done before the first is taken
AT_ONCE = 8  # files on their way: a remote store answers slowly, not seldom
WORTH_PROCESSES = 4000  # items; starting interpreters takes about a second, in which threads do as many


def chunked(items: Sequence[P]) -> list[Sequence[P]]:
    """The items in order, in the chunks that `spread` works on."""
    size = max(1, min(CHUNK, len(items) // (SHARES * _cores())))
    return [items[at : at + size] for at in range(0, len(items), size)]


def bounded(items: Iterable[P], size: Callable[[P], int], limit: int) -> Iterator[list[P]]:
    """The items in order, in groups that end where their sizes reach `limit`; none is asked for before its group."""
    group: list[P] = []
    total = 0
    for item in items:
        group.append(item)
        total += size(item)
        if total >= limit:
            yield group
            group, total = [], 0
    if group:
        yield group


def spread(work: Callable[[Sequence[P]], R], chunks: Sequence[Sequence[P]]) -> Iterator[R]:
    """The answers to chunks of items, in order.

    Threads for a few items; for many, processes, in which work that holds Python's lock runs on every core.

    Args:
        work: answers a chunk; a module's function, or a partial of one, so that it can be sent to another process.
        chunks: what to work on, from `chunked`.
    """
    with _pool(_cores(), sum(map(len, chunks))) as pool:
        yield from _in_order(pool, work, iter(chunks), AHEAD * _cores())


def fetch(work: Callable[[P], R], items: Iterable[P]) -> Iterator[R]:
    """The answers to items, in their order, for work that waits for a remote store: a few are always on their way."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield from _in_order(pool, work, iter(items), AT_ONCE)


def _in_order(pool: Executor, work: Callable[[P], R], items: Iterator[P], ahead: int) -> Iterator[R]:
    waiting: deque[Future[R]] = deque(pool.submit(work, item) for item in islice(items, ahead))
    try:
        while waiting:
            answer = waiting.popleft().result()
            waiting.extend(pool.submit(work, item) for item in islice(items, 1))
            yield answer
    finally:
        for future in waiting:
            future.cancel()


def _cores() -> int:
    return os.cpu_count() or 1


def _pool(cores: int, items: int) -> Executor:
    if items < WORTH_PROCESSES:
        return ThreadPoolExecutor(cores)
    context = multiprocessing.get_context("spawn")  # a fork would copy the locks of other threads as they are
    return ProcessPoolExecutor(cores, mp_context=context, initializer=gc.freeze)  # what was imported is no garbage
