"""What the detector saw, drawn: into a video file or a window, when somebody asked for it."""

from __future__ import annotations

import uuid
from pathlib import Path

import cv2
import numpy as np

from edgeloop.artifact import Artifact
from edgeloop.boxes import Detections
from edgeloop.edge.frame import Image
from edgeloop.errors import BadInput

COLOURS = ((60, 60, 225), (96, 174, 39), (225, 130, 40), (30, 160, 245), (190, 80, 170), (170, 170, 40))  # BGR
TITLE = "edgeloop"
ESCAPE = 27


def draw(image: Image, found: Detections, artifact: Artifact) -> Image:
    """A copy of an (H, W, 3) BGR image with the detections that reach their thresholds."""
    picture = np.array(image)
    shown = found.above(artifact.thresholds)
    size = max(picture.shape[0] / 720, 0.4)
    for box, score, class_id in zip(shown.boxes, shown.scores, shown.classes, strict=True):
        colour = COLOURS[int(class_id) % len(COLOURS)]
        x1, y1, x2, y2 = (round(float(side)) for side in box)
        cv2.rectangle(picture, (x1, y1), (x2, y2), colour, max(1, round(2 * size)))
        label = f"{artifact.names[int(class_id)]} {score:.2f}"
        cv2.putText(picture, label, (x1, max(y1 - 4, 10)), cv2.FONT_HERSHEY_SIMPLEX, 0.6 * size, colour, 1, cv2.LINE_AA)
    return picture


class VideoFile:
    """An annotated MP4 of a run; it appears under its name when the run ends. Frames of another size are scaled."""

    def __init__(self, target: Path, rate: float) -> None:
        """Check the place; the file is opened with the first frame.

        Raises:
            BadInput: another suffix than .mp4, or no such folder.
        """
        if target.suffix.lower() != ".mp4" or not target.parent.is_dir():
            raise BadInput(f"expected a .mp4 in a folder that exists for the annotated video, came {target}.")
        self._target, self._rate = target, rate
        self._temporary = target.with_name(f".{target.stem}.{uuid.uuid4().hex[:8]}.tmp.mp4")
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)

    def show(self, picture: Image) -> bool:
        """Append a frame; always True."""
        if self._writer is None:
            self._size = (picture.shape[1], picture.shape[0])
            self._writer = self._open()
        if (picture.shape[1], picture.shape[0]) != self._size:
            picture = cv2.resize(picture, self._size)
        self._writer.write(picture)
        return True

    def close(self) -> None:
        if self._writer is not None:
            self._writer.release()
            self._temporary.replace(self._target)

    def _open(self) -> cv2.VideoWriter:
        code = cv2.VideoWriter.fourcc(*"mp4v")
        writer = cv2.VideoWriter(str(self._temporary), code, self._rate, self._size)
        if not writer.isOpened():
            raise BadInput(f"this OpenCV cannot write the video {self._target}; leave --save-video out.")
        return writer


class Window:
    """A window on the device's screen; q or Escape ends the run."""

    def __init__(self) -> None:
        """Open it.

        Raises:
            BadInput: this OpenCV has no windows, or there is no screen.
        """
        try:
            cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL)
        except cv2.error as error:
            raise BadInput(
                "this OpenCV has no windows (opencv-python-headless), or there is no screen; leave --show out and use "
                "--save-video OUT.mp4, or install opencv-python in place of the headless build."
            ) from error

    def show(self, picture: Image) -> bool:
        """Show a frame; False when the person closed the window."""
        cv2.imshow(TITLE, picture)
        return cv2.waitKey(1) & 0xFF not in (ord("q"), ESCAPE)

    def close(self) -> None:
        cv2.destroyWindow(TITLE)
