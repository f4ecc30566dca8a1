"""The agent in this process, over folders and cameras, with a real detector, log and spool."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeloop.artifact import Artifact
from edgeloop.edge.agent import FAILURES_IN_A_ROW, Agent
from edgeloop.edge.detector import Inference
from edgeloop.edge.flags import flag_now, read_flags, write_flag
from edgeloop.edge.frame import Image
from edgeloop.edge.keep import parse_keep
from edgeloop.edge.live import LiveSource
from edgeloop.edge.log import read_log
from edgeloop.edge.model import FixedModel, detectors, read_artifact
from edgeloop.edge.picture import VideoFile, Window, draw
from edgeloop.edge.recorder import Recorder
from edgeloop.edge.retention import Retention
from edgeloop.edge.sources import FolderSource, Source
from edgeloop.errors import BadInput, EdgeloopError
from edgeloop.frames import frame_id
from tests.cameras import FakeCamera, picture
from tests.edgeloop.edge.test_sources import write_images

Make = Callable[..., Artifact]
BUDGET = 10**8


class Place:
    """A device folder and a store."""

    def __init__(self, path: Path) -> None:
        self.device, self.store, self.said = path / "device", path / "store", list[str]()

    def agent(self, source: Source, artifact: Artifact, batch: int = 1, keep: Retention | None = None) -> Agent:
        model = FixedModel(artifact, detectors("onnxruntime", 1, batch))
        recorder = Recorder(self.device, "run", str(self.store), keep or Retention(), BUDGET)
        return Agent(source, model, recorder, self.said.append)

    def rows(self) -> list[dict]:
        return read_log(f"{self.store}/log").to_pylist()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.mark.parametrize("batch", [1, 4])
def test_every_image_is_a_row_of_the_store(place: Place, colour_artifact: Make, tmp_path: Path, batch: int) -> None:
    """Identity, camera, time, boxes and thresholds of six images arrive, in batches that do not divide six too."""
    artifact = colour_artifact(64, batch)
    paths = write_images(tmp_path / "images", 6)
    agent = place.agent(FolderSource(tmp_path / "images", pytest.fail), artifact, batch, parse_keep(["all"]))
    agent.run()
    status = agent.close(10)
    rows = place.rows()
    assert [row["frame_id"] for row in rows] == [frame_id(path.read_bytes()) for path in paths]
    assert [row["camera"] for row in rows] == [f"cam{n}" for n in range(6)]
    assert all(row["boxes"][0]["score"] > 0.99 and row["artifact_id"] == artifact.id for row in rows)
    assert all((place.store / row["image"]).is_file() for row in rows)
    assert (status.frames, status.detections, status.rows_flushed, status.spool_files) == (6, 6, 6, 0)
    assert status.problems == ()


def test_a_flag_keeps_the_image_of_a_frame_that_is_gone_by(place: Place, colour_artifact: Make) -> None:
    """An operator flags a frame seconds later, from another process: flag and image arrive, the row names the image."""
    camera = FakeCamera(rate=50)
    source = LiveSource("cam1", camera.connect, "run", place.said.append)
    agent = place.agent(source, colour_artifact(64), keep=parse_keep(["none,recent=500"]))
    flagged: list[str] = []

    class FlagsSoon:
        def show(self, _: Image) -> bool:
            if agent.meter.frames == 10:
                rows = [record.frame_id for record, _ in agent.recorder.keeper._recent.values()]
                flagged.append(rows[0])
                write_flag(place.device, flag_now(rows[0], "missed"))
            return not (flagged and agent.recorder.keeper.written)

        def close(self) -> None: ...

    agent._screens = [FlagsSoon()]
    agent.run(max_frames=1000)
    agent.close(10)
    (row,) = [row for row in place.rows() if row["image"]]
    assert (row["frame_id"], row["kept"]) == (flagged[0], "flagged")
    assert (place.store / row["image"]).is_file()
    assert [flag.frame_id for flag in read_flags(str(place.store))] == flagged


def test_a_camera_of_empty_frames_is_no_end(place: Place, colour_artifact: Make) -> None:
    """A driver that hands out 0x0 frames, and one of 16 bits: empty ones are skipped and counted, the rest goes on."""

    class FakeOddCamera(FakeCamera):
        def read(self) -> np.ndarray | None:
            image = super().read()
            odd = [np.zeros((0, 0, 3), np.uint8), picture(1).astype(np.uint16) * 257, picture(2)[:, :, 0], image]
            return None if image is None else odd[self.given % 4]

    source = LiveSource("cam1", FakeOddCamera(rate=100).connect, "run", place.said.append)
    agent = place.agent(source, colour_artifact(64))
    agent.run(max_frames=12)
    status = agent.close(10)
    assert status.frames == status.rows_flushed == 12
    assert status.skipped >= 3
    assert "0x0" in place.said[0]


class FakeBrokenModel(FixedModel):
    """A real detector whose runtime fails on the frames that `fails` says."""

    def __init__(self, artifact: Artifact, fails: Callable[[int], bool]) -> None:
        super().__init__(artifact, detectors("onnxruntime", 1, 1))
        self.fails, self.calls = fails, 0

    def detect_batch(self, images: Sequence[Image]) -> list[Inference]:
        self.calls += 1
        if self.fails(self.calls):
            raise RuntimeError("device lost")
        return super().detect_batch(images)


def test_a_runtime_that_fails_now_and_then_is_counted(place: Place, colour_artifact: Make, tmp_path: Path) -> None:
    """Frames without an answer have no row; the others do."""
    write_images(tmp_path / "images", 6)
    agent = place.agent(FolderSource(tmp_path / "images", pytest.fail), colour_artifact(64))
    agent.model = FakeBrokenModel(colour_artifact(64), lambda call: call % 3 == 0)
    agent.run()
    status = agent.close(10)
    assert (status.frames, status.errors, len(place.rows())) == (4, 2, 4)


def test_a_runtime_that_only_fails_ends_the_run(place: Place, colour_artifact: Make) -> None:
    """Thirty batches in a row without an answer: the agent ends with an error instead of pretending."""
    source = LiveSource("cam1", FakeCamera(rate=500).connect, "run", place.said.append)
    agent = place.agent(source, colour_artifact(64))
    agent.model = FakeBrokenModel(colour_artifact(64), lambda call: call > 5)
    with pytest.raises(EdgeloopError, match=f"failed {FAILURES_IN_A_ROW} times in a row: device lost"):
        agent.run()
    assert agent.close(10).rows_flushed == 5


def test_the_loop_does_not_wait_for_a_store_that_is_away(place: Place, colour_artifact: Make) -> None:
    """A store that cannot be written: frames go on, everything waits in the spool, the status says why."""
    place.store.write_text("a file where the store's folder should be")
    source = LiveSource("cam1", FakeCamera(rate=200).connect, "run", place.said.append)
    agent = place.agent(source, colour_artifact(64), keep=parse_keep(["all"]))
    agent.run(max_frames=50)
    time.sleep(0.2)
    status = agent.close(0.5)
    assert (status.frames, status.rows_lost, status.uploaded) == (50, 0, 0)
    assert status.spool_files > 0
    place.store.unlink()
    later = place.agent(LiveSource("cam1", FakeCamera().connect, "run2", place.said.append), colour_artifact(64))
    later.close(20)
    assert len(place.rows()) == 50


def test_annotated_video(place: Place, colour_artifact: Make, tmp_path: Path) -> None:
    """The video appears at the end, with every frame and its boxes."""
    write_images(tmp_path / "images", 5)
    agent = place.agent(FolderSource(tmp_path / "images", pytest.fail), colour_artifact(64))
    target = tmp_path / "seen.mp4"
    agent._screens = [VideoFile(target, 10)]
    agent.run()
    assert not target.exists()
    agent.close(10)
    video = cv2.VideoCapture(str(target))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 5
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_drawing_leaves_the_frame_alone(colour_artifact: Make) -> None:
    """The picture has boxes, the frame that is kept for training has none."""
    image, artifact = picture(3), colour_artifact(64)
    (found,) = FixedModel(artifact, detectors("onnxruntime", 1, 1)).detect_batch([image])
    drawn = draw(image, found.detections, artifact)
    assert np.array_equal(image, picture(3))
    assert not np.array_equal(drawn, image)


def test_what_cannot_be_shown_is_refused(tmp_path: Path) -> None:
    """No window in a headless OpenCV, no video of another format or in no folder: said before anything runs."""
    with pytest.raises(BadInput, match="leave --show out"):
        Window()
    for target in (tmp_path / "x.gif", tmp_path / "none" / "x.mp4"):
        with pytest.raises(BadInput, match=r"expected a \.mp4"):
            VideoFile(target, 10)


def test_keep_says_it_in_words() -> None:
    """Words name a policy together; what means nothing is refused with what would."""
    assert parse_keep([]) == Retention()
    assert parse_keep(["all"]).keep_all
    policy = parse_keep(["every=10,uncertain", "audit=0.5"])
    assert (policy.every, policy.uncertain, policy.audit, policy.keep_all) == (10, True, 0.5, False)
    assert (parse_keep(["none"]).every, parse_keep(["none"]).audit) == (None, 0)
    for words in (["some"], ["every"], ["every=x"], ["all=1"], ["audit=2"], ["every=0"], [""]):
        with pytest.raises(BadInput, match="--keep"):
            parse_keep(words)


def test_an_artifact_is_named_by_its_file_or_its_record(colour_artifact: Make, tmp_path: Path) -> None:
    """Both lead to the same artifact; anything else is refused."""
    artifact = colour_artifact(64)
    assert read_artifact(artifact.path).id == read_artifact(artifact.sidecar).id == artifact.id
    with pytest.raises(BadInput, match="does not exist"):
        read_artifact(tmp_path / "missing.onnx.json")
