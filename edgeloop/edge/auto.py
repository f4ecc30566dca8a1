"""`auto`: the runtimes of this machine take turns on the very file, until it is sure which one is the fastest."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeloop.edge.machine import instructions, machine
from edgeloop.edge.runtime import Runtime, RuntimeName, Settings, load, noise
from edgeloop.errors import BadInput, EdgeloopError
from edgeloop.files import sha256
from edgeloop.record import Record

WARM_UP = 5
BLOCK = 20  # rounds between two looks at whether it is sure
MAXIMUM_ROUNDS = 400
MAXIMUM_SECONDS = 20.0  # a start-up that measures is paid once a file and machine
SURE = 3.5  # standard deviations of a sign test; looking up to twenty times at 3.5 errs in less than one of a hundred

Times = npt.NDArray[np.float64]


class RuntimeChoice(Record):
    """What `auto` measured on one machine for one file, and what it chose.

    Attributes:
        median_ms: per runtime, one batch.
        rounds: how many times each ran.
        sure: whether the sign test tells the chosen one from every other; False where they are as good as equal.
        failed: one sentence for each installed runtime that does not run this file here.
    """

    machine: str
    artifact_sha256: str
    threads: int
    batch: int
    versions: dict[str, str]
    median_ms: dict[str, float]
    rounds: int
    sure: bool
    failed: dict[RuntimeName, str]
    runtime: RuntimeName


def open_fastest(path: Path, candidates: Sequence[RuntimeName], settings: Settings) -> Runtime:
    """The fastest of the candidates on this file: as remembered, else measured and remembered.

    Raises:
        BadInput: none of them runs the file.
    """
    versions = {name: _version(name) for name in candidates}
    digest = sha256(path)
    shared = (machine(), instructions(), os.cpu_count(), digest, settings.threads, settings.batch, versions)
    key = hashlib.sha256(repr(shared).encode()).hexdigest()[:16]
    remembered = settings.cache / f"runtime-{key}.json"
    with suppress(BadInput):  # nothing remembered yet, or by another release, or it no longer loads: measure again
        return load(path, RuntimeChoice.load(remembered).runtime, settings)
    loaded, failed = _load_all(path, candidates, settings)
    taken = measure(loaded, settings.batch)
    best = rank(taken)[0]
    RuntimeChoice(
        machine=machine(),
        artifact_sha256=digest,
        threads=settings.threads,
        batch=settings.batch,
        versions=versions,
        median_ms={name: float(np.median(times)) for name, times in taken.items()},
        rounds=len(taken[best]),
        sure=is_sure(taken),
        failed=failed,
        runtime=best,
    ).save(remembered)
    for name, runtime in loaded.items():
        if name != best:
            runtime.close()
    return loaded[best]


def measure(
    runtimes: Mapping[RuntimeName, Runtime], batch: int = 1, rounds: int = MAXIMUM_ROUNDS, sure: float = SURE
) -> dict[RuntimeName, Times]:
    """Milliseconds of one batch of noise, the runtimes taking turns so that a busy machine slows all of them alike.

    Each round begins with another runtime: who comes first finds the caches as the last one left them. It stops when it
    is sure, after `rounds`, or after twenty seconds.

    Args:
        runtimes: by name.
        batch: images in a call where a file leaves that open.
        rounds: at most so many.
        sure: how many standard deviations of the sign test are enough; infinity measures all rounds.
    """
    batches = {name: noise(runtime, batch) for name, runtime in runtimes.items()}
    taken: dict[RuntimeName, list[float]] = {name: [] for name in runtimes}
    order = list(runtimes)
    deadline = time.monotonic() + MAXIMUM_SECONDS
    for number in range(-WARM_UP, rounds):
        for name in order[number % len(order) :] + order[: number % len(order)]:
            begin = time.perf_counter_ns()
            runtimes[name](batches[name])
            if number >= 0:
                taken[name].append((time.perf_counter_ns() - begin) / 1e6)
        looks = number >= 0 and (number + 1) % BLOCK == 0
        if looks and (time.monotonic() > deadline or is_sure(_arrays(taken), sure)):
            break
    return _arrays(taken)


def rank(taken: Mapping[RuntimeName, Times]) -> list[RuntimeName]:
    """The runtimes, the smallest median first."""
    return sorted(taken, key=lambda name: float(np.median(taken[name])))


def is_sure(taken: Mapping[RuntimeName, Times], sure: float = SURE) -> bool:
    """Whether the smallest median is no accident: a sign test over the rounds against every other runtime.

    Of n rounds half would go either way by chance, with a standard deviation of sqrt(n) / 2. Signs, not means: one
    interrupted round may take ten times as long and says nothing.
    """
    best, *others = rank(taken)
    wins = [np.count_nonzero(taken[best] < taken[other]) for other in others]
    rounds = len(taken[best])
    return all(won - rounds / 2 > sure * np.sqrt(rounds) / 2 for won in wins)


def _arrays(taken: Mapping[RuntimeName, Sequence[float]]) -> dict[RuntimeName, Times]:
    return {name: np.asarray(times) for name, times in taken.items()}


def _load_all(
    path: Path, candidates: Sequence[RuntimeName], settings: Settings
) -> tuple[dict[RuntimeName, Runtime], dict[RuntimeName, str]]:
    """Those that load and run once, and why the others do not."""
    came = {name: _load_or_say(path, name, settings) for name in candidates}
    loaded = {name: runtime for name, runtime in came.items() if not isinstance(runtime, str)}
    failed = {name: reason for name, reason in came.items() if isinstance(reason, str)}
    if not loaded:
        raise BadInput(next(iter(failed.values())))
    return loaded, failed


def _load_or_say(path: Path, name: RuntimeName, settings: Settings) -> Runtime | str:
    try:
        return load(path, name, settings)
    except EdgeloopError as error:
        return str(error)


def _version(name: RuntimeName) -> str:
    """A module's own word: NVIDIA's builds for Jetson come under other names of distributions.

    TensorRT's bindings may be there without its libraries; why they do not load is said when they are loaded.
    """
    try:
        return str(import_module(name.partition("-")[0]).__version__)
    except ImportError:
        return "not importable"
