"""A camera that was knocked: small rotations and tilts of a picture, and what they do to its boxes.

The corners of a box say too much: turned by 10 degrees, the rectangle around them is a third larger, and a perfect
detector would miss it at high IoU. Objects are rounder than their boxes, so a box is moved as the ellipse that it
contains, and gets the rectangle around that (Kalra et al., Towards Rotation Invariance in Object Detection, ICCV 2021).
It is still an estimate: IoU limits above 0.75 measure it along with the detector.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from edgeloop.boxes import Floats, Ints, area
from edgeloop.edge.frame import Image

POINTS = 64  # of an ellipse; the rectangle around them is short by at most 0.12 %
VISIBLE = 0.25  # of its area must stay in the picture, or the label is dropped: nobody would label the rest
MINIMUM_SIDE = 1.0  # pixels

# Boxes end between pixels, where 0 is the picture's border; OpenCV's 0 is the middle of the first pixel.
TO_PIXELS = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]])

Matrix = npt.NDArray[np.float64]


def rotation(shape: tuple[int, ...], degrees: float, random: np.random.Generator) -> Matrix:
    """(3, 3) about the middle, to either side; `shape` is (height, width, …)."""
    turn = np.deg2rad(degrees * random.choice([-1, 1]))
    x, y = shape[1] / 2, shape[0] / 2
    cosine, sine = np.cos(turn), np.sin(turn)
    return np.array([[cosine, -sine, x - cosine * x + sine * y], [sine, cosine, y - sine * x - cosine * y], [0, 0, 1]])


def perspective(shape: tuple[int, ...], tilt: float, random: np.random.Generator) -> Matrix:
    """(3, 3) that moves each corner by up to `tilt` of the side, in directions that do not depend on it."""
    height, width = shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    moved = corners + tilt * random.uniform(-1, 1, (4, 2)) * [width, height]
    return np.asarray(cv2.getPerspectiveTransform(corners, moved.astype(np.float32)), np.float64)


def warp(image: Image, matrix: Matrix) -> Image:
    """A picture (H, W, 3), moved, of the same size.

    What comes into it repeats its border: a mirror image would show objects that nobody labelled.
    """
    height, width = image.shape[:2]
    in_pixels = TO_PIXELS @ matrix @ np.linalg.inv(TO_PIXELS)
    moved = cv2.warpPerspective(image, in_pixels, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8)


def boxes_in_picture(boxes: Floats, matrix: Matrix, size: tuple[int, int]) -> tuple[Floats, Ints]:
    """Boxes (N, 4) xyxy, moved and cut to a picture of `size` (width, height), and which of them are still in it."""
    everywhere = move_boxes(boxes, matrix)
    inside = np.clip(everywhere, 0, np.array([*size, *size], np.float32)).astype(np.float32)
    sides = inside[:, 2:] - inside[:, :2]
    seen = area(inside) >= VISIBLE * area(everywhere)
    kept = np.flatnonzero(seen & (sides >= MINIMUM_SIDE).all(axis=1))
    return inside[kept], kept


def move_boxes(boxes: Floats, matrix: Matrix) -> Floats:
    """The rectangles (N, 4) around the moved ellipses that boxes (N, 4) contain, xyxy, wherever they end up."""
    turn = np.linspace(0, 2 * np.pi, POINTS, endpoint=False)
    middle, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    ellipses = middle[:, None, :] + half[:, None, :] * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    flat = np.concatenate([ellipses.reshape(-1, 2), np.ones((len(boxes) * POINTS, 1))], axis=1) @ matrix.T
    points = (flat[:, :2] / flat[:, 2:]).reshape(-1, POINTS, 2)
    around = [points.min(axis=1), points.max(axis=1)] if len(boxes) else [np.zeros((0, 2))] * 2
    return np.concatenate(around, axis=1).astype(np.float32)
