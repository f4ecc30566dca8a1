"""Stage infer: a recorded stream goes through the artifact as it would on the device, and into the inference log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from edgeloop.artifact import Artifact
from edgeloop.card import DeviceProfile
from edgeloop.config import Config
from edgeloop.edge.benchmark import latency
from edgeloop.edge.detector import Detector, Inference
from edgeloop.edge.frame import decode_image
from edgeloop.edge.log import LogWriter, run_id
from edgeloop.edge.log_schema import InferenceRecord
from edgeloop.edge.sources import list_frames
from edgeloop.errors import BadInput
from edgeloop.evaluation import open_for
from edgeloop.formats.names import camera_and_time
from edgeloop.frames import frame_id
from edgeloop.measures import Latency
from edgeloop.progress import bar
from edgeloop.record import Record
from edgeloop.store import LOG, FrameStore
from tasks.stage import stage


class InferenceRun(Record):
    """What one run of a stream through an artifact left behind.

    Attributes:
        artifact_id: which artifact.
        runtime: which runtime it ran in.
        run: name of the run's files in the log; the same stream and artifact have the same.
        log: URL of the log.
        since, until: the frames' times, from the first (included) to just after the last (excluded), UTC.
        cameras: those that the frames came from.
        frames: how many were logged.
        detections: how many of their boxes reached the artifact's thresholds.
        skipped: one sentence for each file that is no usable image.
        latency: image to boxes, on this machine.
        files: the log's files when the store is on this machine.
    """

    artifact_id: str
    runtime: str
    run: str
    log: str
    since: datetime
    until: datetime
    cameras: tuple[str, ...]
    frames: int
    detections: int
    skipped: tuple[str, ...]
    latency: Latency
    files: tuple[Path, ...]


@stage(reads=("stream",))
def infer(artifact: Artifact, stream: Path, config: Config, profile: DeviceProfile) -> InferenceRun:
    """Detect on every frame of a folder and write the inference log `<store>/log`; frames are kept in the store.

    Running the same frames through the same artifact again replaces the rows, never repeats them.

    Args:
        artifact: what runs.
        stream: a folder of images, or one with a folder `images` in it. A file name carries camera and time:
            `cam1_20260301T081500.250Z.jpg`; without, the camera is "unknown" and the time the file's own.
        config: names the store.
        profile: names the runtimes and threads.

    Raises:
        BadInput: no such folder, no usable image in it, or an artifact that does not run.
    """
    artifact.verify()
    frames = list_frames(stream)
    url = f"{config.workspace.store.rstrip('/')}/{LOG}"
    store = FrameStore(config.workspace.store)
    run = run_id(artifact.sha256, *(f"{path.name} {path.stat().st_size}" for path in frames))
    runtime = open_for(artifact, profile)
    tally = Tally(artifact)
    with LogWriter(url, run) as writer:
        for record in _replay(Detector(artifact, runtime), frames, store, tally.skipped):
            writer.append(record)
            tally.add(record)
    runtime.close()
    if not tally.times:
        raise BadInput(f"{stream} holds no usable image: {tally.skipped[0]}")
    return InferenceRun(
        artifact_id=artifact.id,
        runtime=runtime.name,
        run=run,
        log=url,
        since=min(tally.times),
        until=max(tally.times) + timedelta(microseconds=1),
        cameras=tuple(sorted(tally.cameras)),
        frames=len(tally.times),
        detections=tally.detections,
        skipped=tuple(tally.skipped),
        latency=latency(tally.milliseconds),
        files=() if "://" in url else tuple(Path(file) for file in writer.files),
    )


@dataclass
class Tally:
    """What is counted while a stream runs; the records themselves are in the log, not in memory."""

    artifact: Artifact
    times: list[datetime] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)
    cameras: set[str] = field(default_factory=set)
    detections: int = 0
    skipped: list[str] = field(default_factory=list)

    def add(self, record: InferenceRecord) -> None:
        """Count one record."""
        self.times.append(record.time)
        self.milliseconds.append(record.inference.timing.total)
        self.cameras.add(record.camera)
        self.detections += len(record.inference.detections.above(self.artifact.thresholds))


def _replay(
    detector: Detector, frames: Sequence[Path], store: FrameStore, skipped: list[str]
) -> Iterator[InferenceRecord]:
    for path in bar(frames, "infer", len(frames)):
        content = path.read_bytes()
        try:
            found = detector.detect(decode_image(content, str(path)))
        except BadInput as error:
            skipped.append(str(error))
            continue
        identity = frame_id(content)
        store.put(identity, path.suffix.lower(), content)
        yield _record(detector.artifact, found, path, identity, store)


def _record(artifact: Artifact, found: Inference, path: Path, identity: str, store: FrameStore) -> InferenceRecord:
    camera, time = camera_and_time(path)
    kept = "/".join(store.find(identity).rsplit("/", 3)[1:])  # frames/<aa>/<frame_id>.jpg, relative to the store
    return InferenceRecord(identity, camera, time, artifact.id, found, artifact.thresholds, kept)
