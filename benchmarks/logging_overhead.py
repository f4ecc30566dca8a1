"""What the device's log costs the frame loop: the same detector with and without it, taking turns in one run.

    python -m benchmarks.logging_overhead [--checkpoint CHECKPOINT.pt] [--images FOLDER] [--rounds N]

A frame is from the decoded image to the record handed over. Loops, as fast as they go: detection alone; with every
record logged and one image in 30 kept; the same with the ring of recent images for flags; with every image kept. Each
loop has a device folder and an uploader to a folder of its own, a segment becomes Parquet every five seconds, twelve
times as often as by default, and a turn of one loop begins when the threads of the one before have nothing left to do.
A ratio is the median over the rounds of a turn's percentile against that of detection alone in the same round, so that
an hour in which the machine does other work too changes both sides. Writes logging_overhead.json and a table.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.frame_loop import IMAGES, THREADS, export, limit_threads, sample
from benchmarks.writing import RESULTS, keep, markdown
from edgeloop.artifact import Artifact
from edgeloop.card import QuantizeCard
from edgeloop.edge.detector import Detector
from edgeloop.edge.frame import Image, decode_image
from edgeloop.edge.log_schema import InferenceRecord
from edgeloop.edge.machine import instructions, machine
from edgeloop.edge.retention import ImageKeeper, Retention
from edgeloop.edge.runtime import Runtime, open_runtime
from edgeloop.edge.segments import DeviceLog
from edgeloop.edge.upload import Uploader
from edgeloop.formats.paths import images_below
from edgeloop.progress import bar
from models.quantize import quantize

ROOT = Path(__file__).resolve().parents[1]
SIZES = (192, 640)
TURN_SECONDS = 1.5  # a flush and a half
WARM_UP = 10
SECONDS_A_FILE = 5.0
BUDGET = 2 * 10**9
NO_RULE = Retention(every=None, uncertain=False, audit=0, recent=0)
POLICIES = {
    "every record, 1 image in 30": NO_RULE.model_copy(update={"every": 30}),
    "the same, and the ring of recent images": NO_RULE.model_copy(update={"every": 30, "recent": 150}),
    "every record, every image": NO_RULE.model_copy(update={"keep_all": True}),
}


@dataclass
class Logging:
    """All that an agent has behind its loop."""

    log: DeviceLog
    keeper: ImageKeeper
    uploader: Uploader

    @classmethod
    def begin(cls, folder: Path, policy: Retention) -> Logging:
        log = DeviceLog(folder / "device", "overhead", seconds_a_file=SECONDS_A_FILE)
        keeper = ImageKeeper(folder / "device", policy, BUDGET, log.append)
        uploader = Uploader(folder / "device/spool", str(folder / "store"), budget_bytes=BUDGET)
        uploader.start()
        return cls(log, keeper, uploader)

    def settle(self) -> None:
        """Wait until the threads have nothing to do that the last turn left them."""
        while self.log.waiting or self.keeper.waiting or self.uploader.status().files:
            time.sleep(0.05)

    def end(self) -> None:
        self.keeper.close()
        self.log.close()
        self.uploader.close(60)


@dataclass
class Lane:
    """One loop and what the frames of each turn took, milliseconds."""

    name: str
    detector: Detector
    logging: Logging | None
    turns: list[list[float]] = field(default_factory=list)

    def turn(self, images: Sequence[Image]) -> None:
        end, number, times = time.perf_counter() + TURN_SECONDS, -WARM_UP, list[float]()
        while time.perf_counter() < end:
            begin = time.perf_counter_ns()
            self.frame(images[number % len(images)])
            if number >= 0:
                times.append((time.perf_counter_ns() - begin) / 1e6)
            number += 1
        self.turns.append(times)
        if self.logging is not None:
            self.logging.settle()

    def frame(self, image: Image) -> None:
        artifact, found = self.detector.artifact, self.detector.detect(image)
        if self.logging is not None:
            moment, name = datetime.now(timezone.utc), f"{time.time_ns():016x}"
            record = InferenceRecord(name, "cam1", moment, artifact.id, found, artifact.thresholds)
            self.logging.log.append(self.logging.keeper.offer(record, image))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, default=ROOT / "models/weights/edgeloop-n.pt", help="one you trust")
    parser.add_argument("--images", type=Path, help="decoded images to loop over; the generated sample at 640 x 640")
    parser.add_argument("--rounds", type=int, default=12, help="turns of each loop")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    limit_threads()
    with tempfile.TemporaryDirectory() as work:
        paths = list(images_below(asked.images or sample(Path(work))))
        images = [decode_image(path.read_bytes(), str(path)) for path in paths[:IMAGES]]
        artifacts = {side: artifact(asked.checkpoint, side, paths, Path(work)) for side in asked.sizes}
        rows = [row for side in asked.sizes for row in measure(artifacts[side], images, asked.rounds)]
    document = {
        "machine": machine(),
        "instructions": instructions(),
        "threads": THREADS,
        "image": f"{images[0].shape[1]} x {images[0].shape[0]}",
        "turn_seconds": TURN_SECONDS,
        "rounds": asked.rounds,
        "rows": rows,
    }
    keep(asked.out, "logging_overhead", document, table(document))


def artifact(checkpoint: Path, side: int, paths: list[Path], work: Path) -> Artifact:
    """The INT8 file: the fastest that a device runs, so the one where the log weighs most."""
    folder = work / str(side)
    folder.mkdir()
    fp32 = export(checkpoint, side, folder)
    return quantize(fp32, paths, QuantizeCard(frames=min(len(paths), IMAGES)), folder / "int8.onnx")


def measure(artifact: Artifact, images: list[Image], rounds: int) -> list[dict[str, Any]]:
    """The rows of one input size; every loop runs in the same session."""
    with tempfile.TemporaryDirectory() as work:
        runtime = open_runtime(artifact.path, "auto", THREADS, cache=Path(work))
        lanes = lanes_of(artifact, runtime, Path(work))
        turns = [lanes[(start + offset) % len(lanes)] for start in range(rounds) for offset in range(len(lanes))]
        for lane in bar(turns, f"logging at {artifact.imgsz}", len(turns)):
            lane.turn(images)
        for lane in lanes:
            if lane.logging is not None:
                lane.logging.end()
        return [row(artifact.imgsz, runtime.name, lane, lanes[0]) for lane in lanes]


def lanes_of(artifact: Artifact, runtime: Runtime, work: Path) -> list[Lane]:
    off = Lane("detection alone", Detector(artifact, runtime, statistics="never"), None)
    return [off] + [
        Lane(name, Detector(artifact, runtime, statistics="later"), Logging.begin(work / str(number), policy))
        for number, (name, policy) in enumerate(POLICIES.items())
    ]


def row(side: int, runtime: str, lane: Lane, off: Lane) -> dict[str, Any]:
    times = [milliseconds for turn in lane.turns for milliseconds in turn]
    p50, p99 = percentiles(times)
    p50_ratio, p99_ratio = ratios(lane, off)
    log, keeper = (None, None) if lane.logging is None else (lane.logging.log, lane.logging.keeper)
    return {
        "input": side,
        "runtime": runtime,
        "loop": lane.name,
        "frames": len(times),
        "p50_ms": round(p50, 3),
        "p99_ms": round(p99, 3),
        "p50_ratio": round(p50_ratio, 4),
        "p99_ratio": round(p99_ratio, 4),
        "rows_lost": 0 if log is None else log.lost,
        "images_written": 0 if keeper is None else keeper.written,
        "images_dropped": 0 if keeper is None else keeper.dropped,
    }


def percentiles(times: Sequence[float]) -> tuple[float, float]:
    return float(np.median(times)), float(np.percentile(times, 99, method="higher"))


def ratios(lane: Lane, off: Lane) -> tuple[float, float]:
    """p50 and p99 against detection alone: medians over the rounds."""
    pairs = [(percentiles(one), percentiles(other)) for one, other in zip(lane.turns, off.turns, strict=True)]
    p50s, p99s = zip(*((one[0] / other[0], one[1] / other[1]) for one, other in pairs), strict=True)
    return float(np.median(p50s)), float(np.median(p99s))


def table(document: dict[str, Any]) -> str:
    columns = "input|loop|frames|p50 ms|p99 ms|p50 against alone|p99 against alone|images|dropped|rows lost"
    run = (
        f"`python -m benchmarks.logging_overhead --rounds {document['rounds']}`; {document['machine']} "
        f"({', '.join(document['instructions'])}), INT8 in {document['rows'][0]['runtime']}, "
        f"{document['threads']} thread, {document['image']} images, {document['rounds']} turns of "
        f"{document['turn_seconds']} s a loop, all loops taking turns in one run."
    )
    return f"{run}\n\n{markdown(columns.split('|'), map(cells, document['rows']))}"


def cells(row: dict[str, Any]) -> list[str]:
    ratios = [f"{row[key] - 1:+.1%}" for key in ("p50_ratio", "p99_ratio")]
    figures = [f"{row['p50_ms']:.2f}", f"{row['p99_ms']:.2f}", *ratios]
    counts = [str(row[key]) for key in ("images_written", "images_dropped", "rows_lost")]
    return [str(row["input"]), row["loop"], str(row["frames"]), *figures, *counts]


if __name__ == "__main__":
    main()
