"""Quantization keeps the rules, computes the same thing, and its bytes follow from its input."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from edgeloop.artifact import Artifact, load_artifact
from edgeloop.card import QuantizeCard
from edgeloop.errors import BadInput, Refused
from edgeloop.qdq import check_qdq, load_graph
from models.bias import mean_output
from models.calibration import read_inputs
from models.float_layers import give_back, quantized_layers
from models.onnx_graph import serialise
from models.quantize import quantize
from tests.detectors import SIDE, float_detector, replace_initializer, save_artifact

CARD = QuantizeCard(frames=12)
NNCF = pytest.param("nncf", marks=pytest.mark.integration)  # takes seconds to be imported


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Twelve noise images."""
    folder = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    for index in range(12):
        cv2.imwrite(str(folder / f"{index}.png"), random.integers(0, 255, (40, 48, 3), dtype=np.uint8))
    return sorted(folder.iterdir())


@pytest.fixture
def fp32(tmp_path: Path) -> Artifact:
    return save_artifact(tmp_path)


def run(path: Path, array: np.ndarray) -> np.ndarray:
    return onnxruntime.InferenceSession(path).run(None, {"images": array})[0]


@pytest.mark.parametrize("method", ["minmax", "percentile", "entropy", NNCF])
def test_result_passes_the_checker_and_agrees_with_fp32(
    fp32: Artifact, images: list[Path], tmp_path: Path, method: str
) -> None:
    """Every calibration method gives a file without violations whose outputs stay close to the float ones."""
    card = CARD.model_copy(update={"calibration": method})
    int8 = quantize(fp32, images, card, tmp_path / "int8.onnx")
    assert check_qdq(int8.path) == ()
    assert int8.precision == "int8"
    assert int8.id != fp32.id
    array = np.random.default_rng(1).random((1, 3, SIDE, SIDE), np.float32)
    wanted, got = run(fp32.path, array), run(int8.path, array)
    assert 0 < np.abs(wanted - got).mean() < 0.05 * np.abs(wanted).mean()


