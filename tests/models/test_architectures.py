"""The architectures that come with edgeloop's cards: each builds, trains, and gives a file that the device decodes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from edgeloop.card import load_card
from edgeloop.edge.detector import Detector
from edgeloop.edge.runtime import open_runtime
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
    return write_set(tmp_path_factory.mktemp("set") / "set", train=2, val=1)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_card_trains_and_its_file_is_decoded(name: str, root: Path, data_yaml: Path, tmp_path: Path) -> None:
    """One step on the CPU, then ONNX in the promised shape, whose boxes through the device's decoder are torch's."""
    import torch

    card = load_card(root / f"models/cards/{name}.yaml").model_copy(update={"imgsz": SIDE, "batch": 2})
    trained = train(data_yaml, card, tmp_path / name, start=None, epochs=1)
    artifact = export_onnx(trained, card, trained.names, tmp_path / f"{name}.onnx")
    frame = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    detector = Detector(artifact, open_runtime(artifact.path, "onnxruntime"), 1e-6)
    found = detector.detect(frame).detections
    model = open_checkpoint(trained.path, card)
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
