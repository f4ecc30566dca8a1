"""How much accuracy a detector keeps under ten corruptions at five severities, on three sets.

    python -m benchmarks.robustness --neu-det DIR --bccd DIR --start CHECKPOINT.pt

Trains each set's card, as `benchmarks.int8_recipes` does, and scores it in FP32 on the side that had no part in
anything. Writes robustness.json and a table in Markdown. What was trained before, in --work, is used again, and so are
the detections of every condition, so that a run that was stopped goes on. The sample needs no data: --sets sample.
"""

from __future__ import annotations

import argparse
import json
from itertools import chain
from pathlib import Path
from typing import Any

from benchmarks.int8_sets import MeasuredSet, ask_for_sets, command, sets_of
from benchmarks.writing import RESULTS, keep, markdown
from edgeloop.card import DeviceProfile, EvaluationCard, RobustnessSettings
from edgeloop.edge.machine import machine
from edgeloop.edge.runtime import CPU_RUNTIMES, RuntimeName
from edgeloop.evaluation_tables import stated
from edgeloop.measures import Interval, RobustnessReport
from edgeloop.own_evaluation import suite_settings
from edgeloop.robustness import run_suite

RESAMPLES = 500
Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask_for_sets(parser)
    parser.add_argument("--frames", type=int, default=360, help="at most, of each set")
    parser.add_argument("--severities", help="such as 1,3,5; all by default")
    parser.add_argument("--runtime", choices=CPU_RUNTIMES, default="openvino")
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    settings = suite_settings((), asked.severities, asked.frames)
    measured = [measure(of, asked.runtime, asked.work / "robustness", settings) for of in sets_of(parser, asked)]
    document = {"machine": machine(), "runtime": asked.runtime, "sets": measured}
    keep(asked.out, "robustness", document, table(document))


def measure(of: MeasuredSet, name: RuntimeName, kept: Path, settings: RobustnessSettings) -> Row:
    """One set: what was trained, and the report."""
    profile = DeviceProfile(name="here", runtimes=(name,), threads=1)
    report = run_suite(of.fp32, of.scoring, profile, kept, EvaluationCard(resamples=RESAMPLES, robustness=settings))
    about = {"set": of.name, "card": of.card.name, "imgsz": of.card.imgsz, "epochs": of.checkpoint.epochs}
    return {**about, "report": json.loads(report.to_json())}


def table(document: Row) -> str:
    """A row for each corruption, a group of columns for each set: mean mAP50-95, share kept with its interval."""
    sets = document["sets"]
    trained = "; ".join(f"{one['card']} at {one['imgsz']} px, {one['epochs']} epochs" for one in sets)
    about = (
        f"`{command('robustness', (one['set'] for one in sets))}`; {document['machine']}, {document['runtime']}, FP32. "
        f"{trained}; scored on frames that had no part in anything. Mean over the severities, and its share of the "
        f"clean value, with 95 % intervals."
    )
    found = [RobustnessReport.from_document(one["report"], one["set"]) for one in sets]
    heads = [
        (f"{one['set']}, {report.frames} frames: mAP50-95", "kept") for one, report in zip(sets, found, strict=True)
    ]
    rows = {
        "corruption": heads,
        "clean": [(_shown(one.clean), "1") for one in found],
        **{
            scores[0].corruption: [(_shown(score.mean), _shown(score.kept, 2)) for score in scores]
            for scores in zip(*(one.corruptions for one in found), strict=True)
        },
        "mPC and rPC": [(_shown(one.mpc), _shown(one.rpc, 2)) for one in found],
    }
    head, *cells = [[name, *chain.from_iterable(pairs)] for name, pairs in rows.items()]
    return f"{about}\n\n{markdown(head, cells)}"


def _shown(interval: Interval | None, digits: int = 3) -> str:
    return stated(interval.value if interval else None, interval, digits)


if __name__ == "__main__":
    main()
