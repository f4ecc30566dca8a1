"""Tuned thresholds against one global threshold on BCCD, where white cells and platelets are rare.

    python -m benchmarks.thresholds_bccd --bccd DIR --start CHECKPOINT.pt [--work DIR]

Thresholds are tuned on the validation side and judged on the test side, which had no part in training or tuning. FP32,
and INT8 as the card makes it. The costs of the card were settled before anything was measured: a missed white cell or
platelet costs 5 false alarms, a missed red cell 1. A row for each objective; what is saved has the 95 % interval of a
paired bootstrap over frames. What was trained before, in --work, is used again.

Three detectors, trained for the card's 12 epochs, which serve `int8_recipes`, for 30 and for 60: how much thresholds
can save depends on how well the rare class is learned. What finds it with high scores already leaves little, and what
does not find it at all leaves nothing.

Then a miss of a rare class costs as much as 1 to 50 false alarms, and a miss of any class 5, as where a card says
nothing: a global 0.5 suits nearly equal costs, and how much is saved against it follows from how unequal they are. At
the last of these also with the sides exchanged, and for a detector of another seed: docs/adr/0003.

Then production is simulated. Of the judged side's labels, and of the detections that found them, only a share is kept,
and tuning that knows what unlabelled detections say of it (`edgeloop.prior_shift`) is compared with tuning that does
not, and with tuning on production's own labels. This for each of those detectors, either side tuned on.

Writes thresholds_bccd.json and a table.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.int8_sets import WORK, MeasuredSet, prepare
from benchmarks.writing import RESULTS, keep, markdown
from edgeloop.artifact import Artifact
from edgeloop.audit import AuditFrames
from edgeloop.bootstrap import average_precision
from edgeloop.card import ClassTarget, ThresholdCard
from edgeloop.edge.machine import machine
from edgeloop.edge.runtime import open_runtime
from edgeloop.evaluation import match_audit, predict
from edgeloop.matching import Matches
from edgeloop.measures import ThresholdReport
from edgeloop.operating_points import COMPARED, operating_point
from edgeloop.prior_shift import Production, estimate_shift
from edgeloop.ranking import Labelled
from edgeloop.threshold_report import report_thresholds
from edgeloop.thresholds import tune
from models.calibration import choose_frames, describe_frames
from models.quantize import quantize

EPOCHS = (30, 60)  # besides the card's own
OBJECTIVES: tuple[dict[str, Any], ...] = (
    {"objective": "cost"},
    {"objective": "f-beta", "beta": 1.0},
    {"objective": "f-beta", "beta": 2.0},
    {"objective": "recall", "minimum_recall": 0.95},
    {"objective": "risk", "maximum_risk": 0.1},
)
MISSES = ((1, 1), (2, 1), (5, 1), (10, 1), (20, 1), (50, 1), (5, 5))  # of a rare class, of a red cell; third the card's
KEPT = (1.0, 0.5, 0.2, 0.1)  # shares of the objects that a simulated production keeps
TRIALS = 20  # of each
SEED = 1  # of one more detector, of the first number of epochs: what docs/adr/0003 asks to be confirmed by
Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bccd", type=Path, required=True)
    parser.add_argument("--start", type=Path, required=True, help="a .pt you trust")
    parser.add_argument("--epochs", type=int, nargs="*", default=EPOCHS, help="of the other detectors")
    parser.add_argument("--work", type=Path, default=WORK)
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    others = [{"epochs": count} for count in asked.epochs]
    detectors = [prepare("bccd", asked.bccd, asked.start, asked.work, changes) for changes in (None, *others)]
    rows = [row for of in detectors for file in files_of(of) for row in measure(of, file)]
    costs = [row for of in detectors for row in by_cost(of)]
    seeded = [{"epochs": count, "seed": SEED} for count in asked.epochs[:1]]
    again = [prepare("bccd", asked.bccd, asked.start, asked.work, changes) for changes in seeded]
    plain = [row for of in (*detectors[1:], *again) for row in by_default(of)]
    shift = [row for of in (*detectors[1:], *again) for row in shifted(of)]
    document = {
        "machine": machine(),
        "card": detectors[-1].card.thresholds.model_dump(mode="json", exclude_none=True),
        "tuning_ap50": {str(of.checkpoint.epochs): ap50(of) for of in detectors},
        "rows": rows,
        "costs": costs,
        "plain": plain,
        "shift": shift,
    }
    keep(asked.out, "thresholds_bccd", document, table(detectors, document))


def files_of(of: MeasuredSet) -> tuple[Artifact, Artifact]:
    """FP32, and INT8 as the card makes it."""
    images = choose_frames(describe_frames(of.train), of.card.quantize.frames, of.card.seed)
    return of.fp32, quantize(of.fp32, images, of.card.quantize, of.fp32.path.with_name("int8-thresholds.onnx"))


def measure(of: MeasuredSet, artifact: Artifact) -> list[Row]:
    """A row for each objective."""
    tuning, judged = (labelled(artifact, frames) for frames in (of.choosing, of.scoring))
    costs = of.card.thresholds.model_dump(exclude_none=True, exclude={"objective"})
    rows = []
    for asked in OBJECTIVES:
        card = ThresholdCard.from_document({**costs, **asked}, "the benchmark")
        row = row_of(artifact, asked, report_thresholds(artifact, tuning, card, judged))
        rows.append({"epochs": of.checkpoint.epochs, **row})
    return rows


def by_cost(of: MeasuredSet) -> list[Row]:
    """What is saved on the judged side when a miss costs more or less."""
    tuning, judged = (labelled(of.fp32, frames) for frames in (of.choosing, of.scoring))
    rows = []
    for rare, red in MISSES:
        classes = {name: ClassTarget(cost_miss=rare) for name in of.card.thresholds.classes}
        card = of.card.thresholds.model_copy(update={"classes": classes, "cost_miss": red})
        saved = report_thresholds(of.fp32, tuning, card, judged).savings
        rows.append(
            {"epochs": of.checkpoint.epochs, "rare": rare, "red": red} | {k: v.model_dump() for k, v in saved.items()}
        )
    return rows


def by_default(of: MeasuredSet) -> list[Row]:
    """What is saved at the costs of a card that says nothing, either side tuned on; docs/adr/0003."""
    card, rows = ThresholdCard(objective="cost"), []
    for tuning, judged in ((of.choosing, of.scoring), (of.scoring, of.choosing)):
        report = report_thresholds(of.fp32, labelled(of.fp32, tuning), card, labelled(of.fp32, judged))
        held_out = {point.name: point.cost_per_1000_frames for point in report.comparison if point.on == "held-out"}
        about = {"epochs": of.checkpoint.epochs, "seed": of.card.seed}
        sides = {"tuned": len(tuning.frames), "judged": len(judged.frames)}
        saved = {name: saved.model_dump() for name, saved in report.savings.items()}
        rows.append({**about, **sides, "cost": held_out, **saved})
    return rows


@functools.cache
def labelled(artifact: Artifact, frames: AuditFrames) -> Labelled:
    """What the artifact finds on a side, through the device's own frame path; run once, asked for by every table."""
    runtime = open_runtime(artifact.path)
    try:
        seen = predict(artifact, frames, runtime)
    finally:
        runtime.close()
    return Labelled(match_audit(artifact, frames, seen), frames.groups, [frames.digest])


