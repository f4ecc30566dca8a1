"""What tuned thresholds save on BCCD, where white cells and platelets are rare: cost, recall, false positives.

    python -m benchmarks.thresholds_bccd --bccd DIR --start CHECKPOINT.pt

Trains models/cards/bccd.yaml as benchmarks.int8_recipes does (what that left in --work is used again), tunes on the
validation side with the card's costs, which were set before anything was measured, and judges on the third side, which
had no part in training or tuning. The other objectives are told beside it. Then production is simulated: of the right
detections of the third side and their labels most are dropped at random, and what edgeloop.prior_shift makes of the
unlabelled rest is compared with tuning that does not know, and with tuning on production's own labels.
Writes thresholds_bccd.json and a table in Markdown.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.int8_sets import ROOT, MeasuredSet, prepare
from edgeloop.artifact import Artifact
from edgeloop.audit import AuditFrames
from edgeloop.card import ThresholdCard
from edgeloop.edge.bench import profile_for
from edgeloop.edge.machine import machine
from edgeloop.evaluation import match_audit, open_for, predict
from edgeloop.files import write_text
from edgeloop.matching import Matches
from edgeloop.measures import Interval, ThresholdReport
from edgeloop.operating_points import operating_point
from edgeloop.prior_shift import Production, estimate_shift
from edgeloop.ranking import Labelled
from edgeloop.threshold_report import report_thresholds
from edgeloop.thresholds import tune

OTHERS: dict[str, dict[str, Any]] = {
    "F1": {"objective": "f-beta"},
    "recall of 0.9": {"objective": "recall", "minimum_recall": 0.9},
    "risk of at most 0.1": {"objective": "risk", "maximum_risk": 0.1},
}
KEPT = (1.0, 0.5, 0.2, 0.1)  # shares of the objects that a simulated production keeps
TRIALS = 20  # of each
# The card's 12 epochs serve benchmarks.int8_recipes. After them no platelet is shown at any threshold that a device
# has, on the training side either, and no threshold can mend that. The sides that choose said so, not the judged one.
EPOCHS = 30
Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bccd", type=Path, required=True, help="BCCD in Pascal VOC layout")
    parser.add_argument("--start", type=Path, required=True, help="checkpoint to fine-tune from; a .pt you trust")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "edgeloop-int8-recipes")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results")
    asked = parser.parse_args()
    of = prepare("bccd", asked.bccd, asked.start, asked.work, asked.epochs)
    tuning, judging = (see(of.fp32, side) for side in (of.choosing, of.scoring))
    document = {"machine": machine(), **measure(of, tuning, judging), "shift": shifted(of, tuning, judging)}
    write_text(asked.out / "thresholds_bccd.json", json.dumps(document, indent=2) + "\n")
    write_text(asked.out / "thresholds_bccd.md", report(document))
    print(report(document))


def see(artifact: Artifact, audit: AuditFrames) -> Labelled:
    """What the artifact finds on a side, through the device's own frame path."""
    runtime = open_for(artifact, profile_for(None, "auto", 1, None))
    matches = match_audit(artifact, audit, predict(artifact, audit, runtime), artifact.names)
    runtime.close()
    return Labelled(matches, audit.groups, [audit.digest])


def measure(of: MeasuredSet, tuning: Labelled, judging: Labelled) -> Row:
    """The card's own objective and the others, each judged by the card's costs."""
    costs = of.card.thresholds
    base = costs.model_dump(exclude_none=True)
    cards = {"cost": costs} | {
        name: ThresholdCard.from_document({**base, **change}, name) for name, change in OTHERS.items()
    }
    reports = {name: report_thresholds(of.fp32, tuning, card, judging) for name, card in cards.items()}
    return {
        "card": of.card.name,
        "frames": {"tuning": tuning.matches.frame_count, "judging": judging.matches.frame_count},
        "boxes": {
            side: dict(zip(of.fp32.names, labelled.matches.truths.sum(axis=0).tolist(), strict=True))
            for side, labelled in (("tuning", tuning), ("judging", judging))
        },
        "costs": {name: {"false": one.cost_false, "miss": one.cost_miss}
                  for name in of.fp32.names for one in [costs.of_class(name)]},
        "objectives": {name: _told(one) for name, one in reports.items()},
    }  # fmt: skip


def _told(found: ThresholdReport) -> Row:
    """A report without the file it is about, whose place says nothing."""
    told: Row = json.loads(found.to_json())
    return {key: value for key, value in told.items() if key not in ("tuned", "audit_digests", "schema_version")}


def shifted(of: MeasuredSet, tuning: Labelled, judging: Labelled) -> list[Row]:
    """Cost on simulated production, mean over the trials, of three ways to tune."""
    rows = []
    for kept in KEPT:
        costs = [_trial(of, tuning, judging, (kept, seed)) for seed in range(TRIALS)]
        rows.append({"kept": kept, **{name: float(np.mean([one[name] for one in costs])) for name in costs[0]}})
    return rows


