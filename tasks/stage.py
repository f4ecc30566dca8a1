"""The house decorator: `@stage` turns the work of one file in tasks/ into a Prefect task with our cache policy.

Prefect's default key is inputs, the task's own source and the run's id. It is wrong here twice over: a killed run gets
a new id, so nothing finished would be reused, and a task's own source says nothing about the code that it calls. Ours:

    name of the stage + inputs as JSON + every file of the code (edgeloop/, models/, tasks/, uv.lock)

A finished stage with the same key is reused, in this run or the next. What it returned must still be there: when an
absolute path in the returned record is gone, the stage runs again. A path among the inputs counts by its name, because
what stages hand each other is immutable; an input whose content people change is named in `reads`. A stage whose
answer depends on anything else (a registry, a queue, a log that grows) says `cache=False`.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar, cast, overload

from prefect import Task
from prefect.cache_policies import CachePolicy
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from prefect.results import ResultStore
from prefect.types import DateTime
from pydantic import BaseModel
from pydantic_core import to_json
from rich.console import Console

from edgeloop.config import Config

P = ParamSpec("P")
R = TypeVar("R")

Event = Literal["start", "end", "reused", "failed"]

ROOT = Path(__file__).resolve().parents[1]
CODE = ("edgeloop", "models", "tasks", "uv.lock")
TRACE = "EDGELOOP_STAGE_LOG"  # names a file that gets one JSON line for each start, end, reuse and failure of a stage


@overload
def stage(function: Callable[P, R]) -> Task[P, R]: ...
@overload
def stage(
    *, cache: bool = True, retries: int = 0, reads: tuple[str, ...] = ()
) -> Callable[[Callable[P, R]], Task[P, R]]: ...
def stage(
    function: Callable[P, R] | None = None, *, cache: bool = True, retries: int = 0, reads: tuple[str, ...] = ()
) -> Task[P, R] | Callable[[Callable[P, R]], Task[P, R]]:
    """Make a stage of a function that takes and returns records, paths, configurations and plain values.

    Args:
        function: the work; it stays callable without Prefect as `.fn`.
        cache: whether a finished stage with the same key is reused.
        retries: how often a failed stage is tried again, after 1, 2, 4, … seconds.
        reads: arguments whose files count by size and time of change, not by name alone: every path in them.
    """

    def decorate(work: Callable[P, R]) -> Task[P, R]:
        return Task(
            work,
            name=work.__name__,
            cache_policy=StageCache(cache=cache, reads=reads),
            persist_result=True,
            cache_result_in_memory=False,
            retries=retries,
            retry_delay_seconds=[2.0**attempt for attempt in range(retries)],
            on_completion=[_completed],
            on_failure=[_failed],
        )

    return decorate if function is None else decorate(function)


@dataclass
class StageCache(CachePolicy):
    """The cache policy of every stage; see the head of this file. It also says what begins and what is reused."""

    cache: bool = True
    reads: tuple[str, ...] = ()

    def compute_key(
        self, task_ctx: TaskRunContext, inputs: dict[str, Any], flow_parameters: dict[str, Any], **kwargs: Any
    ) -> str | None:
        name = task_ctx.task.name
        key = stage_key(name, inputs, self.reads) if self.cache else None
        if key is not None and _is_whole(task_ctx.result_store, key):
            _announce(name, "reused")
        else:
            _announce(name, "start")
            _started[str(task_ctx.task_run.id)] = time.monotonic()
        return key


def stage_key(name: str, inputs: Mapping[str, Any], reads: tuple[str, ...] = ()) -> str:
    """The name and 32 hexadecimal digits that stand for one piece of work.

    Raises:
        pydantic_core.PydanticSerializationError: an input has no JSON form.
    """
    stamps = {argument: [_stamp(path) for path in _paths(inputs[argument])] for argument in reads}
    document = to_json({"inputs": dict(inputs), "stamps": stamps, "code": code_fingerprint()})
    return f"{name}-{hashlib.sha256(document).hexdigest()[:32]}"


def results(config: Config) -> Path:
    """Where finished stages of a workspace are kept, whoever ran them."""
    return config.workspace.var / "results"


@lru_cache(maxsize=1)
def code_fingerprint() -> str:
    """SHA-256 over every file of the code folders; read once a process."""
    digest = hashlib.sha256()
    for path in _files(ROOT / part for part in CODE):
        digest.update(f"{path.relative_to(ROOT)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _files(tops: Iterator[Path]) -> list[Path]:
    found = (path for top in tops for path in ([top] if top.is_file() else top.rglob("*")))
    return sorted(path for path in found if path.is_file() and "__pycache__" not in path.parts)


def _stamp(path: Path) -> list[tuple[str, int, int]]:
    """Name, size and time of change of a file, or of every file below a folder."""
    return [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in _files(iter([path]))]


def _paths(value: object) -> Iterator[Path]:
    """Every absolute path in a record, a dataclass or a collection, however deep."""
    if isinstance(value, Path):
        yield from [value] if value.is_absolute() else []
    elif isinstance(value, BaseModel):
        yield from _paths(list(dict(value).values()))
    elif is_dataclass(value):
        yield from _paths([getattr(value, field.name) for field in fields(value)])
    elif isinstance(value, Mapping):
        yield from _paths(list(value.values()))
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from _paths(item)


def _is_whole(store: ResultStore, key: str) -> bool:
    """Whether a result is stored whose files are all there; one whose files are gone is expired on the spot."""
    if not store.exists(key):
        return False
    if all(path.exists() for path in _paths(store.read(key).result)):
        return True
    store.write(None, key=key, expiration=cast("DateTime", datetime.now(timezone.utc) - timedelta(days=1)))
    return False


_started: dict[str, float] = {}  # task run id -> seconds, for the duration in the log line


def _completed(task: Task[..., Any], run: TaskRun, state: State[Any]) -> None:
    if state.name != "Cached":
        _announce(task.name, "end", _started.pop(str(run.id)))


def _failed(task: Task[..., Any], run: TaskRun, state: State[Any]) -> None:
    _announce(task.name, "failed", _started.pop(str(run.id)))


def _announce(name: str, event: Event, since: float | None = None) -> None:
    """One line for people on stderr, and one for machines when EDGELOOP_STAGE_LOG names a file."""
    took = "" if since is None else f" {time.monotonic() - since:.1f} s"
    words = {"start": "", "end": took, "reused": " reused", "failed": f" failed after{took}"}
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"stage {name} …{words[event]}", markup=False)
    if trace := os.environ.get(TRACE):
        line = json.dumps({"stage": name, "event": event, "pid": os.getpid(), "time": time.time()})
        with Path(trace).open("a", encoding="utf-8") as handle:
            handle.write(line + "\n")