def ap50(of: MeasuredSet) -> dict[str, float]:
    """Of each class on the side that is tuned on."""
    matches = labelled(of.fp32, of.choosing).matches
    found = average_precision(matches, np.ones((1, matches.frame_count), np.int64))[0, :, 0]
    return dict(zip(of.fp32.names, found.tolist(), strict=True))


def row_of(artifact: Artifact, asked: Row, report: ThresholdReport) -> Row:
    held_out = {point.name: point.model_dump() for point in report.comparison if point.on == "held-out"}
    return {
        "precision": artifact.precision,
        "asked": asked,
        "thresholds": {one.name: round(one.threshold, 3) for one in report.classes},
        "labels": {one.name: one.truths for one in report.classes},
        "rarest": report.rarest,
        "savings": {name: one.model_dump() for name, one in report.savings.items()},
        "remarks": report.remarks,
        "held_out": held_out,
    }


def shifted(of: MeasuredSet) -> list[Row]:
    """Cost on simulated production by how thresholds were tuned, mean over the trials, either side tuned on.

    `saved` is the share of a global 0.5's cost that thresholds which know the shift save: of the means, and the lowest
    and highest of a single trial.
    """
    rows = []
    for tuned, judged in ((of.choosing, of.scoring), (of.scoring, of.choosing)):
        tuning, seen = labelled(of.fp32, tuned), labelled(of.fp32, judged)
        for kept in KEPT:
            trials = [_trial(of, tuning, replace(seen, matches=thinned(seen.matches, kept, seed)))
                      for seed in range(TRIALS)]  # fmt: skip
            costs = {name: float(np.mean([one[name] for one in trials])) for name in trials[0]}
            each = [_saved(one) for one in trials]
            about = {"epochs": of.checkpoint.epochs, "seed": of.card.seed, "tuned": len(tuned.frames), "kept": kept}
            saved = {"value": _saved(costs), "low": min(each), "high": max(each)}
            rows.append({**about, "costs": costs, "saved": saved})
    return rows


