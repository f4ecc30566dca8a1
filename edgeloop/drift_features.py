"""What of a frame is watched for drift: image statistics, how many boxes, how sure, how large, of which class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from edgeloop.errors import BadInput

Values = npt.NDArray[np.float64]

STATISTICS = ("brightness", "contrast", "sharpness")
NEEDED = (*STATISTICS, "artifact_id", "boxes", "camera", "height", "time", "width")
MAXIMUM_MISSING = 0.05  # share of rows without an image statistic; above it the log is broken, not the scene
MAXIMUM_CLASSES = 8
MINIMUM_CLASS_SHARE = 0.05  # of the reference's frames that show the class; rarer ones say nothing in 200 frames


@dataclass(frozen=True)
class Features:
    """Frames in order of time, as columns.

    Attributes:
        camera: (N,) names.
        time: (N,) datetime64[us], UTC.
        columns: (N,) float64 each; NaN where a frame has no such value (no box, so no mean score).
    """

    camera: npt.NDArray[np.object_]
    time: npt.NDArray[np.datetime64]
    columns: dict[str, Values]

    def __len__(self) -> int:
        return len(self.camera)

    def rows(self, keep: Any) -> Features:
        """The frames of a slice, a mask or indices."""
        columns = {name: values[keep] for name, values in self.columns.items()}
        return Features(self.camera[keep], self.time[keep], columns)

    def newest(self, count: int) -> Features:
        """The last `count` frames."""
        return self.rows(slice(max(0, len(self) - count), None))

    def only(self, cameras: Sequence[str]) -> Features:
        """The frames of these cameras."""
        return self.rows(np.isin(self.camera.astype(str), list(cameras)))

    def matching(self, counts: dict[str, int]) -> Features:
        """As many frames as there are with the cameras in the proportion of `counts`, the newest of each."""
        have = {camera: int((self.camera == camera).sum()) for camera in counts}
        scale = min(have[camera] / count for camera, count in counts.items())
        keep = [np.flatnonzero(self.camera == camera)[-max(1, int(scale * n)) :] for camera, n in counts.items()]
        return self.rows(np.sort(np.concatenate(keep)))

    def series(self, name: str, parts: Sequence[npt.NDArray[np.int64]]) -> list[Values]:
        """The finite values of a column, for each part of the rows."""
        values = self.columns[name]
        return [values[rows][np.isfinite(values[rows])] for rows in parts]


def thin(frames: Features, stride: int) -> Features:
    """Every `stride`-th frame of each camera."""
    kept = [np.flatnonzero(frames.camera == camera)[::stride] for camera in sorted(set(frames.camera.tolist()))]
    return frames.rows(np.sort(np.concatenate(kept))) if kept else frames


def frequent_classes(table: pa.Table) -> tuple[int, ...]:
    """Class ids seen in at least 5 % of the frames, the most frequent first, at most 8."""
    check_columns(table, "reference")
    frame, boxes = flatten_boxes(table)
    pairs = np.unique(np.stack([boxes["class_id"].astype(np.int64), frame]), axis=1)
    ids, counts = np.unique(pairs[0], return_counts=True)
    order = np.lexsort((ids, -counts))
    return tuple(int(ids[i]) for i in order if counts[i] >= MINIMUM_CLASS_SHARE * len(table))[:MAXIMUM_CLASSES]


def features(table: pa.Table, classes: Sequence[int], name: str) -> Features:
    """The watched columns of an inference log, in order of time.

    Args:
        table: rows of the inference log; boxes as logged, down to the log's floor.
        classes: class ids that get a column of their own.
        name: what to call the table in an error.

    Raises:
        BadInput: a column is missing, or an image statistic is missing in more than 5 % of the rows.
    """
    check_columns(table, name)
    table = table.sort_by([("time", "ascending"), ("camera", "ascending")])
    columns = {statistic: _statistic(table, statistic, name) for statistic in STATISTICS}
    columns |= _box_columns(table, classes)
    camera = np.array(table.column("camera").to_pylist(), dtype=object)
    time = np.array(table.column("time").cast(pa.timestamp("us")).to_numpy(), dtype="datetime64[us]")
    return Features(camera, time, columns)


def check_columns(table: pa.Table, name: str) -> None:
    """Refuse a table that lacks a needed column.

    Raises:
        BadInput: naming every missing column.
    """
    missing = sorted(set(NEEDED) - set(table.column_names))
    if missing:
        raise BadInput(f"The {name} lacks {', '.join(missing)}; expected rows of edgeloop's inference log.")


def _statistic(table: pa.Table, column: str, name: str) -> Values:
    values: Values = pc.fill_null(table.column(column).cast(pa.float64()), float("nan")).to_numpy().astype(np.float64)
    values[~np.isfinite(values)] = np.nan
    share = float(np.isnan(values).mean()) if values.size else 0.0
    if share > MAXIMUM_MISSING:
        raise BadInput(
            f"{column} is missing in {share:.0%} of the {name}'s rows; expected at most {MAXIMUM_MISSING:.0%}. "
            "Repair the device's log before judging drift."
        )
    return values


def flatten_boxes(table: pa.Table) -> tuple[npt.NDArray[np.int64], dict[str, Values]]:
    """The row of each box and the boxes' fields, (M,) each."""
    boxes = table.column("boxes").combine_chunks()
    if isinstance(boxes, pa.ChunkedArray):
        boxes = pa.concat_arrays(boxes.chunks) if boxes.num_chunks else pa.array([], boxes.type)
    lengths = pc.fill_null(pc.list_value_length(boxes), 0).to_numpy().astype(np.int64)
    flat = boxes.flatten()
    fields = {name: flat.field(name).to_numpy(zero_copy_only=False).astype(np.float64) for name in BOX_FIELDS}
    return np.repeat(np.arange(len(table)), lengths), fields


BOX_FIELDS = ("x1", "y1", "x2", "y2", "score", "class_id")


def _box_columns(table: pa.Table, classes: Sequence[int]) -> dict[str, Values]:
    frame, boxes = flatten_boxes(table)
    rows = len(table)
    size = (table.column(side).to_numpy().astype(np.float64)[frame] for side in ("width", "height"))
    shares = (boxes["x2"] - boxes["x1"]) * (boxes["y2"] - boxes["y1"]) / np.prod(list(size), axis=0)
    count = np.bincount(frame, minlength=rows).astype(np.float64)
    highest = np.zeros(rows)
    np.maximum.at(highest, frame, boxes["score"])
    columns = {
        "detections": count,
        "maximum_score": highest,
        "mean_score": _mean(frame, boxes["score"], count),
        "mean_box_area": 100 * _mean(frame, shares, count),  # percent, so that small boxes stay above MINIMUM_NORM
    }
    for class_id in classes:
        mine = frame[boxes["class_id"] == class_id]
        columns[f"detections_of_class_{class_id}"] = np.bincount(mine, minlength=rows).astype(np.float64)
    return columns


def _mean(frame: npt.NDArray[np.int64], values: Values, count: Values) -> Values:
    """Mean per frame, NaN for a frame without boxes."""
    total = np.bincount(frame, weights=values, minlength=count.size)
    mean: Values = np.divide(total, count, out=np.full(count.size, np.nan), where=count > 0)
    return mean
