"""How often the drift decision alarms without a cause, and how often with one, on synthetic streams.

    python -m benchmarks.drift_alarms [--streams N]

Streams have three cameras that differ, and neighbours that resemble each other by `memory` (the correlation of the
light of consecutive frames of a camera). Each stream has a reference and, a day later, a log of three windows. All
cores work, one kind of stream each. Writes drift_alarms.json and a table in Markdown.
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import os
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.writing import RESULTS, keep, markdown
from edgeloop import drift_plan
from edgeloop.config import DriftSection
from edgeloop.drift import conclude, judge
from edgeloop.drift_plan import Plan, plan
from edgeloop.progress import bar
from tests.logs import START, synthetic_log

SHIFTS: dict[str, dict[str, float]] = {
    "none": {},
    "light -0.5 sd, blur 0.5 sd": {"light": 0.5, "blur": 0.5},
    "light -1 sd, blur 1 sd": {"light": 1.0, "blur": 1.0},
    "light -2 sd, blur 2 sd": {"light": 2.0, "blur": 2.0},
    "scores -0.05": {"score": 0.05},
    "scores -0.1, 0.5 boxes more a frame": {"score": 0.1, "extra": 0.5},
}
MEMORIES = (0.0, 0.5, 0.9, 0.97)
REFERENCES = (400, 1200)
FIXED = 0.1  # Evidently's default limit for normed Wasserstein


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", type=int, default=20, help="of each kind; a stream takes some five seconds")
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    cases = [(memory, frames, "none") for memory in MEMORIES for frames in REFERENCES]
    cases += [(memory, 1200, name) for memory in (0.5, 0.9) for name in SHIFTS if name != "none"]
    work = functools.partial(measure, streams=asked.streams, settings=DriftSection())
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context, initializer=raise_on_nonsense) as pool:
        rows = [*bar(pool.map(work, *zip(*cases, strict=True)), "drift alarms", len(cases))]
    document = {"streams": asked.streams, "rows": rows}
    keep(asked.out, "drift_alarms", document, table(document))


def raise_on_nonsense() -> None:
    np.seterr(all="raise", under="ignore")


def measure(memory: float, reference: int, name: str, streams: int, settings: DriftSection) -> dict[str, object]:
    """Alarm rates of one kind of stream under three kinds of limits; without blocks only where nothing shifts."""
    counts: dict[str, list[int]] = {kind: [0, 0, 0] for kind in ("blocks", "independent rows", "fixed 0.1")}
    columns = windows = 0
    for seed in range(streams):
        before = synthetic_log(reference, 2 * seed, memory)
        now = synthetic_log(600, 2 * seed + 1, memory, start=START + timedelta(days=1), **SHIFTS[name])  # type: ignore[arg-type]
        planned = plan(before, now, settings)
        independent = _without_blocks(before, now, settings) if name == "none" else planned
        columns += sum(len(comparison.limits) for comparison in planned.comparisons)
        windows += len(planned.comparisons)
        fixed = _with_limits(planned, {key: FIXED for c in planned.comparisons for key in c.limits})
        for kind, variant in zip(counts, (planned, independent, fixed), strict=True):
            counts[kind] = [a + b for a, b in zip(counts[kind], _alarms(variant, settings), strict=True)]
    if name != "none":
        del counts["independent rows"]
    rates = {
        kind: {"column": found[0] / columns, "window": found[1] / windows, "alarm": found[2] / streams}
        for kind, found in counts.items()
    }
    return {"memory": memory, "reference": reference, "shift": name, "streams": streams, "limits": rates}


def _without_blocks(before: object, now: object, settings: DriftSection) -> Plan:
    """The plan with a bootstrap that takes rows for independent."""
    kept = drift_plan.block_length  # type: ignore[attr-defined]
    drift_plan.block_length = lambda series: 1  # type: ignore[attr-defined]
    try:
        return plan(before, now, settings)
    finally:
        drift_plan.block_length = kept  # type: ignore[attr-defined]


def _with_limits(planned: Plan, limits: Mapping[str, float]) -> Plan:
    changed = tuple(replace(c, limits={key: limits[key] for key in c.limits}) for c in planned.comparisons)
    return replace(planned, comparisons=changed)


def _alarms(planned: Plan, settings: DriftSection) -> list[int]:
    """Drifted columns, drifted windows, and whether the log alarms."""
    judged = [judge(comparison, comparison.measure(), settings) for comparison in planned.comparisons]
    columns = sum(column.drifted for window in judged for column in window.columns)
    verdict = conclude(planned, judged, settings).verdict
    return [columns, sum(window.drifted for window in judged), int(verdict == "drift")]


def table(document: dict[str, Any]) -> str:
    """Rates in percent: of columns and windows that drift, and of logs of three windows that alarm."""
    rows, streams = document["rows"], document["streams"]
    asked = f"{100 * DriftSection().false_alarm_rate:g} %"
    about = (
        f"`python -m benchmarks.drift_alarms --streams {streams}`: synthetic streams, {streams} of each kind. Columns "
        f"of a window that exceed their limit (asked where nothing shifts: {asked}), and logs of three windows that "
        f"alarm."
    )
    kinds = list(rows[0]["limits"])
    head = ["shift", "memory", "reference", *(f"{kind}: columns, alarms" for kind in kinds)]
    return f"{about}\n\n{markdown(head, (_cells(row, kinds, streams) for row in rows))}"


def _cells(row: dict[str, Any], kinds: list[str], streams: int) -> list[str]:
    rates = [row["limits"].get(kind) for kind in kinds]
    told = [f"{100 * r['column']:.2f} %, {round(streams * r['alarm'])} of {streams}" if r else "" for r in rates]
    return [row["shift"], str(row["memory"]), str(row["reference"]), *told]


if __name__ == "__main__":
    main()