@pytest.mark.integration
def test_layers_of_nncf_can_be_had_back(fp32: Artifact, images: list[Path], tmp_path: Path) -> None:
    """All of them given back compute what the float model does, with its biases; and twice gives the same bytes."""
    card = CARD.model_copy(update={"calibration": "nncf"})
    int8, again = (quantize(fp32, images, card, tmp_path / f"{name}.onnx") for name in ("int8", "again"))
    assert int8.sha256 == again.sha256
    quantized, original = load_graph(int8.path), load_graph(fp32.path)
    layers = quantized_layers(quantized)
    assert layers == ("stem", "body")
    (tmp_path / "float.onnx").write_bytes(serialise(give_back(quantized, original, layers)))
    array = np.random.default_rng(1).random((1, 3, SIDE, SIDE), np.float32)
    np.testing.assert_array_equal(run(tmp_path / "float.onnx", array), run(fp32.path, array))


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_mean_output_is_that_of_the_convolution(groups: int) -> None:
    """What a convolution's mean output is said to be is what it gives, grouped too."""
    import torch

    random = np.random.default_rng(groups)
    weights = random.normal(0, 1, (8, 4 // groups, 3, 3))
    array = random.normal(2, 1, (1, 4, 1, 1)) * np.ones((1, 4, 9, 9))  # flat channels: the border does not matter
    output = torch.nn.functional.conv2d(torch.from_numpy(array), torch.from_numpy(weights), groups=groups)
    np.testing.assert_allclose(mean_output(weights, array.mean(axis=(0, 2, 3))), output.mean((0, 2, 3)).numpy())


def test_mean_output_is_kept(images: list[Path], tmp_path: Path) -> None:
    """Weights that all round downwards would pull the mean logit down; the corrected biases hold it."""
    model = float_detector()
    weights = next(numpy_helper.to_array(tensor) for tensor in model.graph.initializer if tensor.name == "body.weight")
    scale = np.abs(weights).max(axis=(1, 2, 3), keepdims=True) / 127
    steps = np.round(weights / scale)
    steps = np.where(np.abs(steps) < 127, steps + 0.49, steps)
    replace_initializer(model, "body.weight", (steps * scale).astype(np.float32))
    card = CARD.model_copy(update={"calibration": "minmax"})
    fp32 = save_artifact(tmp_path, model)
    int8 = quantize(fp32, images, card, tmp_path / "int8.onnx")
    wanted, got = (
        np.mean([run(path, array.copy())[0, 4:].mean() for array in read_inputs(images, SIDE)])
        for path in (fp32.path, int8.path)
    )
    assert abs(wanted - got) < 5e-4


def test_record_travels_with_the_file(fp32: Artifact, images: list[Path], tmp_path: Path) -> None:
    """What the float artifact says about classes, size and origin is said of the INT8 file too."""
    int8 = quantize(fp32, images, CARD, tmp_path / "int8.onnx")
    assert load_artifact(int8.path) == int8
    unchanged = {"path", "sha256", "precision"}
    assert int8.model_dump(exclude=unchanged) == fp32.model_dump(exclude=unchanged)


def test_same_input_same_bytes(fp32: Artifact, images: list[Path], tmp_path: Path) -> None:
    """Two runs give equal files, so that an artifact's id says what it is."""
    first, second = (quantize(fp32, images, CARD, tmp_path / name) for name in ("a.onnx", "b.onnx"))
    assert first.path.read_bytes() == second.path.read_bytes()


def test_head_stays_float_unless_asked(fp32: Artifact, images: list[Path], tmp_path: Path) -> None:
    """With a float head exactly the stem and the body are quantized; without, all of the convolutions."""
    counts = []
    for float_head in (True, False):
        card = CARD.model_copy(update={"float_head": float_head})
        model = onnx.load(str(quantize(fp32, images, card, tmp_path / f"{float_head}.onnx").path))
        from_dq = {node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
        counts.append(sum(node.op_type == "Conv" and node.input[1] in from_dq for node in model.graph.node))
    assert counts == [2, 5]


def test_unnamed_nodes_are_quantized(images: list[Path], tmp_path: Path) -> None:
    """A graph from an exporter that names no nodes is quantized like any other."""
    model = float_detector()
    for node in model.graph.node:
        node.name = ""
    int8 = quantize(save_artifact(tmp_path, model), images, CARD, tmp_path / "int8.onnx")
    assert check_qdq(int8.path) == ()


def test_no_more_frames_than_the_card_says_are_read(fp32: Artifact, images: list[Path], tmp_path: Path) -> None:
    """Frames beyond the card's number have no part in the result; here one of them is not even an image."""
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    quantize(fp32, [*images, broken], CARD, tmp_path / "int8.onnx")
    with pytest.raises(BadInput, match=r"broken\.jpg"):
        quantize(fp32, [*images[:11], broken], CARD, tmp_path / "other.onnx")
    assert not (tmp_path / "other.onnx").exists()


def test_bad_input_is_refused(fp32: Artifact, images: list[Path], tmp_path: Path) -> None:
    """An artifact that is INT8 already, one whose file changed, and too few frames are refused with what to do."""
    out = tmp_path / "int8.onnx"
    with pytest.raises(BadInput, match="fp32"):
        quantize(fp32.model_copy(update={"precision": "int8"}), images, CARD, out)
    with pytest.raises(BadInput, match="at least 8"):
        quantize(fp32, images[:3], CARD, out)
    fp32.path.write_bytes(fp32.path.read_bytes() + b"x")
    with pytest.raises(BadInput, match="has content"):
        quantize(fp32, images, CARD, out)
    assert not out.exists()


def test_graph_with_suppression_inside_is_refused(images: list[Path], tmp_path: Path) -> None:
    """A graph that keeps its NMS inside cannot be built in INT8; nothing is written."""
    model = float_detector()
    boxes = onnx.numpy_helper.from_array(np.zeros((1, 1, 4), np.float32), "nms_boxes")
    scores = onnx.numpy_helper.from_array(np.zeros((1, 1, 1), np.float32), "nms_scores")
    model.graph.initializer.extend([boxes, scores])
    model.graph.node.append(
        onnx.helper.make_node("NonMaxSuppression", ["nms_boxes", "nms_scores"], ["selected"], "nms")
    )
    model.graph.output.append(onnx.helper.make_tensor_value_info("selected", onnx.TensorProto.INT64, [None, 3]))
    with pytest.raises(Refused, match="nms"):
        quantize(save_artifact(tmp_path, model), images, CARD, tmp_path / "int8.onnx")
    assert not (tmp_path / "int8.onnx").exists()
