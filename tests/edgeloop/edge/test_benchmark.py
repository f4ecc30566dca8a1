"""The benchmark: reports that add up, lanes that take turns, memory of a process that holds nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeloop.artifact import Artifact
from edgeloop.card import DeviceProfile, load_yaml
from edgeloop.edge import benchmark as module
from edgeloop.edge.benchmark import Lane, benchmark, compare, latency
from edgeloop.edge.detector import Detector
from edgeloop.edge.memory import measure_memory
from edgeloop.edge.runtime import open_runtime
from edgeloop.errors import BadInput
from edgeloop.files import sha256

Make = Callable[..., Artifact]
PROFILE = DeviceProfile(name="here", timed_frames=100)
IMAGES = [np.random.default_rng(seed).integers(0, 256, (80, 100, 3), np.uint8) for seed in range(3)]


@pytest.fixture
def without_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory figure starts a process for each lane; tests about time do without."""
    monkeypatch.setattr(module, "measure_memory", lambda *_: 1.0)


def test_report_of_every_runtime(colour_artifact: Make, without_memory: None) -> None:
    """One report a runtime in the profile's order, of this file, with as many frames as the profile asks."""
    artifact = colour_artifact(64)
    reports = benchmark(artifact, PROFILE, IMAGES)
    assert [report.runtime for report in reports] == list(PROFILE.runtimes)
    for report in reports:
        assert report.artifact_id == artifact.id
        assert report.timed_frames == 100
        assert 0 < report.total.p50 <= report.total.p90 <= report.total.p99 <= report.total.maximum
        assert report.inference.p50 < report.total.p50
        assert report.size_mb == artifact.path.stat().st_size / 2**20
        assert report.frames_per_second > 0


def test_several_artifacts_in_one_run(colour_artifact: Make, without_memory: None) -> None:
    """Every artifact meets every runtime, artifacts in their order."""
    artifacts = [colour_artifact(32), colour_artifact(64)]
    reports = compare(artifacts, PROFILE, IMAGES)
    assert [(report.artifact_id, report.runtime) for report in reports] == [
        (artifact.id, name) for artifact in artifacts for name in PROFILE.runtimes
    ]


def test_lanes_take_turns(colour_artifact: Make, without_memory: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """No lane runs two blocks in a row while another waits, and every round begins with another lane."""
    turns: list[int] = []
    run = Lane.run

    def noted(lane: Lane, *arguments: object) -> None:
        turns.append(lane.artifact.imgsz)
        run(lane, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Lane, "run", noted)
    profile = PROFILE.model_copy(update={"runtimes": ("onnxruntime",)})
    compare([colour_artifact(side) for side in (32, 64, 96)], profile, IMAGES)
    rounds = [turns[start : start + 3] for start in range(0, len(turns), 3)]
    assert rounds[:3] == [[32, 64, 96], [64, 96, 32], [96, 32, 64]]
    assert {tuple(sorted(one)) for one in rounds} == {(32, 64, 96)}


def test_lane_uses_every_image(colour_artifact: Make) -> None:
    """Timed batches walk through the images, so that no single frame decides."""
    artifact = colour_artifact(64, "N")
    lane = Lane(artifact, Detector(artifact, open_runtime(artifact.path, "onnxruntime"), batch=2))
    seen: list[int] = []
    detect = lane.detector.detect_batch
    lane.detector.detect_batch = lambda frames: seen.extend(id(one) for one in frames) or detect(frames)  # type: ignore[func-returns-value,method-assign]
    lane.run(IMAGES, batch=2, timed=3)
    assert seen[-6:] == [id(image) for image in IMAGES * 2]
    assert len(lane.times) == 3


def test_batch_is_reported_as_a_whole(colour_artifact: Make, without_memory: None) -> None:
    """With a batch of 4, 25 timed calls are 100 frames, and the rate counts frames."""
    profile = PROFILE.model_copy(update={"runtimes": ("onnxruntime",)})
    (report,) = benchmark(colour_artifact(64, 4), profile, IMAGES, batch=4)
    assert (report.batch, report.timed_frames) == (4, 100)
    assert 4000 / report.total.maximum <= report.frames_per_second <= 4000 / report.total.p50 * 2


def test_threads_of_opencv_are_put_back(colour_artifact: Make, without_memory: None) -> None:
    """The measurement changes a setting of the whole process; nobody notices afterwards."""
    before = cv2.getNumThreads()
    benchmark(colour_artifact(64), PROFILE, IMAGES)
    assert cv2.getNumThreads() == before


@pytest.mark.integration
def test_memory_is_that_of_a_device_process(colour_artifact: Make) -> None:
    """A block that this process holds does not count; the runtime and its libraries do."""
    block = bytearray(b"x") * (900 << 20)
    found = measure_memory(colour_artifact(64), "onnxruntime")
    assert 40 < found < 600 < len(block) >> 20


def test_memory_of_a_broken_artifact_says_why(tmp_path: Path) -> None:
    """The other process's sentence arrives here."""
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"hello")
    broken = Artifact(path=path, sha256=sha256(path), precision="fp32", imgsz=64, names=("a",), thresholds=(0.5,))
    with pytest.raises(BadInput, match="does not load in onnxruntime"):
        measure_memory(broken, "onnxruntime")


def test_percentiles_are_samples() -> None:
    """A percentile is a time that occurred, never a mixture below it."""
    found = latency([float(n) for n in range(1, 101)])
    assert (found.p50, found.p90, found.p99, found.maximum) == (51, 91, 100, 100)


def test_profile_without_an_installed_runtime_is_refused(colour_artifact: Make) -> None:
    """A Jetson's profile cannot be measured on a machine without TensorRT."""
    profile = PROFILE.model_copy(update={"runtimes": ("tensorrt",)})
    with pytest.raises(BadInput, match=r"pip install 'edgeloop\[tensorrt\]'"):
        benchmark(colour_artifact(64), profile, IMAGES)


def test_no_image_is_refused(colour_artifact: Make) -> None:
    """There is nothing to measure with."""
    with pytest.raises(BadInput, match="at least one image"):
        benchmark(colour_artifact(64), PROFILE, [])


@pytest.mark.parametrize("name", ["cpu", "jetson-orin-nano"])
def test_profiles_load(root: Path, name: str) -> None:
    """Each profile is named as its file, asks for 30 frames a second and for enough frames to claim a p99."""
    profile = load_yaml(DeviceProfile, root / "models/devices" / f"{name}.yaml")
    assert profile.name == name
    assert profile.maximum_p99_ms <= 1000 / 30
    assert profile.timed_frames >= 662
