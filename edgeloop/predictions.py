"""What an artifact saw on the frames of an audit set: Parquet, one row a detection, class ids of the artifact."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from edgeloop.artifact import Artifact
from edgeloop.audit import AuditFrames
from edgeloop.boxes import Detections
from edgeloop.errors import BadInput
from edgeloop.files import atomic_file

BOX_COLUMNS = ("x1", "y1", "x2", "y2")
SCHEMA = pa.schema(
    [("frame_id", pa.string()), ("class_id", pa.int32()), ("score", pa.float32())]
    + [(column, pa.float32()) for column in BOX_COLUMNS]
)


def predictions_path(artifact: Artifact, audit: AuditFrames, out: Path) -> Path:
    """Where the detections of an artifact on these frames lie."""
    return out / f"{artifact.id}-{audit.name}-{audit.digest[:8]}.parquet"


def save_predictions(path: Path, artifact: Artifact, audit: AuditFrames, detections: Sequence[Detections]) -> None:
    """Write one row a detection; the file says which artifact saw them on which frames."""
    counts = [len(seen) for seen in detections]
    everything = [Detections.empty(), *detections]
    boxes = np.concatenate([seen.boxes for seen in everything])
    columns = [
        pa.array(np.repeat(np.asarray(audit.ids, np.str_), np.asarray(counts, np.int64)), pa.string()),
        pa.array(np.concatenate([seen.classes for seen in everything]), pa.int32()),
        pa.array(np.concatenate([seen.scores for seen in everything]), pa.float32()),
        *(pa.array(np.ascontiguousarray(boxes[:, side]), pa.float32()) for side in range(4)),
    ]
    metadata = {"artifact": artifact.id, "audit_digest": audit.digest, "names": json.dumps(artifact.names)}
    with atomic_file(path) as temporary:
        pq.write_table(pa.table(columns, schema=SCHEMA.with_metadata(metadata)), temporary, compression="zstd")


def load_predictions(path: Path, artifact_id: str, audit: AuditFrames) -> list[Detections]:
    """The detections of each frame of `audit`, class ids of the artifact.

    Raises:
        BadInput: the file is missing or broken, or another artifact or other frames made it.
    """
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise BadInput(f"{path} cannot be read as predictions ({error}); evaluate again.") from error
    made = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    if (made.get("artifact"), made.get("audit_digest")) != (artifact_id, audit.digest):
        raise BadInput(
            f"{path}: expected predictions of {artifact_id} on frames {audit.digest}, came those of "
            f"{made.get('artifact')} on {made.get('audit_digest')}; evaluate again."
        )
    return _by_frame(table, audit.ids)


def _by_frame(table: pa.Table, ids: Sequence[str]) -> list[Detections]:
    index = {frame_id: number for number, frame_id in enumerate(ids)}
    frames = np.array([index[frame_id] for frame_id in table["frame_id"].to_pylist()], np.int64)
    boxes = np.stack([table[column].to_numpy() for column in BOX_COLUMNS], axis=1)
    scores, classes = table["score"].to_numpy(), table["class_id"].to_numpy().astype(np.int64)
    cuts = np.searchsorted(frames, np.arange(len(ids) + 1))
    return [Detections(boxes[a:b], scores[a:b], classes[a:b]) for a, b in pairwise(cuts)]


def renumber(detections: Sequence[Detections], names: Sequence[str], scored: Sequence[str]) -> list[Detections]:
    """The same detections with class ids as in `scored`; those of classes that are not scored are left out."""
    ids = np.array([list(scored).index(name) if name in scored else -1 for name in names], np.int64)
    moved = [Detections(seen.boxes, seen.scores, ids[seen.classes]) for seen in detections]
    return [seen.select(seen.classes >= 0) for seen in moved]
