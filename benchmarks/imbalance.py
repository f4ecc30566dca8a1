"""What repeat-factor sampling and class weights bring the rare class, alone and together, and what the others lose.

    python -m benchmarks.imbalance

The generated inspection line: cracks are 2.8 % of the boxes. The sample's card is trained once for every option and
seed from the same start, and scored on frames of the same line that nothing was chosen on. Writes imbalance.json and a
table in Markdown; a run that was stopped goes on with what is in --work.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.writing import RESULTS, keep
from edgeloop.audit import AuditFrames
from edgeloop.bootstrap import Doubles, average_precision, frame_weights, percentile_interval
from edgeloop.card import Card, load_card
from edgeloop.edge.machine import instructions, machine
from edgeloop.files import atomic_directory, write_text
from edgeloop.formats.detect import read
from edgeloop.frames import LabelledFrame
from edgeloop.matching import IOU_LIMITS, Matches
from edgeloop.sample import SampleSize, generate
from models.checkpoint import CHECKPOINT, load_checkpoint_record
from models.judge import Judge, choosing_runtime
from models.ultralytics_door import export_onnx, train

ROOT = Path(__file__).resolve().parents[1]
SIZE = SampleSize(train=340, val=40, stream=20, audit=2500)  # some 90 cracks to score on
RARE, RESAMPLES, CONFIDENCE = "crack", 1000, 0.95
THRESHOLD = 0.3  # cracks are on a frame in twenty or so, and shown two to three times as often with it
OPTIONS: dict[str, dict[str, Any]] = {
    "none": {},
    "repeat factor": {"repeat_threshold": THRESHOLD},
    "weights, effective": {"class_weights": "effective"},
    "repeat factor + weights, effective": {"repeat_threshold": THRESHOLD, "class_weights": "effective"},
}
Row = dict[str, Any]


@dataclass(frozen=True)
class Trained:
    """One training: its matches on the scored frames, and how much processor time it took, all threads together."""

    matches: Matches
    cpu_seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--work", type=Path, default=ROOT / "var/benchmarks/imbalance")
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    begin = time.monotonic()
    folder = line(asked.work)
    scored = side(read(folder / "audit-clean").frames, "audit", read(folder / "audit-clean").names)
    labelled = [one for one in read(folder / "labelled").frames if one.split == "train"]
    card = load_card(ROOT / "models/cards/sample.yaml")
    runs = {
        name: [fit(card, changes, seed, (folder, scored, asked.work)) for seed in range(asked.seeds)]
        for name, changes in OPTIONS.items()
    }
    document = {
        "machine": machine(),
        "instructions": instructions(),
        "versions": {name: version(name) for name in ("ultralytics", "torch", "openvino")},
        "card": card.name,
        "epochs": card.epochs_for(len(labelled)),
        "seeds": asked.seeds,
        "rare": RARE,
        "frames": {"train": len(labelled), "scored": len(scored.frames)},
        "boxes": {"train": boxes(labelled, scored.names), "scored": boxes(scored.frames, scored.names)},
        "rows": rows(runs, scored),
        "seconds": round(time.monotonic() - begin),
    }
    keep(asked.out, "imbalance", document, report(document))


def line(work: Path) -> Path:
    """The generated line; what an earlier run drew is used again."""
    folder = work / f"line-{SIZE.train}-{SIZE.audit}"
    if not folder.is_dir():
        with atomic_directory(folder) as made:
            generate(made, SIZE, seed=0)
    return folder


def side(frames: tuple[LabelledFrame, ...], name: str, names: tuple[str, ...]) -> AuditFrames:
    return AuditFrames(name, names, tuple(sorted(frames, key=lambda one: one.frame.frame_id)))


def boxes(frames: Any, names: tuple[str, ...]) -> dict[str, int]:
    """Labelled boxes of each class."""
    counts = Counter(label.class_id for one in frames for label in one.labels)
    return {name: counts[index] for index, name in enumerate(names)}


def fit(card: Card, changes: Row, seed: int, where: tuple[Path, AuditFrames, Path]) -> Trained:
    """Train one option with one seed, export it and run it on the scored frames; what is there is used again."""
    folder, scored, work = where
    asked = card.model_copy(update={**changes, "seed": seed})
    name = "-".join(f"{key}-{value}" for key, value in {**changes, "seed": seed}.items())
    out, took = work / name, work / name / "cpu_seconds.json"
    if not took.is_file():
        begin = time.process_time()
        epochs = asked.epochs_for(SIZE.train)
        data = folder / "labelled" / "data.yaml"
        checkpoint = train(data, asked, out / "run", start=asked.start, epochs=epochs)
        write_text(took, json.dumps(time.process_time() - begin))
    checkpoint = load_checkpoint_record(out / "run" / CHECKPOINT)
    fp32 = export_onnx(checkpoint, asked, checkpoint.names, out / "fp32.onnx")
    judge = Judge(fp32, scored, (), choosing_runtime(), out / "kept")
    return Trained(judge.matches(fp32.path.read_bytes(), "fp32"), json.loads(took.read_text()))


def rows(runs: dict[str, list[Trained]], scored: AuditFrames) -> list[Row]:
    """One row an option: the mean over the seeds, and its gain over "none" on the same resamples of the frames."""
    resamples = frame_weights(len(scored.frames), RESAMPLES, 0, scored.groups)
    draws = np.concatenate([np.ones((1, len(scored.frames)), np.int64), resamples])
    precision = {
        name: np.stack([average_precision(one.matches, draws, range(len(IOU_LIMITS))).mean(axis=2) for one in trained])
        for name, trained in runs.items()
    }
    return [
        {
            "option": name,
            "settings": OPTIONS[name],
            "cpu_seconds": [round(one.cpu_seconds, 1) for one in runs[name]],
            **{what: figures(precision, name, pick) for what, pick in picks(scored.names).items()},
        }
        for name in runs
    ]


def picks(names: tuple[str, ...]) -> dict[str, list[int]]:
    """What is told: the rare class, the others, all."""
    rare = names.index(RARE)
    every = list(range(len(names)))
    return {"rare": [rare], "others": [index for index in every if index != rare], "all": every}


def figures(precision: dict[str, Doubles], name: str, classes: list[int]) -> Row:
    """AP50-95 over the classes: each seed, and mean and gain with their intervals."""
    of = {key: np.nanmean(values[:, :, classes], axis=2) for key, values in precision.items()}  # (seeds, 1 + B)
    mean = {key: values.mean(axis=0) for key, values in of.items()}
    return {
        "each_seed": [round(float(value), 4) for value in of[name][:, 0]],
        "mean": percentile_interval(mean[name], CONFIDENCE).model_dump(mode="json"),
        "gain": percentile_interval(mean[name] - mean["none"], CONFIDENCE).model_dump(mode="json"),
    }


def report(document: Row) -> str:
    """The figures in Markdown."""
    counts, frames = document["boxes"], document["frames"]
    about = (
        f"`python -m benchmarks.imbalance --seeds {document['seeds']}`; {document['machine']}; "
        f"{document['card']}, {document['epochs']} epochs on {frames['train']} frames "
        f"({', '.join(f'{name} {count}' for name, count in counts['train'].items())} boxes), scored on "
        f"{frames['scored']} frames with {counts['scored'][RARE]} boxes of {RARE}. AP50-95 in points, the mean of "
        f"{document['seeds']} seeds; gain against none with the 95 % interval of a paired bootstrap over frames, which "
        f"does not hold what another seed would change: see the values of each seed. CPU s: processor time of one "
        f"training, all threads together."
    )
    columns = [RARE, "each seed", "gain", "the other classes", "gain", "mAP50-95", "gain", "CPU s"]
    lines = [f"| option | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
    lines += [_line(row) for row in document["rows"]]
    return "\n".join(["# Class imbalance: the rare class, option by option", "", about, "", *lines]) + "\n"


def _line(row: Row) -> str:
    rare = row["rare"]
    seeds = ", ".join(f"{100 * value:.1f}" for value in rare["each_seed"])
    cells = [f"{100 * rare['mean']['value']:.1f}", seeds, _gain(rare)]
    for what in ("others", "all"):
        cells += [f"{100 * row[what]['mean']['value']:.1f}", _gain(row[what])]
    return f"| {row['option']} | {' | '.join(cells)} | {np.mean(row['cpu_seconds']):.0f} |"


def _gain(found: Row) -> str:
    gain = found["gain"]
    if gain["low"] == gain["high"]:
        return ""
    return f"{100 * gain['value']:+.1f} [{100 * gain['low']:+.1f}, {100 * gain['high']:+.1f}]"


if __name__ == "__main__":
    main()
