"""Bytes as input: the same detector, asked in another layout."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from edgeloop.artifact import Artifact
from edgeloop.card import QuantizeCard
from edgeloop.edge.detector import Detector
from edgeloop.edge.runtime import CPU_RUNTIMES, RuntimeName, open_runtime
from edgeloop.errors import BadInput
from edgeloop.files import sha256
from edgeloop.qdq import check_qdq
from models.byte_input import take_bytes
from models.quantize import quantize
from tests.detectors import save_artifact
from tests.edgeloop.edge.conftest import NAMES, write_colour_detector


def as_bytes(artifact: Artifact, out: Path) -> Artifact:
    out.write_bytes(take_bytes(artifact.path.read_bytes()))
    return artifact.model_copy(update={"path": out, "sha256": sha256(out), "input": "uint8-nhwc"})


def images(number: int = 4) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [cv2.blur(random.integers(0, 256, (50, 40 + 9 * step, 3), np.uint8), (5, 5)) for step in range(number)]


@pytest.mark.parametrize("name", CPU_RUNTIMES)
def test_same_answer_from_bytes(tmp_path: Path, name: RuntimeName) -> None:
    """A detector that begins with a convolution answers the same; the colour order is in its weights."""
    floats = save_artifact(tmp_path)
    narrow = as_bytes(floats, tmp_path / "bytes.onnx")
    kinds = [node.op_type for node in onnx.load(str(narrow.path)).graph.node]
    assert kinds[:3] == ["Cast", "Mul", "Transpose"]
    assert "Gather" not in kinds
    wanted, got = (Detector(one, open_runtime(one.path, name), 0.001) for one in (floats, narrow))
    for image in images():
        one, other = wanted.detect(image).detections, got.detect(image).detections
        np.testing.assert_allclose(other.scores, one.scores, atol=1e-5)
        np.testing.assert_allclose(other.boxes, one.boxes, atol=1e-2)


@pytest.mark.parametrize("name", CPU_RUNTIMES)
def test_colours_where_no_convolution_reads_the_input(tmp_path: Path, name: RuntimeName) -> None:
    """Without weights to put the colour order into, it is a node of its own: blue is still blue, in every slot."""
    path = write_colour_detector(tmp_path / "colours.onnx", 64, "N")
    floats = Artifact(path=path, sha256=sha256(path), precision="fp32", imgsz=64, names=NAMES, thresholds=(0.5,) * 3)
    narrow = as_bytes(floats, tmp_path / "bytes.onnx")
    runtime = open_runtime(narrow.path, name, batch=2)
    assert (runtime.input, runtime.shape) == ("uint8-nhwc", (None, 3, 64, 64))
    blue, red = np.zeros((2, 64, 64, 3), np.uint8)
    blue[16:32, 16:32, 0], red[16:32, 16:32, 2] = 255, 255
    found = Detector(narrow, runtime, batch=2).detect_batch([blue, red])
    assert [{NAMES[index] for index in one.detections.classes} for one in found] == [{"blue"}, {"red"}]


def test_int8_from_a_file_that_takes_bytes(tmp_path: Path) -> None:
    """Calibration reads bytes too; the result keeps the Q/DQ rules and says what it takes."""
    paths = []
    for number, image in enumerate(images(8)):
        paths.append(tmp_path / f"{number}.png")
        cv2.imwrite(str(paths[-1]), image)
    floats = save_artifact(tmp_path)
    narrow = as_bytes(floats, tmp_path / "bytes.onnx")
    card = QuantizeCard(frames=8)
    plain, int8 = quantize(floats, paths, card, tmp_path / "a.onnx"), quantize(narrow, paths, card, tmp_path / "b.onnx")
    assert int8.input == "uint8-nhwc"
    assert check_qdq(int8.path) == ()
    wanted, got = (Detector(one, open_runtime(one.path, "openvino"), 0.001) for one in (plain, int8))
    for image in images():
        np.testing.assert_allclose(
            got.detect(image).detections.scores, wanted.detect(image).detections.scores, atol=1e-3
        )


def test_equal_files_give_equal_bytes(tmp_path: Path) -> None:
    """As every export of this project."""
    content = save_artifact(tmp_path).path.read_bytes()
    assert take_bytes(content) == take_bytes(content)


def test_record_that_names_another_input_is_refused(tmp_path: Path) -> None:
    """A file from before the conversion under the record of after it is found at the first load."""
    floats = save_artifact(tmp_path)
    wrong = floats.model_copy(update={"input": "uint8-nhwc"})
    with pytest.raises(BadInput, match="says uint8-nhwc input, the file takes float32-nchw"):
        Detector(wrong, open_runtime(floats.path, "onnxruntime"))
    narrow = as_bytes(floats, tmp_path / "bytes.onnx")
    with pytest.raises(BadInput, match="came float32"):
        open_runtime(narrow.path, "onnxruntime")(np.zeros((1, 32, 32, 3), np.float32))
