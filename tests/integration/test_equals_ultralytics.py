"""The device side against Ultralytics' own predict: the same file, the same real images, the same boxes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgeloop.artifact import Artifact, Head
from edgeloop.edge.decode import MAXIMUM_DETECTIONS
from edgeloop.edge.detector import Detector
from edgeloop.edge.runtime import CPU_RUNTIMES, RuntimeName, open_runtime
from edgeloop.files import sha256
from models.byte_input import take_bytes

pytestmark = pytest.mark.integration

CONFIDENCE, IOU = 0.25, 0.7
PIXELS, SCORE = 1.0, 1e-3  # how far a box and a score may be off
HEADS: dict[str, Head] = {"yolov8n.yaml": "anchor-free", "yolo26n.yaml": "end-to-end"}
# Logits of the scores that give a handful to 200 boxes an image.
PRIORS = {
    ("yolov8n.yaml", 192): -2.7,
    ("yolov8n.yaml", 640): -5.0,
    ("yolo26n.yaml", 192): -3.5,
    ("yolo26n.yaml", 640): -5.0,
}


@pytest.fixture(scope="module")
def images(shared: Path) -> list[np.ndarray]:
    """Frames of three street videos, a dozen steel surfaces and a dozen blood smears: real, of six shapes."""
    found = []
    for video in sorted((shared / "data/videos").glob("*.mp4")):
        capture = cv2.VideoCapture(str(video))
        for share in (0.2, 0.5, 0.8):
            capture.set(cv2.CAP_PROP_POS_FRAMES, int(capture.get(cv2.CAP_PROP_FRAME_COUNT) * share))
            found.append(capture.read()[1])
    for name in ("neu-det", "bccd"):
        paths = sorted((shared / "data" / name).rglob("*.jpg"))
        found += [cv2.imread(str(path)) for path in paths[:: max(len(paths) // 12, 1)][:12]]
    return [*found, found[0][:, ::3].copy(), found[1][::4].copy()]  # a narrow and a flat one, with padding on both axes


@pytest.fixture(scope="module", params=PRIORS, ids=str)
def exported(
    request: pytest.FixtureRequest, images: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory
) -> Artifact:
    """An untrained detector that nevertheless sees dozens of boxes an image, exported by Ultralytics."""
    import torch
    from ultralytics import YOLO

    name, side = request.param
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("exported")
    model = YOLO(name, task="detect")
    _liven(model.model, images, side, PRIORS[name, side])
    model.save(folder / "model.pt")
    path = Path(
        YOLO(folder / "model.pt").export(
            format="onnx", imgsz=side, device="cpu", verbose=False, nms=False if HEADS[name] == "end-to-end" else None
        )
    )
    classes = len(model.names)
    return Artifact(
        path=path,
        sha256=sha256(path),
        precision="fp32",
        imgsz=side,
        names=tuple(str(index) for index in range(classes)),
        thresholds=(CONFIDENCE,) * classes,
        head=HEADS[name],
    )


def _liven(model: Any, images: list[np.ndarray], side: int, prior: float) -> None:
    """Untrained, the normalisation statistics are empty and every score is the prior: fit those, spread these."""
    import torch

    batch = np.stack([cv2.resize(image, (side, side)) for image in images[::4]])
    inputs = torch.from_numpy(batch[..., ::-1].copy()).permute(0, 3, 1, 2).float() / 255
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.5
    head = model.model[-1]
    branches = [branch for name in ("cv3", "one2one_cv3") for branch in (getattr(head, name, None) or ())]
    with torch.no_grad():
        for _ in range(8):
            model.train()(inputs)
        model.eval()
        for branch in branches:
            torch.nn.init.normal_(branch[-1].weight, std=0.15)
            branch[-1].bias.fill_(prior)


@pytest.fixture(scope="module")
def expected(exported: Artifact, images: list[np.ndarray]) -> list[np.ndarray]:
    """Ultralytics' rows (x1, y1, x2, y2, score, class) on every image."""
    from ultralytics import YOLO

    theirs = YOLO(exported.path, task="detect")
    settings: dict[str, Any] = {"conf": CONFIDENCE, "iou": IOU, "imgsz": exported.imgsz, "device": "cpu"}
    return [theirs.predict(image, verbose=False, **settings)[0].boxes.data.numpy() for image in images]


@pytest.fixture(scope="module")
def from_bytes(exported: Artifact) -> Artifact:
    """The same detector exported to take the camera's bytes."""
    path = exported.path.with_name("bytes.onnx")
    path.write_bytes(take_bytes(exported.path.read_bytes()))
    return exported.model_copy(update={"path": path, "sha256": sha256(path), "input": "uint8-nhwc"})


@pytest.mark.parametrize("runtime", CPU_RUNTIMES)
@pytest.mark.parametrize("taken", ["exported", "from_bytes"])
def test_same_boxes_as_ultralytics(
    request: pytest.FixtureRequest,
    images: list[np.ndarray],
    expected: list[np.ndarray],
    taken: str,
    runtime: RuntimeName,
) -> None:
    """On every real image, each of Ultralytics' boxes is ours within a pixel and 0.001, and we have no other."""
    artifact: Artifact = request.getfixturevalue(taken)
    ours = Detector(artifact, open_runtime(artifact.path, runtime), floor=CONFIDENCE)
    for number, (image, rows) in enumerate(zip(images, expected, strict=True)):
        found = ours.detect(image).detections
        mine = np.column_stack([found.boxes, found.scores, found.classes])
        assert len(rows) < MAXIMUM_DETECTIONS, "cut off at the limit, where a hair's difference in score swaps boxes"
        assert not unmatched(rows, mine), f"image {number}: Ultralytics has what we have not"
        assert not unmatched(mine, rows), f"image {number}: we have what Ultralytics has not"
    assert sum(map(len, expected)) > 5 * len(images)


def unmatched(rows: np.ndarray, others: np.ndarray) -> list[list[float]]:
    """The rows (x1, y1, x2, y2, score, class) without a partner; those at the very threshold need none."""
    missing = []
    for row in rows:
        near = (np.abs(others[:, :4] - row[:4]) <= PIXELS).all(axis=1)
        alike = (np.abs(others[:, 4] - row[4]) <= SCORE) & (others[:, 5] == row[5])
        if not (near & alike).any() and row[4] > CONFIDENCE + SCORE:
            missing.append(row.tolist())
    return missing
