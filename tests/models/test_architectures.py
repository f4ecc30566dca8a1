"""The architectures of edgeloop's cards: each trains, and gives files that the device decodes and TensorRT reads."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from edgeloop.artifact import Artifact
from edgeloop.card import Card, load_card
from edgeloop.edge.detector import Detector
from edgeloop.edge.runtime import open_runtime
from edgeloop.qdq import check_qdq
from models.checkpoint import Checkpoint
from models.half import halve
from models.quantize import quantize
from models.ultralytics_door import export_onnx, open_checkpoint, train
from tests.training_sets import SIDE, write_set

pytestmark = pytest.mark.integration

LARGER = pytest.mark.skipif(
    "EDGELOOP_SLOW_TESTS" not in os.environ, reason="the same layers as the smaller scale: set EDGELOOP_SLOW_TESTS"
)
ARCHITECTURES = (
    "yolov8n", "yolov9t", "yolo11n", "yolo26n",
    pytest.param("yolov8s", marks=LARGER), pytest.param("yolov9s", marks=LARGER),
)  # fmt: skip


@pytest.fixture(scope="module")
def data_yaml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("set") / "set", train=8, val=1)


class Trained(NamedTuple):
    """One step on the CPU, and what was exported from it."""

    name: str
    card: Card
    checkpoint: Checkpoint
    fp32: Artifact


@pytest.fixture(scope="module", params=ARCHITECTURES)
def trained(
    request: pytest.FixtureRequest, root: Path, data_yaml: Path, tmp_path_factory: pytest.TempPathFactory
) -> Trained:
    name, folder = request.param, tmp_path_factory.mktemp(request.param)
    card = load_card(root / f"models/cards/{name}.yaml").model_copy(update={"imgsz": SIDE, "batch": 8})
    checkpoint = train(data_yaml, card, folder / name, start=None, epochs=1)
    exported = export_onnx(checkpoint, card, checkpoint.names, folder / f"{name}.onnx", dynamic=True)
    return Trained(name, card, checkpoint, exported)


def test_every_precision_is_built_by_tensorrts_parser(trained: Trained, data_yaml: Path, tmp_path: Path) -> None:
    """FP32, FP16 and INT8 of each architecture, both heads among them, pass TensorRT for RTX without a GPU."""
    from tests.tensorrt_rtx import build

    images = sorted((data_yaml.parent / "images" / "train").iterdir())
    fp16 = halve(trained.fp32, images, tmp_path / "fp16.onnx")
    int8 = quantize(trained.fp32, images, trained.card.quantize, tmp_path / "int8.onnx")
    assert check_qdq(int8.path) == ()
    assert all(build(file.path) for file in (trained.fp32, fp16, int8))


def test_file_is_decoded_as_torch_sees(trained: Trained) -> None:
    """ONNX in the promised shape, whose boxes through the device's decoder are torch's."""
    import torch

    name, card, checkpoint, artifact = trained
    frame = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    detector = Detector(artifact, open_runtime(artifact.path, "onnxruntime"), 1e-6)
    found = detector.detect(frame).detections
    model = open_checkpoint(checkpoint.path, card)
    if hasattr(model, "end2end"):
        model.end2end = card.head == "end-to-end"
    array = np.ascontiguousarray(frame[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32) / 255)
    with torch.no_grad():
        output = model(torch.from_numpy(array))
    raw = (output[0] if isinstance(output, tuple) else output)[0].numpy()
    scores = raw[:, 4] if card.head == "end-to-end" else raw[4:].max(axis=0)
    assert (card.head == "end-to-end") == (name == "yolo26n")
    assert len(found.scores)
    assert found.scores.max() == pytest.approx(scores.max(), rel=1e-2)
    best = int(scores.argmax())
    corners = raw[best, :4] if card.head == "end-to-end" else corners_of(raw[:4, best])
    np.testing.assert_allclose(found.boxes[int(found.scores.argmax())], np.clip(corners, 0, SIDE), atol=0.5)


def corners_of(box: np.ndarray) -> np.ndarray:
    """x1, y1, x2, y2 of cx, cy, w, h."""
    return np.concatenate([box[:2] - box[2:] / 2, box[:2] + box[2:] / 2])