def _saved(costs: dict[str, float]) -> float:
    return 1 - costs["tuned knowing the shift"] / costs["global 0.5"]


def _trial(of: MeasuredSet, tuning: Labelled, production: Labelled) -> dict[str, float]:
    card, names, matches = of.card.thresholds, of.fp32.names, production.matches
    seen = Production.of(names, matches.frame_count, matches.classes, matches.scores)
    sides = {
        "tuned as labelled": tuning,
        "tuned knowing the shift": replace(tuning, shift=estimate_shift(tuning, seen, resamples=0)),
        "tuned on production's labels": production,
    }
    limits: dict[str, Sequence[float]] = {"global 0.5": [0.5] * len(names)}
    for name, frames in sides.items():
        tuned = tune(frames, card, names)
        limits[name] = [0.25] * len(names) if tuned is None else tuned.thresholds.tolist()
    points = {name: operating_point(name, "held-out", production, one, (names, card)) for name, one in limits.items()}
    return {name: point.cost_per_1000_frames or 0.0 for name, point in points.items()}


def thinned(matches: Matches, kept: float, seed: int) -> Matches:
    """Each labelled box stays with this chance, and what found it with it; what found nothing stays."""
    random = np.random.default_rng(seed)
    hits = matches.hits[:, 0]
    drawn = random.random(len(hits)) < kept
    never = matches.truths - _counts(matches, hits)
    truths = _counts(matches, hits & drawn) + random.binomial(never, kept)
    return replace(matches.select(~hits | drawn), truths=truths)


def _counts(matches: Matches, which: np.ndarray) -> np.ndarray:
    """Detections of each frame and class, (F, C)."""
    counts = np.zeros_like(matches.truths)
    np.add.at(counts, (matches.frames[which], matches.classes[which]), 1)
    return counts


