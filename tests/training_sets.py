"""Tiny labelled sets in YOLO layout that a detector can learn from: one square an image, dark or light."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from edgeloop.card import Card

SIDE = 64
ARCHITECTURE = """
nc: 2
scales:
  n: [0.33, 0.125, 128]
backbone:
  - [-1, 1, Conv, [64, 3, 2]]
  - [-1, 1, Conv, [128, 3, 2]]
  - [-1, 1, Conv, [128, 3, 2]]
head:
  - [[2], 1, Detect, [nc]]
"""


def toy_card(folder: Path) -> Card:
    """A detector of a few thousand weights with an architecture of its own."""
    architecture = folder / "toyn.yaml"
    architecture.write_text(ARCHITECTURE)
    return Card(name="toy", architecture=str(architecture), imgsz=SIDE, batch=4, learning_rate=0.01)


def write_set(root: Path, train: int, val: int) -> Path:
    """Write the images, their labels and data.yaml; returns data.yaml."""
    random = np.random.default_rng(0)
    for side, count in (("train", train), ("val", val)):
        for kind in ("images", "labels"):
            (root / kind / side).mkdir(parents=True)
        for index in range(count):
            _write_frame(root, side, index, random)
    data_yaml = root / "data.yaml"
    data_yaml.write_text("path: .\ntrain: images/train\nval: images/val\nnames:\n  0: dark\n  1: light\n")
    return data_yaml


def _write_frame(root: Path, side: str, index: int, random: np.random.Generator) -> None:
    class_id = index % 2
    image = random.integers(110, 140, (SIDE, SIDE, 3), dtype=np.uint8)
    left, top = (int(value) for value in random.integers(4, 36, 2))
    image[top : top + 24, left : left + 24] = (20, 235)[class_id]
    cv2.imwrite(str(root / "images" / side / f"{side}{index}.jpg"), image)
    box = (left + 12) / SIDE, (top + 12) / SIDE, 24 / SIDE, 24 / SIDE
    line = f"{class_id} " + " ".join(f"{value:.6f}" for value in box)
    (root / "labels" / side / f"{side}{index}.txt").write_text(line + "\n")
