"""The frame loop against Ultralytics' predict: the same file, the same runtime, the same threads, in one run.

    python -m benchmarks.frame_loop [--checkpoint CHECKPOINT.pt] [--images FOLDER] [--frames N]

Ultralytics exports the checkpoint at 192 and at 640 pixels. Four loops take turns on the same decoded images:
Ultralytics' predict on that file, ours on that file in the same runtime, ours with `auto`, and ours with `auto` on the
INT8 file made from it. A frame is from the decoded image to the final boxes; what a loop spends outside the model is
that less the time inside the runtime, measured at the same place for both. The image statistics that our loop adds for
the log come after the boxes and have a column of their own. Writes frame_loop.json and a table.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime

from benchmarks.writing import RESULTS, keep, markdown
from edgeloop.artifact import Artifact
from edgeloop.card import QuantizeCard
from edgeloop.edge.benchmark import BLOCK, WARM_UP
from edgeloop.edge.detector import LOG_FLOOR, Detector
from edgeloop.edge.frame import Image, decode_image
from edgeloop.edge.machine import instructions, machine
from edgeloop.edge.runtime import RuntimeName, open_runtime
from edgeloop.files import sha256
from edgeloop.formats.paths import images_below
from edgeloop.progress import bar
from edgeloop.sample.generate import generate
from edgeloop.sample.scene import TINY
from models.quantize import quantize

ROOT = Path(__file__).resolve().parents[1]
SIZES = (192, 640)
THREADS = 1
IOU = 0.7
IMAGES = 48
Loop = Callable[[Image], tuple[float, float]]  # runs one frame: milliseconds to the boxes, and of them in the model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--checkpoint", type=Path, default=ROOT / "models/weights/edgeloop-n.pt", help="a .pt you trust"
    )
    parser.add_argument("--images", type=Path, help="decoded images to loop over; the generated sample at 640 x 640")
    parser.add_argument("--frames", type=int, default=400, help="timed frames a loop and size")
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    limit_threads()
    with tempfile.TemporaryDirectory() as work:
        folder = asked.images or sample(Path(work))
        paths = list(images_below(folder))
        images = [decode_image(path.read_bytes(), str(path)) for path in paths[:IMAGES]]
        rows = [row for side in SIZES for row in measure(asked.checkpoint, side, (images, paths), asked.frames)]
    document = {
        "machine": machine(),
        "instructions": instructions(),
        "threads": THREADS,
        "frames": asked.frames,
        "image": f"{images[0].shape[1]} x {images[0].shape[0]}",
        "versions": {name: version(name) for name in ("onnxruntime", "openvino", "ultralytics", "torch")},
        "checkpoint_sha256": sha256(asked.checkpoint),
        "rows": rows,
    }
    keep(asked.out, "frame_loop", document, table(document))


def limit_threads() -> None:
    """One thread for everything that has threads, in both loops."""
    import torch

    os.environ["OMP_NUM_THREADS"] = str(THREADS)
    torch.set_num_threads(THREADS)
    cv2.setNumThreads(THREADS)


def sample(work: Path) -> Path:
    scene = generate(work / "sample", TINY.model_copy(update={"side": 640}), seed=0)
    return scene.root / "audit-clean/images"


class TimedSession(onnxruntime.InferenceSession):  # type: ignore[misc]  # onnxruntime carries no types
    """What Ultralytics opens while it loads: our session options, and the time spent inside `run`."""

    spent = 0.0  # milliseconds of the last run

    def __init__(self, path: str, options: Any = None, **rest: Any) -> None:
        options = options or onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        super().__init__(path, options, **rest)

    def run(self, *arguments: Any, **rest: Any) -> Any:
        begin = time.perf_counter_ns()
        found = super().run(*arguments, **rest)
        TimedSession.spent = (time.perf_counter_ns() - begin) / 1e6
        return found


def ultralytics_loop(path: Path, side: int) -> Loop:
    """`predict` on one decoded image at a time: what a camera loop of its users calls."""
    from ultralytics import YOLO

    model = YOLO(path, task="detect")
    settings = {"imgsz": side, "conf": LOG_FLOOR, "iou": IOU, "device": "cpu", "verbose": False}
    original, onnxruntime.InferenceSession = onnxruntime.InferenceSession, TimedSession
    try:
        model.predict(np.zeros((side, side, 3), np.uint8), **settings)
    finally:
        onnxruntime.InferenceSession = original

    def loop(image: Image) -> tuple[float, float]:
        begin = time.perf_counter_ns()
        model.predict(image, **settings)
        return (time.perf_counter_ns() - begin) / 1e6, TimedSession.spent

    return loop


def our_loop(artifact: Artifact, runtime: str) -> tuple[RuntimeName, Loop]:
    """`detect`, which reports its own parts."""
    with tempfile.TemporaryDirectory() as cache:
        opened = open_runtime(artifact.path, runtime, THREADS, cache=Path(cache))  # type: ignore[arg-type]
    detector = Detector(artifact, opened, LOG_FLOOR)

    def loop(image: Image) -> tuple[float, float]:
        timing = detector.detect(image).timing
        return timing.total, timing.inference

    return opened.name, loop


@dataclass
class Lane:
    """One loop and what it took, milliseconds."""

    name: str
    precision: str
    runtime: str
    loop: Loop
    total: list[float] = field(default_factory=list)
    outside: list[float] = field(default_factory=list)
    after: list[float] = field(default_factory=list)  # image statistics for the log

    def turn(self, images: Sequence[Image], timed: int) -> None:
        for number in range(-WARM_UP, timed):
            image = images[len(self.total) % len(images)]
            begin = time.perf_counter_ns()
            total, inside = self.loop(image)
            wall = (time.perf_counter_ns() - begin) / 1e6
            if number >= 0:
                self.total.append(total)
                self.outside.append(total - inside)
                self.after.append(wall - total)


def measure(checkpoint: Path, side: int, data: tuple[list[Image], list[Path]], frames: int) -> list[dict[str, Any]]:
    """The rows of one input size."""
    images, paths = data
    with tempfile.TemporaryDirectory() as work:
        fp32 = export(checkpoint, side, Path(work))
        int8 = quantize(fp32, paths, QuantizeCard(frames=min(len(paths), 48)), Path(work) / "int8.onnx")
        asked = [("FP32", fp32, "onnxruntime"), ("FP32", fp32, "auto"), ("INT8", int8, "auto")]
        lanes = [Lane("Ultralytics predict", "FP32", "onnxruntime", ultralytics_loop(fp32.path, side))]
        for precision, artifact, wanted in asked:
            runtime, loop = our_loop(artifact, wanted)
            chosen = f"{runtime} (auto)" if wanted == "auto" else runtime
            lanes.append(Lane("edgeloop", precision, chosen, loop))
        rounds = [lane for _ in range(-(-frames // BLOCK)) for lane in lanes]
        for lane in bar(rounds, f"frame loop at {side}", len(rounds)):
            lane.turn(images, BLOCK)
    return [row(side, lane, lanes[0]) for lane in lanes]


def export(checkpoint: Path, side: int, work: Path) -> Artifact:
    """The file that Ultralytics writes, so that both loops read what the other side made."""
    from ultralytics import YOLO

    copy = work / "model.pt"
    copy.write_bytes(checkpoint.read_bytes())
    model = YOLO(copy)
    names = tuple(model.names[index] for index in range(len(model.names)))
    path = Path(model.export(format="onnx", imgsz=side, device="cpu", verbose=False))
    return Artifact(
        path=path,
        sha256=sha256(path),
        precision="fp32",
        imgsz=side,
        names=names,
        thresholds=(0.25,) * len(names),
        iou=IOU,
    )


def row(side: int, lane: Lane, baseline: Lane) -> dict[str, Any]:
    total, outside = np.median(lane.total), np.median(lane.outside)
    return {
        "input": side,
        "loop": lane.name,
        "precision": lane.precision,
        "runtime": lane.runtime,
        "frames": len(lane.total),
        "p50_ms": round(float(total), 3),
        "p99_ms": round(float(np.percentile(lane.total, 99, method="higher")), 3),
        "outside_ms": round(float(outside), 3),
        "statistics_ms": round(float(np.median(lane.after)), 3),
        "outside_share": round(float(outside / total), 4),
        "outside_ratio": round(float(outside / np.median(baseline.outside)), 3),
        "speedup": round(float(np.median(baseline.total) / total), 3),
    }


def table(document: dict[str, Any]) -> str:
    columns = "input|loop|file|runtime|p50 ms|p99 ms|outside, ms|of the frame|against predict|speed-up|log, ms"
    run = (
        f"`python -m benchmarks.frame_loop --frames {document['frames']}`; {document['machine']} "
        f"({', '.join(document['instructions'])}), {document['threads']} thread, "
        f"{document['frames']} frames of {document['image']} a loop, all loops taking turns in one run."
    )
    return f"{run}\n\n{markdown(columns.split('|'), map(cells, document['rows']))}"


def cells(row: dict[str, Any]) -> list[str]:
    words = [str(row[key]) for key in ("input", "loop", "precision", "runtime")]
    figures = [f"{row[key]:.2f}" for key in ("p50_ms", "p99_ms", "outside_ms")]
    ratios = [f"{row['outside_share']:.0%}", f"{row['outside_ratio']:.2f}", f"{row['speedup']:.2f}x"]
    return [*words, *figures, *ratios, f"{row['statistics_ms']:.2f}"]


if __name__ == "__main__":
    main()
