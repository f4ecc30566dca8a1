"""Evaluation side by side with pycocotools, the cost of intervals, and how often the gate promotes by chance.

    python -m benchmarks.evaluation [--images N] [--trials N]

pycocotools is not a dependency: without it (`pip install --no-deps pycocotools` into a scratch environment on
PYTHONPATH) its column stays empty. Everything is synthetic and seeded. Writes evaluation.json and a table in Markdown.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import statistics
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.writing import RESULTS, keep, markdown
from edgeloop.accuracy import Run, score
from edgeloop.artifact import Artifact
from edgeloop.audit import AuditFrames
from edgeloop.bootstrap import Doubles, average_precision, frame_weights, paired_interval
from edgeloop.boxes import Detections
from edgeloop.card import EvaluationCard
from edgeloop.coco import AREAS, coco_by_area, coco_documents, mean_over_recalls
from edgeloop.frames import Frame, Label, LabelledFrame
from edgeloop.matching import MAXIMUM_DETECTIONS, Matches, Truths, match
from edgeloop.progress import bar
from edgeloop.sizes import RANGES, match_by_size
from tests import scenes

CLASSES = 80
FRAME = (900, 900)  # pixels, of the synthetic images
ROUNDS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    rows = {
        "evaluators": compare_evaluators(asked.images),
        "intervals": time_intervals(),
        "report": time_report(asked.images),
        "gate": [chance(frames, asked.trials) for frames in bar((30, 60, 125, 250), "promotions by chance", 4)],
    }
    keep(asked.out, "evaluation", rows, table(rows))


def coco_like(images: int, seed: int = 0) -> tuple[list[Detections], list[Truths]]:
    """About 7 labelled boxes and 36 detections an image over 80 classes, as many as a detector gives on COCO."""
    rng = np.random.default_rng(seed)
    truths, seen = [], []
    for _ in range(images):
        count = int(rng.poisson(7.3))
        corner, size = rng.uniform(0, 500, (count, 2)), rng.lognormal(4, 0.7, (count, 2)).clip(4, 400)
        boxes, classes = np.concatenate([corner, corner + size], axis=1), rng.integers(0, CLASSES, count)
        truths.append(Truths(boxes.astype(np.float32), classes))
        seen.append(_detect(rng, boxes, classes))
    return seen, truths


def _detect(rng: np.random.Generator, boxes: np.ndarray, classes: np.ndarray) -> Detections:
    """Two tries at each box and twenty ghosts."""
    near = np.repeat(boxes, 2, axis=0)
    near = near + rng.normal(0, 0.08, near.shape) * np.tile(near[:, 2:] - near[:, :2], 2)
    corner = rng.uniform(0, 500, (20, 2))
    corners = np.concatenate([near, np.concatenate([corner, corner + rng.uniform(8, 120, (20, 2))], axis=1)])
    corners[:, 2:] = np.maximum(corners[:, 2:], corners[:, :2] + 1)
    kinds = np.concatenate([np.repeat(classes, 2), rng.integers(0, CLASSES, 20)])
    scores = np.concatenate([rng.beta(4, 2, len(near)), rng.beta(1, 6, 20)]).astype(np.float32)
    return Detections(corners.astype(np.float32), scores, kinds).select(np.argsort(-scores, kind="stable"))


def compare_evaluators(images: int) -> dict[str, object]:
    """Arrays in, average precision per class and IoU limit out; the evaluators take turns."""
    seen, truths = coco_like(images)
    areas = [FRAME[0] * FRAME[1]] * images
    evaluators: dict[str, Callable[[], Doubles]] = {
        "faster-coco-eval": lambda: coco_by_area(seen, truths, CLASSES),
        "edgeloop": lambda: our_precision(seen, truths, areas),
    }
    if importlib.util.find_spec("pycocotools"):
        evaluators["pycocotools"] = lambda: pycocotools_precision(seen, truths)
    seconds: dict[str, list[float]] = {name: [] for name in evaluators}
    values: dict[str, Doubles] = {}
    for _ in bar(range(ROUNDS), "evaluators", ROUNDS):
        for name, run in evaluators.items():
            begin = time.perf_counter()
            values[name] = run()
            seconds[name].append(time.perf_counter() - begin)
    matches = match(seen, truths, CLASSES)
    found = values["faster-coco-eval"]
    return {
        "images": images,
        "classes": CLASSES,
        "labelled boxes": int(matches.truths.sum()),
        "detections": len(matches.scores),
        "seconds": {name: round(statistics.median(taken), 2) for name, taken in seconds.items()},
        "mAP50-95": {name: float(np.nanmean(found[index])) for index, name in enumerate(AREAS)},
        "largest difference": {
            "faster-coco-eval to pycocotools": _difference(found, values.get("pycocotools")),
            "faster-coco-eval to edgeloop": _difference(found, values["edgeloop"]),
        },
    }


def our_precision(seen: list[Detections], truths: list[Truths], areas: list[int]) -> Doubles:
    """The same four tables from matches that intervals, weights and cameras are computed from."""
    ones = np.ones((1, len(seen)), np.int64)
    sized = match_by_size(seen, truths, areas, CLASSES)
    parts = [match(seen, truths, CLASSES), *(sized[one] for one in RANGES if one.scale == "pixels")]
    return np.stack([average_precision(part, ones, range(10))[0] for part in parts])


def _difference(first: Doubles, second: Doubles | None) -> float | None:
    return None if second is None else float(np.nanmax(np.abs(first - second)))


def pycocotools_precision(seen: list[Detections], truths: list[Truths]) -> Doubles:
    """The same by pycocotools, from the same structures."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    dataset, results = coco_documents(seen, truths, CLASSES)
    with contextlib.redirect_stdout(io.StringIO()):
        labelled = COCO()
        labelled.dataset = dataset
        labelled.createIndex()
        judge = COCOeval(labelled, labelled.loadRes(results), "bbox")
        judge.params.maxDets = [1, 10, MAXIMUM_DETECTIONS]
        judge.evaluate()
        judge.accumulate()
    return mean_over_recalls(judge.eval["precision"])


