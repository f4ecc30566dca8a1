"""The worst mistakes as pictures: what was shown without being there, and what was there without being shown."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edgeloop.artifact import Artifact
from edgeloop.audit import AuditFrames
from edgeloop.boxes import Detections, Floats, iou_matrix
from edgeloop.edge.frame import Image, decode_image
from edgeloop.matching import Truths, match_frame
from edgeloop.measures import EvaluationReport
from edgeloop.predictions import load_predictions, renumber

SIDE = 220  # pixels of a picture
Colour = tuple[int, int, int]  # BGR
CONTEXT = 3.0  # sides of the box that the picture shows
MINIMUM_CROP = 64  # pixels of the original
GREEN, RED, AMBER = (96, 174, 39), (60, 60, 225), (30, 160, 245)  # labelled, shown wrongly, missed


@dataclass(frozen=True)
class Mistake:
    """One wrong detection or one missed label.

    Attributes:
        image: the frame's file.
        box: (4,) xyxy in pixels.
        truths: (G, 4) every labelled box of the frame.
        name: class.
        caption: what went wrong, in a few words.
        rank: lower is worse.
        missed: whether it was missed rather than shown wrongly.
    """

    image: Path
    box: Floats
    truths: Floats
    name: str
    caption: str
    rank: float
    missed: bool


@dataclass(frozen=True)
class Picture:
    """A mistake as a JPEG in a data URI."""

    uri: str
    name: str
    caption: str


def mistakes_of(artifact: Artifact, report: EvaluationReport, audit: AuditFrames) -> list[Mistake]:
    """Every mistake of an artifact at its own thresholds, from the detections that a report rests on.

    Raises:
        BadInput: the saved detections are missing or are not what the report says.
    """
    names = tuple(dict.fromkeys((*audit.names, *artifact.names)))
    seen = renumber(load_predictions(report.predictions, artifact.id, audit), artifact.names, names)
    return find_mistakes(audit, seen, names, artifact.thresholds_of(names))


def find_mistakes(
    audit: AuditFrames, detections: Sequence[Detections], names: Sequence[str], thresholds: Sequence[float]
) -> list[Mistake]:
    """Every mistake on a set at the thresholds and IoU 0.5.

    Args:
        audit: the frames.
        detections: of each frame, class ids into `names`.
        names: classes; holds every class of the set.
        thresholds: one for each name.
    """
    return [
        mistake
        for frame, seen, truth in zip(audit.frames, detections, audit.truths(names), strict=True)
        for mistake in _on_frame(frame.frame.image, seen, truth, names, thresholds)
    ]


def _on_frame(
    image: Path, seen: Detections, truth: Truths, names: Sequence[str], thresholds: Sequence[float]
) -> list[Mistake]:
    shown = seen.above(thresholds)
    hits, found = match_frame(shown, truth)
    wrong = [_wrong(image, shown, truth, names, row) for row in np.flatnonzero(~hits[:, 0]).tolist()]
    return wrong + [
        _missed(image, seen, truth, row, (names[truth.classes[row]], thresholds[truth.classes[row]]))
        for row in np.flatnonzero(~found[:, 0]).tolist()
    ]


def _wrong(image: Path, shown: Detections, truth: Truths, names: Sequence[str], row: int) -> Mistake:
    score = float(shown.scores[row])
    caption = f"score {score:.2f}, {_why(shown, row, truth, names)}"
    return Mistake(image, shown.boxes[row], truth.boxes, names[shown.classes[row]], caption, -score, missed=False)


def _missed(image: Path, seen: Detections, truth: Truths, row: int, labelled: tuple[str, float]) -> Mistake:
    name, threshold = labelled
    best = _best_score(seen, truth, row)
    caption = f"best score {best:.2f}, threshold {threshold:.2f}" if best else "not seen at any score"
    return Mistake(image, truth.boxes[row], truth.boxes, name, caption, best, missed=True)


def _why(shown: Detections, row: int, truth: Truths, names: Sequence[str]) -> str:
    overlap = iou_matrix(shown.boxes[row], truth.boxes)[0]
    if overlap.max(initial=0) < 0.1:
        return "nothing is labelled here"
    nearest = int(overlap.argmax())
    if truth.classes[nearest] != shown.classes[row]:
        return f"labelled {names[truth.classes[nearest]]}"
    if overlap[nearest] < 0.5:
        return f"misplaced, IoU {overlap[nearest]:.2f}"
    return "shown twice"


def _best_score(seen: Detections, truth: Truths, row: int) -> float:
    """The highest score of a detection of the class that fits the label, shown or not; 0 without one."""
    fits = (iou_matrix(seen.boxes, truth.boxes[row])[:, 0] >= 0.5) & (seen.classes == truth.classes[row])
    return float(seen.scores[fits].max(initial=0))


def worst(mistakes: Sequence[Mistake], count: int, *, missed: bool) -> list[Picture]:
    """Pictures of the worst ones: the surest false positives, or the labels that were seen least; larger ones first."""
    of_kind = [mistake for mistake in mistakes if mistake.missed is missed]
    ranked = sorted(of_kind, key=lambda one: (one.rank, -float(np.prod(one.box[2:] - one.box[:2]))))
    return [Picture(_draw(mistake), mistake.name, mistake.caption) for mistake in ranked[:count]]


def _draw(mistake: Mistake) -> str:
    colour = AMBER if mistake.missed else RED
    others = [box for box in mistake.truths if not (mistake.missed and np.array_equal(box, mistake.box))]
    return close_up(mistake.image, mistake.box, others, colour)


def close_up(path: Path, box: Floats, others: Sequence[Floats], colour: Colour) -> str:
    """A square around a box as a JPEG in a data URI; the box thick in its colour, the others thin and green.

    Args:
        path: of the image.
        box: (4,) xyxy in pixels.
        others: (4,) xyxy each.
        colour: BGR.
    """
    image = decode_image(path.read_bytes(), str(path))
    x, y, side = _window(box, image.shape[1], image.shape[0])
    picture, scale = _enlarge(image[y : y + side, x : x + side])
    offset = np.array([x, y, x, y])
    _rectangle(picture, (box - offset) * scale, colour, 3)
    for other in others:  # thin and on top, so that a label under a wrong box stays visible
        _rectangle(picture, (other - offset) * scale, GREEN, 1)
    return _as_uri(picture)


def thumbnail(path: Path, boxes: Sequence[Floats] = (), marked: Floats | None = None) -> str:
    """A whole image as a small JPEG in a data URI, its boxes ((4,) xyxy in pixels) in green, a marked one in amber."""
    picture, scale = _enlarge(decode_image(path.read_bytes(), str(path)))
    for box in boxes:
        _rectangle(picture, box * scale, GREEN, 1)
    if marked is not None:
        _rectangle(picture, marked * scale, AMBER, 2)
    return _as_uri(picture)


def _as_uri(picture: npt.NDArray[np.uint8]) -> str:
    encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 82])[1]
    return f"data:image/jpeg;base64,{base64.b64encode(encoded.tobytes()).decode()}"


def _window(box: Floats, width: int, height: int) -> tuple[int, int, int]:
    """Left, top and side of a square around the box that stays in the image where it can."""
    wanted = max(CONTEXT * float(np.max(box[2:] - box[:2])), MINIMUM_CROP)
    side = int(min(wanted, max(width, height)))
    centre = (box[:2] + box[2:]) / 2
    left, top = (
        int(np.clip(at - side / 2, 0, max(limit - side, 0))) for at, limit in zip(centre, (width, height), strict=True)
    )
    return left, top, side


def _enlarge(crop: Image) -> tuple[npt.NDArray[np.uint8], float]:
    scale = SIDE / max(crop.shape[:2])
    how = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    resized = cv2.resize(crop, None, fx=scale, fy=scale, interpolation=how)
    return np.ascontiguousarray(resized), scale


def _rectangle(picture: npt.NDArray[np.uint8], box: npt.NDArray[np.floating], colour: Colour, width: int) -> None:
    x1, y1, x2, y2 = (round(float(value)) for value in box)
    cv2.rectangle(picture, (x1, y1), (x2, y2), colour, width, cv2.LINE_AA)