def table(detectors: Sequence[MeasuredSet], document: Row) -> str:
    of = detectors[-1]
    head = (
        "epochs", "file", "thresholds", *of.fp32.names, *(f"recall of {name}" for name in of.fp32.names), "precision",
        "false / 1,000 frames", "missed / 1,000 frames", "cost / 1,000 frames", "saved against a global 0.5",
    )  # fmt: skip
    lines = []
    for key in dict.fromkeys((row["epochs"], row["precision"]) for row in document["rows"]):
        mine = [row for row in document["rows"] if (row["epochs"], row["precision"]) == key]
        for value in COMPARED:
            point = mine[0]["held_out"][f"global {value}"]
            lines.append(_line((*key, f"global {value}"), [value] * len(of.fp32.names), point, ""))
        for row in mine:
            said = " ".join(str(value) for value in row["asked"].values())
            saved = _share(row["savings"]["global 0.5"])
            lines.append(_line((*key, said), list(row["thresholds"].values()), row["held_out"]["tuned"], saved))
    precisions = "; ".join(
        f"{epochs} epochs: " + ", ".join(f"{name} {value:.2f}" for name, value in found.items())
        for epochs, found in document["tuning_ap50"].items()
    )
    run = (
        f"`python -m benchmarks.thresholds_bccd --bccd DIR --start CHECKPOINT.pt`; {Path(of.card.architecture).stem} "
        f"at {of.card.imgsz} px, {document['machine']}. Tuned on {len(of.choosing.frames)} frames, judged on "
        f"{len(of.scoring.frames)} others; cost of a false alarm 1, of a missed red cell 1, of a missed white cell or "
        f"platelet 5. AP50 on the frames that were tuned on: {precisions}."
    )
    second = (
        f"Production that shows fewer objects: cost / 1,000 frames at the card's costs, mean of {TRIALS} draws, FP32. "
        f"Of the judged labels and of what found them a share is kept; false positives stay."
    )
    compared = [f"global {value}" for value in COMPARED]
    asked = [
        [one["epochs"], one["rare"], one["red"], *(_share(one[name]) for name in compared)] for one in document["costs"]
    ]
    dear = "Share of the cost that is saved, by what misses cost in false alarms; FP32."
    saving = markdown(
        ["epochs", "white cell, platelet", "red cell", *(f"against a {name}" for name in compared)], asked
    )
    shown, plain = _shifted(document["shift"]), _plain(document["plain"])
    return f"{run}\n\n{markdown(head, lines)}\n{dear}\n\n{saving}\n{plain}\n{second}\n\n{shown}"


def _plain(rows: Sequence[Row]) -> str:
    """The table at the costs of a card that says nothing."""
    stated = [f"global {value}" for value in COMPARED]
    costs = [*stated, "tuned"]
    head = ["epochs", "seed", "tuned on", "judged on", *(f"cost / 1,000 frames, {name}" for name in costs)]
    lines = [
        [row["epochs"], row["seed"], f"{row['tuned']} frames", f"{row['judged']} frames"]
        + [f"{row['cost'][name]:,.0f}" for name in costs]
        + [_share(row[name]) for name in stated]
        for row in rows
    ]
    about = "At the costs of a card that says nothing (a false alarm 1, every miss 5), either side tuned on; FP32."
    return f"{about}\n\n{markdown([*head, *(f'saved against a {name}' for name in stated)], lines)}"


def _shifted(rows: Sequence[Row]) -> str:
    """The table of simulated production."""
    costs = list(rows[0]["costs"])
    head = ["epochs", "seed", "tuned on", "objects kept", *costs, "saved, knowing the shift (lowest to highest draw)"]
    lines = [
        [row["epochs"], row["seed"], f"{row['tuned']} frames", f"{row['kept']:g}"]
        + [f"{row['costs'][name]:,.0f}" for name in costs]
        + [_share(row["saved"])]
        for row in rows
    ]
    return markdown(head, lines)


def _share(saved: Row) -> str:
    return f"{saved['value']:.0%} ({saved['low']:.0%} to {saved['high']:.0%})".replace("%", " %")


def _line(about: Sequence[object], thresholds: list[float], point: Row, saved: str) -> list[object]:
    recalls = [f"{value:.1%}".replace("%", " %") for value in point["recalls"].values()]
    rates = [f"{point[f'{key}_per_1000_frames']:,.0f}" for key in ("false_positives", "missed", "cost")]
    precision = f"{point['precision']:.1%}".replace("%", " %")
    return [*about, *(f"{one:.2f}" for one in thresholds), *recalls, precision, *rates, saved]


if __name__ == "__main__":
    main()
