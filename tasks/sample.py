"""Stage sample: spend the label budget on the frames of a log that are worth it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.compute as pc

from edgeloop.artifact import Artifact
from edgeloop.config import Config
from edgeloop.errors import BadInput
from edgeloop.file_systems import said_plainly
from edgeloop.formats.images import MAXIMUM_BYTES, ImageFacts, inspect_content
from edgeloop.log_slice import LogSlice, image_place
from edgeloop.selection import Known, Selection, select
from edgeloop.store import FrameStore
from tasks.stage import stage

IMAGES_READ = 20  # stored images that are looked at, for each frame of the budget: a minute for 200 on a slow store


@stage(cache=False)
def sample(window: LogSlice, artifact: Artifact, known: Known, config: Config) -> Selection:
    """Choose frames to label from a part of the log.

    A choice once made for a closed window, an artifact and a budget stands: its record lies under `var/selections`,
    and a run that was killed after it began to fill the queue goes on with the same frames instead of choosing others.
    A window without an end grows, so there the choice stands until something of it is queued.

    Raises:
        BadInput: the log is missing, broken or another artifact's, the store refuses, or no frame can be labelled.
    """
    path = selection_path(window, artifact, known, config)
    if path.is_file():
        return Selection.load(path)
    log = window.model_copy(update={"artifact_id": artifact.id}).read()
    hashes = StoredHashes(log, config.workspace.store, IMAGES_READ * config.sampling.budget)
    frames = select(log, artifact.thresholds, config.sampling, known, hashes)
    if not frames:
        raise BadInput(
            f"None of the {len(log)} logged frames can be labelled: all are labelled or queued, or the device stored "
            "no image of them. Choose a later window, or store frames on the device."
        )
    taken = set(known.taken)
    candidates = {frame_id for frame_id in log.column("frame_id").to_pylist() if frame_id not in taken}
    chosen = Selection(
        artifact_id=artifact.id,
        budget=config.sampling.budget,
        candidates=len(candidates),
        frames=frames,
        path=path,
    )
    chosen.save(path)
    return chosen


def selection_path(window: LogSlice, artifact: Artifact, known: Known, config: Config) -> Path:
    """Where the choice for this window, artifact and budget lies."""
    taken = "" if window.until else known.to_json()
    asked = f"{window.to_json()}{artifact.id}{config.sampling.model_dump_json()}{taken}"
    return config.workspace.var / "selections" / f"{hashlib.sha256(asked.encode()).hexdigest()[:16]}.json"


class StoredHashes:
    """Perceptual hashes of logged frames: from the store's catalogue, else of a stored image, of some at most.

    None is what nobody can tell: a flat picture, an image that is gone or damaged, or one too many to read.
    """

    def __init__(self, log: pa.Table, store: str, images: int) -> None:
        """Read what the catalogue knows of the frames of the log; `images` more may be looked at.

        Raises:
            BadInput: the store refuses, or its catalogue is damaged.
        """
        self._store, self._left = store, images
        with said_plainly(store):
            catalogue = FrameStore(store).catalogue.read(["frame_id", "perceptual_hash"])
        known = catalogue.filter(pc.is_in(catalogue.column("frame_id"), log.column("frame_id")))
        self._known: dict[str, int | None] = dict(zip(*known.to_pydict().values(), strict=True))
        logged = log.filter(pc.is_valid(log.column("image"))).select(["frame_id", "image"])
        self._images: dict[str, str] = dict(zip(*logged.to_pydict().values(), strict=True))

    def __call__(self, frame_id: str) -> int | None:
        """The hash of one frame, by its id.

        Raises:
            BadInput: the store refuses.
        """
        if frame_id in self._known or frame_id not in self._images or not self._left:
            return self._known.get(frame_id)
        self._left -= 1
        place = image_place(self._images[frame_id], self._store)
        with said_plainly(self._store):
            facts = inspect_content(Path(place), _content(place))
        return facts.perceptual_hash if isinstance(facts, ImageFacts) else None


def _content(place: str) -> bytes:
    """The bytes of a file, none when it is gone: whoever needs it later says so."""
    try:
        with fsspec.open(place, "rb") as file:
            content: bytes = file.read(MAXIMUM_BYTES)
    except FileNotFoundError:
        return b""
    return content
