"""Another artifact while frames go through: real files, and detectors that fail on purpose."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgeloop.artifact import Artifact
from edgeloop.edge.artifact_folder import ATTEMPTS, ArtifactFolder
from edgeloop.edge.detector import Detector, Inference
from edgeloop.edge.frame import Image
from edgeloop.edge.health import HealthLimits
from edgeloop.edge.hot_swap import HotSwap
from edgeloop.edge.model import OpenDetector
from edgeloop.edge.runtime import open_runtime
from edgeloop.errors import BadInput
from edgeloop.files import sha256, write_text
from tests.cameras import picture
from tests.edgeloop.edge.conftest import NAMES, write_colour_detector

LIMITS = HealthLimits(frames=60)
STEPS = ("activated", "trial", "kept")


def make_artifact(folder: Path, name: str, *, scale: float = 1.0) -> Artifact:
    """A colour detector with a content of its own; `scale` multiplies its scores."""
    folder.mkdir(exist_ok=True)
    path = write_colour_detector(folder / f"{name}.onnx", 64)
    model = onnx.load(path)
    model.doc_string = name  # other bytes, other artifact
    if scale != 1.0:
        node = next(node for node in model.graph.node if node.op_type == "AveragePool")
        node.output[0] = "unscaled"
        model.graph.initializer.append(numpy_helper.from_array(np.float32([scale]), "scale"))
        at = list(model.graph.node).index(node)
        model.graph.node.insert(at + 1, onnx.helper.make_node("Mul", ["unscaled", "scale"], ["means"]))
    onnx.save(model, path)
    return Artifact(path=path, sha256=sha256(path), precision="fp32", imgsz=64, names=NAMES, thresholds=(0.5,) * 3)


class FakeSteadyDetector(Detector):
    """A real detector that reports the same time for every frame, however busy the machine is."""

    milliseconds = 1.0

    def detect_batch(self, images: Sequence[Image]) -> list[Inference]:
        return [
            replace(found, timing=replace(found.timing, preprocess=0.0, inference=self.milliseconds, postprocess=0.0))
            for found in super().detect_batch(images)
        ]


class FakeSlowDetector(FakeSteadyDetector):
    """A real detector on a device that has become slow."""

    milliseconds = 100.0


def open_here(artifact: Artifact) -> Detector:
    return FakeSteadyDetector(artifact, open_runtime(artifact.path, "onnxruntime"))


class FakeFailingDetector(FakeSteadyDetector):
    """A real detector whose runtime breaks on every frame after its self-test."""

    answers = 0

    def detect_batch(self, images: Sequence[Image]) -> list[Inference]:
        self.answers += 1
        if self.answers > 25:
            raise RuntimeError("out of device memory")
        return super().detect_batch(images)


def opening(kind: type[Detector], identity: str) -> OpenDetector:
    """Opens one artifact with another kind of detector."""

    def open_detector(artifact: Artifact) -> Detector:
        chosen = kind if artifact.id == identity else FakeSteadyDetector
        return chosen(artifact, open_runtime(artifact.path, "onnxruntime"))

    return open_detector


class Device:
    """An artifact folder, and a loop over pictures."""

    def __init__(self, path: Path) -> None:
        self.path, self.folder = path, ArtifactFolder(path / "artifacts")
        self.said: list[str] = []
        self.model: HotSwap | None = None

    def add(self, name: str, scale: float = 1.0) -> Artifact:
        artifact = make_artifact(self.path / "made", name, scale=scale)
        self.folder.add(artifact)
        return artifact

    def start(self, open_detector: OpenDetector = open_here, limits: HealthLimits = LIMITS) -> HotSwap:
        self.model = HotSwap(self.folder, open_detector, self.said.append, limits, look_seconds=0.01)
        return self.model

    def want(self, artifact: Artifact) -> None:
        self.folder.want(f"{artifact.id}.onnx")

    def loop_until(self, condition: Callable[[], bool]) -> list[str]:
        """Ids of the artifacts that answered, frame by frame: none without an answer, none with a wrong one."""
        assert self.model is not None
        answered, end = [], time.monotonic() + 20
        while not condition():
            assert time.monotonic() < end, f"it did not happen: {self.said} {self.steps()}"
            (found,) = self.model.detect_batch([picture(len(answered))])
            answered.append(self.model.detector.artifact.id)
            assert found.width == 64
            time.sleep(0.0005)
        return answered

    def steps(self) -> list[str]:
        return [event.step for event in self.folder.state().history]

    def until_step(self, step: str) -> list[str]:
        return self.loop_until(lambda: self.steps()[-1] == step)


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    device = Device(tmp_path)
    yield device
    if device.model is not None:
        device.model.close()


def test_the_only_artifact_runs_and_the_wanted_one_takes_over(device: Device) -> None:
    """Every frame is answered, by the first artifact, then by the second; the state says what happened."""
    first = device.add("first")
    device.start()
    assert set(device.loop_until(lambda: len(device.model._baseline) > 60)) == {first.id}
    second = device.add("second")
    device.want(second)
    answered = device.until_step("kept")
    change = answered.index(second.id)
    assert set(answered[:change]) == {first.id}
    assert set(answered[change:]) == {second.id}
    assert device.steps() == list(STEPS)
    assert device.folder.state().active == f"{second.id}.onnx"


def test_next_start_runs_the_healthy_one(device: Device) -> None:
    """After a restart the last healthy artifact answers from the first frame on, without another trial."""
    device.add("first")
    device.start()
    second = device.add("second")
    device.want(second)
    device.until_step("kept")
    device.model.close()
    device.start()
    assert device.model.detector.artifact.id == second.id
    assert device.steps() == list(STEPS)


def test_an_artifact_that_sees_nothing_is_rolled_back(device: Device) -> None:
    """Where the old one saw something on every frame and the new one on none, the old one comes back."""
    first = device.add("first")
    device.start()
    device.loop_until(lambda: len(device.model._baseline) > 60)
    blind = device.add("blind", scale=0.1)
    device.want(blind)
    device.until_step("rolled-back")
    assert "saw nothing" in device.folder.state().history[-1].reason
    (found,) = device.model.detect_batch([picture(1)])
    assert (device.model.detector.artifact.id, len(found.detections)) == (first.id, 1)
    assert device.folder.state().active == f"{first.id}.onnx"


def test_frames_that_the_new_one_fails_on_are_answered_by_the_old_one(device: Device) -> None:
    """A runtime that breaks during the window drops no frame, and is rolled back."""
    first, second = device.add("first"), device.add("second")
    device.folder.want(f"{first.id}.onnx")
    device.start(opening(FakeFailingDetector, second.id))
    device.loop_until(lambda: len(device.model._baseline) > 60)
    device.want(second)
    answered = device.until_step("rolled-back")
    assert second.id in answered
    assert answered[-1] == first.id
    assert "failed on" in device.folder.state().history[-1].reason


def test_a_slow_artifact_is_rolled_back(device: Device) -> None:
    """Three times the median of the one before is too slow, whatever the profile says."""
    first, second = device.add("first"), device.add("second")
    device.folder.want(f"{first.id}.onnx")
    device.start(opening(FakeSlowDetector, second.id))
    device.loop_until(lambda: len(device.model._baseline) > 60)
    device.want(second)
    device.until_step("rolled-back")
    assert "its median is" in device.folder.state().history[-1].reason


def test_what_was_refused_is_tried_again_when_somebody_asks_again(device: Device) -> None:
    """A pointer stays refused over restarts; writing it again asks again."""
    device.add("first")
    device.start()
    device.loop_until(lambda: len(device.model._baseline) > 60)
    blind = device.add("blind", scale=0.1)
    device.want(blind)
    device.until_step("rolled-back")
    device.model.close()
    device.start()
    time.sleep(0.1)
    assert device.steps() == ["activated", "trial", "rolled-back"]
    device.want(blind)
    device.until_step("trial")


@pytest.mark.parametrize("damage", ["cut", "missing", "record", "elsewhere"])
def test_a_broken_artifact_is_refused_before_it_answers(device: Device, damage: str) -> None:
    """A file cut short, missing, without its record, or outside the folder never meets a frame; the old one goes on."""
    first = device.add("first")
    device.start()
    second = device.add("second")
    file = device.folder.path / f"{second.id}.onnx"
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:100])
    elif damage == "missing":
        file.unlink()
    elif damage == "record":
        file.with_name(f"{file.name}.json").unlink()
    name = "../made/second.onnx" if damage == "elsewhere" else file.name
    write_text(device.folder.path / "current", name)
    answered = device.loop_until(lambda: bool(device.said))
    assert set(answered) <= {first.id}
    assert "trial" not in device.steps()
    if damage == "elsewhere":
        assert "expected the file name" in device.said[0]
        assert device.model.problems()


def test_a_process_that_dies_in_every_trial_ends_it(device: Device) -> None:
    """An artifact that takes the process down with it is refused after three trials; a clean end is not counted."""
    first, second = device.add("first"), device.add("second")
    device.folder.want(f"{first.id}.onnx")
    device.start().close()
    device.want(second)
    state = device.folder.state()
    device.folder.save(state.model_copy(update={"trial": f"{second.id}.onnx", "attempts": ATTEMPTS - 1}))
    device.start()
    device.until_step("trial")
    device.model.close()  # drained: this one does not count
    assert device.folder.state().attempts == ATTEMPTS - 1
    device.folder.save(device.folder.state().model_copy(update={"attempts": ATTEMPTS}))  # killed: it does
    device.start()
    device.until_step("refused")
    assert "process ended 3 times" in device.folder.state().history[-1].reason
    assert device.model.detector.artifact.id == first.id


def test_an_empty_folder_is_refused(device: Device) -> None:
    """No artifact, or several without a pointer: the sentence says what to do."""
    device.folder.path.mkdir()
    with pytest.raises(BadInput, match="expected exactly one"):
        device.start()
    device.add("first"), device.add("second")
    with pytest.raises(BadInput, match="expected exactly one"):
        device.start()
