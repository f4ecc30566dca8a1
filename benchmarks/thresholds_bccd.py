"""Tuned thresholds against one global threshold, on frames that nothing was tuned on.

    python -m benchmarks.thresholds_bccd --bccd DIR --start CHECKPOINT.pt [--work DIR]

The detector of `int8_recipes` on BCCD: trained on the training side, thresholds tuned on the validation side, judged on
the test side, which is looked at once. FP32, and INT8 as the card makes it. Costs were settled before: a missed white
cell or platelet, the rare ones, costs 5 false alarms, a missed red cell 1. A row for each objective; the reduction of
the cost against a global 0.5 has the 95 % interval of a bootstrap over frames. Writes thresholds_bccd.json and a table.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from benchmarks.int8_sets import MeasuredSet, prepare
from benchmarks.writing import RESULTS, keep, markdown
from edgeloop.artifact import Artifact
from edgeloop.audit import AuditFrames
from edgeloop.card import ThresholdCard
from edgeloop.edge.machine import machine
from edgeloop.edge.runtime import open_runtime
from edgeloop.evaluation import match_audit, predict
from edgeloop.measures import ThresholdReport
from edgeloop.ranking import Labelled
from edgeloop.threshold_report import report_thresholds
from models.calibration import choose_frames, describe_frames
from models.quantize import quantize

COSTS = {"cost_false": 1.0, "cost_miss": 1.0, "classes": {name: {"cost_miss": 5.0} for name in ("WBC", "Platelets")}}
OBJECTIVES: tuple[dict[str, Any], ...] = (
    {"objective": "cost"},
    {"objective": "f-beta", "beta": 1.0},
    {"objective": "f-beta", "beta": 2.0},
    {"objective": "recall", "minimum_recall": 0.95},
    {"objective": "risk", "maximum_risk": 0.1},
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bccd", type=Path, required=True)
    parser.add_argument("--start", type=Path, required=True, help="a .pt you trust")
    parser.add_argument("--work", type=Path, default=Path("var/benchmarks/int8"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    of = prepare("bccd", asked.bccd, asked.start, asked.work)
    rows = [row for file in (of.fp32, int8_of(of)) for row in measure(of, file)]
    keep(asked.out, "thresholds_bccd", {"machine": machine(), "costs": COSTS, "rows": rows}, table(of, rows))


def int8_of(of: MeasuredSet) -> Artifact:
    images = choose_frames(describe_frames(of.train), of.card.quantize.frames, of.card.seed)
    return quantize(of.fp32, images, of.card.quantize, of.fp32.path.with_name("int8-thresholds.onnx"))


def measure(of: MeasuredSet, artifact: Artifact) -> list[dict[str, Any]]:
    """A row for each objective."""
    tuning, judged = (labelled(artifact, frames) for frames in (of.choosing, of.scoring))
    rows = []
    for asked in OBJECTIVES:
        card = ThresholdCard.from_document({**COSTS, **asked}, "the benchmark")
        rows.append(row_of(artifact, asked, report_thresholds(artifact, tuning, card, judged)))
    return rows


def labelled(artifact: Artifact, frames: AuditFrames) -> Labelled:
    runtime = open_runtime(artifact.path)
    try:
        seen = predict(artifact, frames, runtime)
    finally:
        runtime.close()
    return Labelled(match_audit(artifact, frames, seen), frames.groups, [frames.digest])


def row_of(artifact: Artifact, asked: dict[str, Any], report: ThresholdReport) -> dict[str, Any]:
    held_out = {point.name: point.model_dump() for point in report.comparison if point.on == "held-out"}
    return {
        "precision": artifact.precision,
        "asked": asked,
        "thresholds": {one.name: round(one.threshold, 3) for one in report.classes},
        "labels": {one.name: one.truths for one in report.classes},
        "rarest": report.rarest,
        "saving": report.saving.model_dump() if report.saving else None,
        "remarks": report.remarks,
        "held_out": held_out,
    }


def table(of: MeasuredSet, rows: list[dict[str, Any]]) -> str:
    head = (
        "file", "thresholds", *of.fp32.names, "recall", *(f"of {name}" for name in of.fp32.names), "precision",
        "false / 1,000 frames", "cost / 1,000 frames", "saved against a global 0.5",
    )  # fmt: skip
    lines = []
    for precision in dict.fromkeys(row["precision"] for row in rows):
        mine = [row for row in rows if row["precision"] == precision]
        for name in ("global 0.25", "global 0.5"):
            value = name.split()[1]
            lines.append(_line(precision, name, [value] * len(of.fp32.names), mine[0]["held_out"][name], ""))
        for row in mine:
            said = " ".join(str(value) for value in row["asked"].values())
            saved = row["saving"]
            interval = f"{saved['value']:.0%} ({saved['low']:.0%} to {saved['high']:.0%})".replace("%", " %")
            lines.append(_line(precision, said, list(row["thresholds"].values()), row["held_out"]["tuned"], interval))
    costs = "cost of a false alarm 1, of a missed red cell 1, of a missed white cell or platelet 5"
    run = (
        f"BCCD, {Path(of.card.architecture).stem} at {of.card.imgsz} px, {machine()}. "
        f"Tuned on {len(of.choosing.frames)} frames, judged on {len(of.scoring.frames)} others; {costs}."
    )
    return f"{run}\n\n{markdown(head, lines)}"


def _line(precision: str, name: str, thresholds: list[Any], point: dict[str, Any], saved: str) -> list[str]:
    recalls = [f"{value:.1%}".replace("%", " %") for value in (point["recall"], *point["recalls"].values())]
    return [
        precision, name, *map(str, thresholds), *recalls, f"{point['precision']:.1%}".replace("%", " %"),
        f"{point['false_positives_per_1000_frames']:,.0f}", f"{point['cost_per_1000_frames']:,.0f}", saved,
    ]  # fmt: skip


if __name__ == "__main__":
    main()
