"""What an artifact says on unlabelled production frames: from frames, an inference log or a file of detections."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from edgeloop.artifact import Artifact
from edgeloop.drift_features import flatten_boxes
from edgeloop.edge.detector import LOG_FLOOR, Detector
from edgeloop.edge.frame import Image, decode_image
from edgeloop.edge.log import read_log
from edgeloop.edge.runtime import Runtime
from edgeloop.errors import BadInput
from edgeloop.evaluation import read_image
from edgeloop.formats.findings import printable
from edgeloop.formats.paths import require_images
from edgeloop.prior_shift import Production
from edgeloop.production_frames import ProductionFrames
from edgeloop.progress import bar
from edgeloop.store import FrameStore


def read_production(source: str, artifact: Artifact, runtime: Runtime) -> Production:
    """What this artifact says on production frames.

    Args:
        source: a folder of frames, which the artifact is run on; the folder or URL of an inference log; one Parquet
            file of it; or a Parquet file of detections with frame_id, class_id and score as `edgeloop evaluate` keeps
            it (frames without a detection are not in it).
        artifact: rows of others are left out; class ids are its own.
        runtime: that has loaded it.

    Raises:
        BadInput: it cannot be read, is none of these, or holds nothing of this artifact.
    """
    place = Path(source)
    if "://" not in source:
        _refuse_other(place)
        if place.is_dir() and not any(place.glob("date=*")):
            images = require_images(place)
            return _watch(map(read_image, images), len(images), artifact, runtime)
    table = _file(place) if source.endswith(".parquet") else read_log(source, artifact_id=artifact.id)
    if "artifact_id" in table.column_names:
        table = table.filter(pc.equal(table.column("artifact_id"), artifact.id))
    elif (made := (table.schema.metadata or {}).get(b"artifact", b"").decode()) not in ("", artifact.id):
        raise BadInput(f"{printable(source)} holds detections of {made}; expected those of {artifact.id} itself.")
    frames = len(pc.unique(table.column("frame_id")))
    if not frames:
        raise BadInput(
            f"{printable(source)} holds nothing that {artifact.id} saw; expected its own inference log: scores of "
            f"another artifact say nothing about this one."
        )
    return Production.of(artifact.names, frames, *_detections(table, artifact, source))


def _refuse_other(place: Path) -> None:
    if not place.is_dir() and not (place.is_file() and place.suffix == ".parquet"):
        came = "another file" if place.exists() else "nothing"
        raise BadInput(
            f"{printable(place)}: expected a folder of frames, the folder or URL of an inference log, or a .parquet "
            f"file of detections; came {came}."
        )


def watch_drawn(drawn: ProductionFrames, artifact: Artifact, runtime: Runtime) -> Production:
    """What the artifact sees on frames of a store.

    Raises:
        BadInput: the store no longer holds one of them, or refuses.
    """
    store = FrameStore(drawn.store)
    return _watch((decode_image(store.get(one), one) for one in drawn.frames), len(drawn.frames), artifact, runtime)


def _watch(images: Iterable[Image], count: int, artifact: Artifact, runtime: Runtime) -> Production:
    """What the artifact sees on so many images."""
    detector = Detector(artifact, runtime, LOG_FLOOR, statistics="never")
    seen = [detector.detect(image).detections for image in bar(images, "production frames", count)]
    classes, scores = (np.concatenate([getattr(one, key) for one in seen]) for key in ("classes", "scores"))
    return Production.of(artifact.names, count, classes, scores)


def _file(path: Path) -> pa.Table:
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise BadInput(f"{printable(path)} cannot be read as production detections ({error}).") from error
    columns = set(table.column_names)
    if not ({"frame_id", "class_id", "score"} <= columns or {"frame_id", "artifact_id", "boxes"} <= columns):
        raise BadInput(
            f"{printable(path)}: expected a Parquet file of an inference log, or of detections with frame_id, class_id "
            f"and score; came the columns {', '.join(sorted(columns))}."
        )
    return table


def _detections(table: pa.Table, artifact: Artifact, source: str) -> tuple[np.ndarray, np.ndarray]:
    """Class ids (N,) and scores (N,) of all rows.

    Raises:
        BadInput: they are no such thing.
    """
    try:
        boxes = flatten_boxes(table)[1] if "boxes" in table.column_names else table
        classes, scores = (np.asarray(boxes[name]) for name in ("class_id", "score"))
    except (pa.ArrowException, KeyError) as error:
        raise BadInput(f"{printable(source)}: expected the boxes of an inference log ({error}).") from error
    numbers = {classes.dtype.kind, scores.dtype.kind} <= set("iuf")  # a missing class id makes its column floats
    if not numbers or not np.all(
        (classes % 1 == 0) & (classes >= 0) & (classes < len(artifact.names)) & (scores >= 0) & (scores <= 1)
    ):
        raise BadInput(
            f"{printable(source)}: expected class ids from 0 to {len(artifact.names) - 1} and scores from 0 to 1 in "
            f"every row; came others. Give what {artifact.id} itself said."
        )
    return classes.astype(np.int64), scores