def time_intervals() -> list[dict[str, object]]:
    """Seconds for a paired interval on 250 frames and 4 classes with 100 detections a frame, 1000 resamples."""
    first, second = _pair(250, 1, noise=97), _pair(250, 2, noise=97)
    draws = frame_weights(250, 1000, seed=0)
    rows: list[dict[str, object]] = []
    for statistic in ("map50", "map50_95"):
        begin = time.perf_counter()
        paired_interval(first, second, statistic, draws=draws)
        rows.append({"statistic": statistic, "seconds": round(time.perf_counter() - begin, 2)})
    return rows


def time_report(images: int) -> list[dict[str, object]]:
    """Seconds for everything a report states of so many frames: classes, two scales of sizes, four cameras, D-ECE."""
    seen, truths = coco_like(images)
    names = tuple(f"class{index}" for index in range(CLASSES))
    artifact = Artifact(
        path=Path("m.onnx"), sha256="0" * 64, precision="fp32", imgsz=640, names=names, thresholds=(0.25,) * CLASSES
    )
    frames = tuple(_frame(index, truth) for index, truth in enumerate(truths))
    audit = AuditFrames("synthetic", names, frames)
    rows: list[dict[str, object]] = []
    for resamples in (0, 200, 1000):
        begin = time.perf_counter()
        score(artifact, audit, seen, Run(Path("p.parquet"), "none"), EvaluationCard(resamples=resamples))
        rows.append({"resamples": resamples, "seconds": round(time.perf_counter() - begin, 1)})
    return rows


def _frame(index: int, truth: Truths) -> LabelledFrame:
    frame = Frame(f"{index:016x}", Path("x.jpg"), *FRAME, f"cam{index % 4}", datetime(2026, 1, 1, tzinfo=timezone.utc))
    boxes = zip(truth.classes.tolist(), truth.boxes.tolist(), strict=True)
    return LabelledFrame(frame, tuple(Label(class_id, tuple(box)) for class_id, box in boxes))


def _pair(frames: int, seed: int, truth_seed: int = 0, noise: int = 4) -> Matches:
    truths = scenes.frames_of_truths(frames, truth_seed)
    return match(scenes.detect(truths, seed=seed, noise=noise), truths, len(scenes.SHARES))


def chance(frames: int, trials: int) -> dict[str, object]:
    """How often a challenger that is exactly as good as the champion shows a gain whose interval lies above 0."""
    found = [
        paired_interval(
            _pair(frames, 2 * trial + 1, 10_000 + trial),
            _pair(frames, 2 * trial + 2, 10_000 + trial),
            "map50",
            draws=frame_weights(frames, 300, seed=0),
        )
        for trial in range(trials)
    ]
    return {
        "frames": frames,
        "trials": trials,
        "promoted by chance": sum(one.low > 0 for one in found) / trials,
        "half width in points": round(float(np.mean([(one.high - one.low) * 50 for one in found])), 1),
    }


def table(rows: dict[str, Any]) -> str:
    """Four small tables."""
    evaluators = rows["evaluators"]
    images = "{images} images, {classes} classes, {detections} detections, COCO's 4 areas".format(**evaluators)
    differences = evaluators["largest difference"].items()
    tables = [
        markdown(
            [images, "s"],
            [*evaluators["seconds"].items(), *((f"{name}, largest difference", value) for name, value in differences)],
        ),
        markdown(
            ["paired interval, 250 frames, 4 classes, 1000 resamples", "s"],
            [(row["statistic"], row["seconds"]) for row in rows["intervals"]],
        ),
        markdown(
            ["everything a report states, the same images, 4 cameras", "s"],
            [(f"{row['resamples']} resamples", row["seconds"]) for row in rows["report"]],
        ),
        markdown(
            ["scored frames", "an equal challenger is promoted", "half width of the interval, points"],
            [
                (row["frames"], f"{100 * row['promoted by chance']:.1f} %", row["half width in points"])
                for row in rows["gate"]
            ],
        ),
    ]
    command = f"python -m benchmarks.evaluation --images {evaluators['images']} --trials {rows['gate'][0]['trials']}"
    return "\n".join([f"`{command}`, pycocotools installed beside it where it has figures.\n", *tables])


if __name__ == "__main__":
    main()