def _trial(of: MeasuredSet, tuning: Labelled, judging: Labelled, draw: tuple[float, int]) -> dict[str, float]:
    card, names = of.card.thresholds, of.fp32.names
    there = replace(judging, matches=thinned(judging.matches, *draw))
    seen = Production.of(names, there.matches.frame_count, there.matches.classes, there.matches.scores)
    shift = estimate_shift(tuning, seen, resamples=0)
    sides = {"as labelled": tuning, "knowing the shift": replace(tuning, shift=shift), "production's labels": there}
    limits: dict[str, Sequence[float]] = {"global 0.5": [0.5] * len(names)}
    for name, labelled in sides.items():
        tuned = tune(labelled, card, names)
        limits[name] = tuned.thresholds.tolist() if tuned else [0.25] * len(names)
    points = {name: operating_point(name, "held-out", there, one, (names, card)) for name, one in limits.items()}
    return {name: point.cost_per_1000_frames or 0.0 for name, point in points.items()}


def thinned(matches: Matches, kept: float, seed: int) -> Matches:
    """Each labelled box stays with this chance, and what found it with it; what found nothing stays."""
    random = np.random.default_rng(seed)
    hits = matches.hits[:, 0]
    stays = ~hits | (random.random(len(hits)) < kept)
    gone = hits & ~stays
    truths = matches.truths.copy()
    np.subtract.at(truths, (matches.frames[gone], matches.classes[gone]), 1)
    found = np.zeros_like(truths)
    np.add.at(found, (matches.frames[hits & stays], matches.classes[hits & stays]), 1)
    never = random.binomial(truths - found, kept)  # of those that nothing found
    return replace(matches.select(stays), truths=found + never)


def report(document: Row) -> str:
    """The figures in Markdown."""
    names = list(document["costs"])
    boxes = {side: ", ".join(f"{count} {name}" for name, count in counts.items())
             for side, counts in document["boxes"].items()}  # fmt: skip
    costs = ", ".join(f"{name} {one['miss']:g}" for name, one in document["costs"].items())
    about = (
        f"`python -m benchmarks.thresholds_bccd --bccd DIR --start CHECKPOINT.pt`; {document['card']}, FP32. Tuned on "
        f"{document['frames']['tuning']} frames ({boxes['tuning']}), judged on {document['frames']['judging']} others "
        f"({boxes['judging']}) that had no part in training or tuning. Costs, set before anything was measured: a "
        f"false positive 1, a miss {costs}. Saved: the share of the cost at one global threshold, with the 95 % "
        f"interval of a paired bootstrap over frames."
    )
    head = ["thresholds", "of " + ", ".join(names), *(f"recall of {name}" for name in names), "false / 1,000 frames"]
    head += ["missed / 1,000 frames", "cost / 1,000 frames", "saved against 0.5", "against 0.25"]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    first = next(iter(document["objectives"].values()))
    lines += [_line(point["name"], "", point, names, {}) for point in _held_out(first)[1:]]
    for name, found in document["objectives"].items():
        limits = ", ".join(f"{one['threshold']:.2f}" for one in found["classes"])
        lines.append(_line(f"tuned: {name}", limits, _held_out(found)[0], names, found["savings"]))
    remarks = [f"- {name}: {text}" for name, found in document["objectives"].items() for text in found["remarks"]]
    heads = [key for key in document["shift"][0] if key != "kept"]
    second = [
        f"## Production shows fewer objects ({TRIALS} draws each, cost / 1,000 frames)",
        "",
        "Of the judged side's labels, and of the detections that found them, a share is kept; false positives stay.",
        "",
        f"| objects kept | {' | '.join(heads)} |",
        f"|{'---|' * (len(heads) + 1)}",
        *(f"| {row['kept']:g} | {' | '.join(f'{row[key]:,.0f}' for key in heads)} |" for row in document["shift"]),
    ]
    return "\n".join(["# Thresholds on BCCD", "", about, "", *lines, "", *remarks, "", *second, ""])


def _held_out(found: Row) -> list[Row]:
    return [point for point in found["comparison"] if point["on"] == "held-out"]


def _line(name: str, limits: str, point: Row, names: Sequence[str], savings: Row) -> str:
    cells = [name, limits, *(f"{point['recalls'][one]:.3f}" for one in names)]
    keys = ("false_positives", "missed", "cost")
    cells += [f"{point[f'{key}_per_1000_frames']:,.0f}" for key in keys]
    cells += [_saved(savings.get(f"global {value}")) for value in (0.5, 0.25)]
    return f"| {' | '.join(cells)} |"


def _saved(found: Row | None) -> str:
    if found is None:
        return ""
    interval = Interval.model_validate(found)
    return f"{100 * interval.value:.0f} % [{100 * interval.low:.0f}, {100 * interval.high:.0f}]"


if __name__ == "__main__":
    main()
