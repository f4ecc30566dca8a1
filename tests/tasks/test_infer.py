"""A recorded stream through a real detector, into a log that can be read, once."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeloop.artifact import Artifact
from edgeloop.card import DeviceProfile
from edgeloop.config import Config
from edgeloop.edge.log import read_log
from edgeloop.errors import BadInput
from edgeloop.files import sha256
from edgeloop.formats.names import stamped_name
from edgeloop.frames import frame_id
from edgeloop.store import FrameStore
from tasks.infer import infer
from tests.edgeloop.edge.conftest import NAMES, write_colour_detector

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
PROFILE = DeviceProfile(name="here", runtimes=("onnxruntime",))
run = infer.fn


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    path = write_colour_detector(tmp_path / "colours.onnx", 64)
    return Artifact(path=path, sha256=sha256(path), precision="fp32", imgsz=64, names=NAMES, thresholds=(0.5, 0.5, 0.5))


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(root=tmp_path)


def write_stream(folder: Path, count: int = 6, seed: int = 0) -> list[Path]:
    """Frames of two cameras, a minute apart; number n has a red square at column 8 n."""
    (folder / "images").mkdir(parents=True)
    paths = []
    for number in range(count):
        image = np.random.default_rng(seed + number).integers(0, 20, (64, 64, 3)).astype(np.uint8)
        image[24:32, 8 * number : 8 * number + 8] = (0, 0, 255)
        name = stamped_name(f"cam{number % 2}", NOON + timedelta(minutes=number), ".png")
        paths.append(folder / "images" / name)
        cv2.imwrite(str(paths[-1]), image)
    return paths


def test_every_frame_is_a_row(artifact: Artifact, config: Config, tmp_path: Path) -> None:
    """Identity, camera, time, boxes, thresholds and the kept image of every frame are in the log."""
    paths = write_stream(tmp_path / "stream")
    done = run(artifact, tmp_path / "stream", config, PROFILE)
    rows = read_log(done.log, done.since, done.until, artifact.id).to_pylist()
    assert [row["frame_id"] for row in rows] == [frame_id(path.read_bytes()) for path in paths]
    assert [row["camera"] for row in rows] == ["cam0", "cam1"] * 3
    assert [row["time"] for row in rows] == [NOON + timedelta(minutes=n) for n in range(6)]
    assert [row["boxes"][0]["class_id"] for row in rows] == [0] * 6
    assert [row["boxes"][0]["x1"] for row in rows] == [max(8 * n - 4, 0) for n in range(6)]
    assert {tuple(row["thresholds"]) for row in rows} == {(0.5, 0.5, 0.5)}
    assert (done.frames, done.detections, done.cameras, done.skipped) == (6, 6, ("cam0", "cam1"), ())


def test_kept_image_is_the_frame(artifact: Artifact, config: Config, tmp_path: Path) -> None:
    """The log's `image`, relative to the store, is the file with the frame's id."""
    write_stream(tmp_path / "stream")
    done = run(artifact, tmp_path / "stream", config, PROFILE)
    for row in read_log(done.log).to_pylist():
        content = Path(config.workspace.store, row["image"]).read_bytes()
        assert frame_id(content) == row["frame_id"]
        assert FrameStore(config.workspace.store).get(row["frame_id"]) == content


def test_again_replaces_and_another_stream_adds(artifact: Artifact, config: Config, tmp_path: Path) -> None:
    """The same stream twice is the same rows in the same files; another stream's rows join them."""
    write_stream(tmp_path / "one")
    first = run(artifact, tmp_path / "one", config, PROFILE)
    second = run(artifact, tmp_path / "one", config, PROFILE)
    assert first.files == second.files
    assert all(path.is_file() for path in first.files)
    assert len(read_log(first.log)) == 6
    write_stream(tmp_path / "two", seed=100)
    assert run(artifact, tmp_path / "two", config, PROFILE).run != first.run
    assert len(read_log(first.log)) == 12


def test_unusable_file_is_skipped_and_named(artifact: Artifact, config: Config, tmp_path: Path) -> None:
    """A broken frame costs its row, not the run."""
    broken = write_stream(tmp_path / "stream")[2]
    broken.write_bytes(b"not an image")
    done = run(artifact, tmp_path / "stream", config, PROFILE)
    assert done.frames == 5
    assert len(done.skipped) == 1
    assert broken.name in done.skipped[0]


def test_stream_without_a_usable_frame_is_refused(artifact: Artifact, config: Config, tmp_path: Path) -> None:
    """A missing folder, an empty one, and one where nothing decodes are bad input."""
    (tmp_path / "empty").mkdir()
    for folder, reason in {"missing": "does not exist", "empty": "holds no frames"}.items():
        with pytest.raises(BadInput, match=f"{folder} {reason}: expected a folder with"):
            run(artifact, tmp_path / folder, config, PROFILE)
    for path in write_stream(tmp_path / "broken", 2):
        path.write_bytes(b"\xff\xd8\xff")
    with pytest.raises(BadInput, match="no usable image"):
        run(artifact, tmp_path / "broken", config, PROFILE)


def test_changed_artifact_is_refused(artifact: Artifact, config: Config, tmp_path: Path) -> None:
    """What runs is what was recorded, so that the log's artifact id means something."""
    write_stream(tmp_path / "stream")
    write_colour_detector(artifact.path, 32)
    with pytest.raises(BadInput, match="Export it again"):
        run(artifact, tmp_path / "stream", config, PROFILE)
