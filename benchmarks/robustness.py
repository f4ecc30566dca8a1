"""How much accuracy an artifact keeps under ten corruptions at five severities, on the user's own set.

    python -m benchmarks.robustness MODEL.onnx DIR [MODEL.onnx DIR …] --frames 200

Each model is scored on one side of its set as `edgeloop evaluate` chooses it. Writes robustness.json and a table in
Markdown; detections are kept in --work, so that a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import time
from itertools import chain
from pathlib import Path
from typing import Any

from benchmarks.writing import RESULTS, keep, markdown
from edgeloop.card import EvaluationCard
from edgeloop.edge.bench import profile_for
from edgeloop.edge.machine import machine
from edgeloop.evaluation import open_for
from edgeloop.evaluation_tables import stated
from edgeloop.foreign import open_detector
from edgeloop.measures import Interval, RobustnessReport
from edgeloop.own_evaluation import open_side, suite_settings
from edgeloop.robustness import Trial, robustness

RESAMPLES = 500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pairs", nargs="+", type=Path, metavar="MODEL DIR")
    parser.add_argument("--frames", type=int)
    parser.add_argument("--severities")
    parser.add_argument("--runtime", default="auto")
    parser.add_argument("--work", type=Path, default=Path("var/benchmarks/robustness"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    if len(asked.pairs) % 2:
        parser.error("expected pairs of a model and a labelled set")
    pairs = zip(asked.pairs[::2], asked.pairs[1::2], strict=True)
    reports = [run(model, folder, asked) for model, folder in pairs]
    document = {"machine": machine(), "reports": reports}
    keep(asked.out, "robustness", document, table(reports))


def run(model: Path, folder: Path, asked: argparse.Namespace) -> dict[str, Any]:
    audit, side = open_side(folder, "auto", None)
    artifact = open_detector(model, audit.names, reduced=True)
    runtime = open_for(artifact, profile_for(None, asked.runtime, 1, None))
    begin = time.monotonic()
    report = robustness(
        Trial(artifact, runtime, audit, asked.work),
        suite_settings((), asked.severities, asked.frames),
        EvaluationCard(resamples=RESAMPLES),
    )
    seconds = round(time.monotonic() - begin, 1)
    about = {"model": model.name, "imgsz": artifact.imgsz, "side": side, "seconds": seconds}
    return {**about, **json.loads(report.to_json())}


def table(reports: list[dict[str, Any]]) -> str:
    """A row for each corruption, a group of columns for each set: mean mAP50-95, share kept with its interval."""
    found = [RobustnessReport.from_document(_bare(one), one["audit"]) for one in reports]
    rows = {
        "corruption, severities 1 to 5": [(f"{one.audit}, {one.frames} frames: mAP50-95", "kept") for one in found],
        "clean": [(_shown(one.clean), "1") for one in found],
        **{
            scores[0].corruption: [(_shown(score.mean), _shown(score.kept, 2)) for score in scores]
            for scores in zip(*(one.corruptions for one in found), strict=True)
        },
        "mPC and rPC": [(_shown(one.mpc), _shown(one.rpc, 2)) for one in found],
    }
    head, *cells = [[name, *chain.from_iterable(pairs)] for name, pairs in rows.items()]
    return markdown(head, cells)


def _bare(report: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in report.items() if key not in ("model", "imgsz", "side", "seconds")}


def _shown(interval: Interval | None, digits: int = 3) -> str:
    return stated(interval.value if interval else None, interval, digits)


if __name__ == "__main__":
    main()
