"""Synthetic inference logs: cameras that differ, neighbours that resemble each other, and shifts on request."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from edgeloop.edge.log_schema import LOG_SCHEMA, partition

START = datetime(2026, 3, 1, 8, 0, tzinfo=timezone.utc)
SIZE = 320


def autoregressive(random: np.random.Generator, count: int, memory: float) -> npt.NDArray[np.float64]:
    """A stationary AR(1) series of unit variance whose neighbours correlate by `memory`."""
    noise = random.normal(size=count) * np.sqrt(1 - memory**2)
    series = np.empty(count)
    series[0] = random.normal()
    for step in range(1, count):
        series[step] = memory * series[step - 1] + noise[step]
    return series


def synthetic_log(
    frames: int, seed: int = 0, memory: float = 0.5, cameras: int = 3, *, light: float = 0.0, blur: float = 0.0,
    score: float = 0.0, extra: float = 0.0, start: datetime = START, artifact_id: str = "a" * 12,
) -> pa.Table:  # fmt: skip
    """A log of `frames` rows, cameras in turn, four frames a second.

    `light` and `blur` shift brightness and sharpness by standard deviations of one camera; `score` is taken off every
    score; `extra` boxes a frame are added on average. All four act together on what a detector would see of them.
    """
    random = np.random.default_rng(seed)
    per_camera = -(-frames // cameras)
    moods = [autoregressive(random, per_camera, memory) for _ in range(cameras)]
    rows = [_row(random, index, cameras, moods[index % cameras][index // cameras], (light, blur, score, extra))
            for index in range(frames)]  # fmt: skip
    for index, row in enumerate(rows):
        row |= {"frame_id": f"{seed:04x}{index:012x}", "time": start + timedelta(seconds=index / 4)}
        row |= {"artifact_id": artifact_id, "width": SIZE, "height": SIZE, "image": None}
    return table_of(rows)


def table_of(rows: list[dict]) -> pa.Table:
    """Rows as an inference log; latencies are zero."""
    latencies = dict.fromkeys(("preprocess_ms", "inference_ms", "postprocess_ms"), 0.0)
    return pa.Table.from_pylist([latencies | row for row in rows], schema=LOG_SCHEMA)


def write_log(table: pa.Table, folder: Path) -> Path:
    """Write a log where the device would."""
    for camera in table.column("camera").unique().to_pylist():
        rows = table.filter(pc.equal(table.column("camera"), camera))
        first = rows.column("time")[0].as_py()
        target = folder / partition(first, camera)
        target.mkdir(parents=True, exist_ok=True)
        pq.write_table(rows, target / f"{first:%H%M%S}.parquet")
    return folder


def logged_frame(frame_id: str, time: datetime, boxes: list[dict], image: str = "stored.jpg") -> dict:
    """One row with the given boxes."""
    return {
        "frame_id": frame_id, "camera": "cam1", "time": time, "artifact_id": "a" * 12, "width": SIZE, "height": SIZE,
        "brightness": 110.0, "contrast": 40.0, "sharpness": 300.0, "boxes": boxes,
        "thresholds": [0.5, 0.5, 0.5, 0.5], "image": image,
    }  # fmt: skip


def _row(random: np.random.Generator, index: int, cameras: int, mood: float, shift: tuple[float, ...]) -> dict:
    camera = index % cameras
    light, blur, score, extra = shift
    boxes = random.poisson(1.5 + 0.3 * mood * (mood > 0) + extra)
    return {
        "camera": f"cam{camera + 1}",
        "brightness": 110 + 12 * camera + 8 * (mood - light) + random.normal(),
        "contrast": 40 + 4 * camera + 3 * mood + random.normal(),
        "sharpness": 300 + 60 * camera + 40 * (mood - blur) + 10 * random.normal(),
        "boxes": [_box(random, mood, score) for _ in range(boxes)],
        "thresholds": [0.25, 0.25, 0.3, 0.2],
    }


def _box(random: np.random.Generator, mood: float, score: float) -> dict:
    x, y = random.uniform(0, SIZE - 80, 2)
    width, height = random.uniform(10, 80, 2)
    confidence = float(np.clip(random.beta(5, 2) + 0.03 * mood - score, 0.05, 0.99))
    class_id = int(random.choice(4, p=[0.5, 0.3, 0.18, 0.02]))
    return {"x1": x, "y1": y, "x2": x + width, "y2": y + height, "score": confidence, "class_id": class_id}
