"""Stage labels: chosen frames go to the queue where people label, and come back with their answers.

`queue.kind` says which queue: files under `var/queue`, or a Label Studio server. Both are used through
`edgeloop.labelling.Queue`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from edgeloop.artifact import Artifact
from edgeloop.config import Config
from edgeloop.errors import BadInput
from edgeloop.file_queue import FileQueue, SimulatedLabeler
from edgeloop.files import write_bytes
from edgeloop.frames import frame_id
from edgeloop.labelling import PullReport, PushReport, Queue, QueueStatus, queue_tasks
from edgeloop.log_slice import LogSlice, image_place
from edgeloop.progress import bar
from edgeloop.selection import Selection
from tasks.stage import stage


def open_queue(config: Config) -> Queue:
    """The queue that the configuration names.

    Raises:
        BadInput: Label Studio is not there, or its key is missing or wrong.
    """
    if config.queue.kind == "label-studio":
        from tasks.label_studio import open_label_studio

        return open_label_studio(config)
    return FileQueue(config.workspace.queue / quote(config.queue.project, safe=" "))


@stage(cache=False)
def push_labels(selection: Selection, window: LogSlice, artifact: Artifact, config: Config) -> PushReport:
    """Put the chosen frames into the queue with the detector's boxes on them; what is there stays as it is.

    Raises:
        BadInput: a chosen frame or its image is gone, or the queue cannot be used.
    """
    log = window.model_copy(update={"artifact_id": artifact.id}).read()
    images = find_images(selection, log, config.workspace.store, config.workspace.var / "frames")
    with open_queue(config) as queue:
        return queue.push(queue_tasks(selection, log, images), artifact.names)


@stage(cache=False)
def simulate_labels(truth: Path, config: Config) -> int:
    """Answer what waits in the file queue from a folder of true labels; how many frames were answered.

    Raises:
        BadInput: the queue is not the file queue, or the folder is no labelled set.
    """
    queue = open_queue(config)
    if not isinstance(queue, FileQueue):
        raise BadInput(f"Only the file queue is answered by simulation; queue.kind is {config.queue.kind}.")
    labeler = SimulatedLabeler(truth)
    waiting = queue.waiting()
    for task in bar(waiting, "simulated labeler", len(waiting)):
        queue.answer(labeler.answer(task))
    return len(waiting)


@stage(cache=False)
def pull_labels(config: Config) -> PullReport:
    """What people changed since the last acknowledged pull. Repeats itself until `acknowledge_labels`."""
    with open_queue(config) as queue:
        return queue.pull()


@stage(cache=False)
def acknowledge_labels(report: PullReport, config: Config) -> None:
    """Say that the labels of this report are in the data set: the next pull brings only what changed after it."""
    with open_queue(config) as queue:
        queue.acknowledge(report)


@stage(cache=False)
def labels_status(config: Config) -> QueueStatus:
    """How far the queue is."""
    with open_queue(config) as queue:
        return queue.status()


def find_images(selection: Selection, log: pa.Table, store: str, folder: Path) -> dict[str, Path]:
    """The image file of each chosen frame on this machine; images in a remote store are fetched into `folder`.

    The log names images relative to the store.

    Raises:
        BadInput: an image is missing or is not the one that was logged.
    """
    rows = log.select(["frame_id", "image", "kept"]).to_pylist()
    logged = {row["frame_id"]: row for row in rows if row["image"]}
    wanted = [chosen.frame_id for chosen in selection.frames if chosen.frame_id in logged]
    return {key: _image(key, logged[key], store, folder) for key in bar(wanted, "frames", len(wanted))}


def _image(key: str, row: Mapping[str, Any], store: str, folder: Path) -> Path:
    image, place = row["image"], image_place(row["image"], store)
    content = _read(key, place)
    named_by_content = row["kept"] is None  # a device names a frame before it becomes a file
    if named_by_content and frame_id(content) != key:
        raise BadInput(f"{place} is not the image of frame {key}: its content has changed. Restore it or choose again.")
    if "://" not in place:
        return Path(place)
    path = folder / f"{key}{Path(image).suffix}"
    write_bytes(path, content)
    return path


def _read(key: str, place: str) -> bytes:
    import fsspec

    try:
        with fsspec.open(place, "rb") as handle:
            content: bytes = handle.read()
            return content
    except OSError as error:
        raise BadInput(
            f"The image of frame {key} cannot be read: {place} ({error}). Restore it or choose again."
        ) from error
