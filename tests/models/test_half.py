"""FP16 sees what FP32 sees, opens in every runtime, and keeps in float32 what float16 cannot hold."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from edgeloop.artifact import Artifact, load_artifact
from edgeloop.edge.runtime import CPU_RUNTIMES, noise, open_runtime
from edgeloop.errors import BadInput, Refused
from edgeloop.files import sha256
from models import half
from models.byte_input import take_bytes
from models.half import halve
from tests.detectors import float_detector, replace_initializer, save_artifact


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Four noise images."""
    folder, random = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for index in range(4):
        cv2.imwrite(str(folder / f"{index}.png"), random.integers(0, 255, (40, 48, 3), dtype=np.uint8))
    return sorted(folder.iterdir())


def weights(path: Path) -> dict[str, int]:
    return {tensor.name.removesuffix("_cast"): tensor.data_type for tensor in onnx.load(str(path)).graph.initializer}


@pytest.mark.parametrize("runtime", CPU_RUNTIMES)
@pytest.mark.parametrize("kind", ["float32-nchw", "uint8-nhwc"])
def test_it_sees_what_fp32_sees(images: list[Path], tmp_path: Path, runtime: str, kind: str) -> None:
    """Input and output are as before, and the numbers are those of FP32 within half precision."""
    fp32 = save_artifact(tmp_path)
    if kind == "uint8-nhwc":
        fp32.path.write_bytes(take_bytes(fp32.path.read_bytes()))
        fp32 = fp32.model_copy(update={"sha256": sha256(fp32.path), "input": kind})
    fp16 = halve(fp32, images, tmp_path / "half.onnx")
    both = [open_runtime(artifact.path, runtime) for artifact in (fp32, fp16)]
    assert both[0].input == both[1].input == kind
    outputs = [one(noise(both[0])).copy() for one in both]
    assert outputs[1].dtype == np.float32
    assert 0 < np.abs(outputs[0] - outputs[1]).max() < 0.01


def test_weights_are_half_and_the_decode_is_not(images: list[Path], tmp_path: Path) -> None:
    """Convolutions up to the head's are float16, the DFL behind them float32."""
    fp16 = halve(save_artifact(tmp_path), images, tmp_path / "half.onnx")
    kinds = weights(fp16.path)
    assert {kinds[f"{name}.weight"] for name in ("stem", "body", "box", "class")} == {TensorProto.FLOAT16}
    assert kinds["dfl.weight"] == TensorProto.FLOAT


def test_what_leaves_the_range_stays_float32(images: list[Path], tmp_path: Path) -> None:
    """A layer whose output is beyond float16 on real frames, and what reads it, compute in float32."""
    model = float_detector()
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    replace_initializer(model, "stem.weight", (values["stem.weight"] * 1e6).astype(np.float32))
    replace_initializer(model, "body.weight", (values["body.weight"] * 1e-6).astype(np.float32))
    kinds = weights(halve(save_artifact(tmp_path, model), images, tmp_path / "half.onnx").path)
    assert kinds["stem.weight"] == kinds["body.weight"] == TensorProto.FLOAT
    assert kinds["box.weight"] == TensorProto.FLOAT16


def test_record_and_bytes(images: list[Path], tmp_path: Path) -> None:
    """The record travels, and the same input gives the same bytes."""
    fp32 = save_artifact(tmp_path)
    first, second = (halve(fp32, images, tmp_path / name) for name in ("a.onnx", "b.onnx"))
    assert load_artifact(first.path) == first
    assert first.precision == "fp16"
    assert first.path.read_bytes() == second.path.read_bytes()


def test_bad_input_is_refused(images: list[Path], tmp_path: Path) -> None:
    """No frames and a file that is not float32 are refused."""
    fp32: Artifact = save_artifact(tmp_path)
    with pytest.raises(BadInput, match="real frames"):
        halve(fp32, [], tmp_path / "half.onnx")
    with pytest.raises(BadInput, match="made from the fp32"):
        halve(fp32.model_copy(update={"precision": "int8"}), images, tmp_path / "half.onnx")


def test_what_differs_is_not_shipped(images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no movement is tolerated the file is refused, and none is written."""
    monkeypatch.setattr(half, "TOLERANCE", 0.0)
    with pytest.raises(Refused, match="ship the model in fp32"):
        halve(save_artifact(tmp_path), images, tmp_path / "half.onnx")
    assert not (tmp_path / "half.onnx").exists()
