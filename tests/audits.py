"""Audit sets of coloured squares on disk, and the tiny detector of colours that finds the bright ones."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from edgeloop.artifact import Artifact
from edgeloop.files import sha256, write_text
from edgeloop.formats.yolo import label_text, yaml_text
from edgeloop.frames import Label
from tests.edgeloop.edge.conftest import CELL, NAMES, write_colour_detector

SIDE = 64
CELLS = SIDE // CELL


def write_audit(folder: Path, frames: int, seed: int = 0, dim: float = 0.2, names: tuple[str, ...] = NAMES) -> Path:
    """A YOLO set: each frame has 0 to 3 squares of one cell, red often and blue rarely; a share of `dim` is dark.

    Every fourth frame or so also has a green smudge that nobody labelled.
    """
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    for number in range(frames):
        image, labels = draw(rng, dim)
        cv2.imwrite(str(folder / "images" / f"cam1_{number:04}.png"), image)
        write_text(folder / "labels" / f"cam1_{number:04}.txt", label_text(labels, SIDE, SIDE))
    write_text(folder / "data.yaml", yaml_text(names, []))
    return folder


def draw(rng: np.random.Generator, dim: float) -> tuple[np.ndarray, list[Label]]:
    """A BGR image and the labels of its squares; each label is the 16 x 16 box that the detector answers with."""
    image = rng.integers(0, 25, (SIDE, SIDE, 3)).astype(np.uint8)
    labels: list[Label] = []
    if rng.random() < 0.25:
        x, y = rng.integers(0, SIDE - CELL, 2)
        image[y : y + CELL, x : x + CELL, 1] = rng.integers(60, 200)
    for cell in rng.choice(CELLS * CELLS, rng.integers(0, 4), replace=False):
        row, column = divmod(int(cell), CELLS)
        kind = int(rng.choice(3, p=[0.6, 0.3, 0.1]))
        light = 60 if rng.random() < dim else rng.integers(140, 250)
        rows, columns = slice(row * CELL, (row + 1) * CELL), slice(column * CELL, (column + 1) * CELL)
        image[rows, columns, 2 - kind] = light
        x, y = (column + 0.5) * CELL, (row + 0.5) * CELL
        box = (max(x - CELL, 0.0), max(y - CELL, 0.0), min(x + CELL, SIDE), min(y + CELL, SIDE))
        labels.append(Label(kind, box))
    return image, labels


def write_weights(path: Path, folder: Path, heavy: float) -> Path:
    """A table of weights for such a set: every third frame stands for `heavy` frames, the others for one."""
    images = sorted((folder / "images").iterdir())
    rows = [f"{image.name},{heavy if number % 3 == 0 else 1}" for number, image in enumerate(images)]
    return write_text(path, "\n".join(["frame,weight", *rows, ""]))


def colour_artifact(folder: Path, thresholds: tuple[float, ...] = (0.4, 0.4, 0.4)) -> Artifact:
    """The detector of colours with its record beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = write_colour_detector(folder / "colours.onnx", SIDE)
    artifact = Artifact(
        path=path, sha256=sha256(path), precision="fp32", imgsz=SIDE, names=NAMES, thresholds=thresholds
    )
    artifact.save_sidecar()
    return artifact
