"""How far two detectors agree without any label: what share of their confidence the other one does not confirm.

A loss of average precision on a few hundred frames has an interval of whole per cents, and one layer's rounding costs
hundredths of one. This measure moves with every score and every box, so it ranks layers on a handful of frames.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from edgeloop.boxes import Detections, Floats, iou_matrix


def moved_share(pairs: Iterable[tuple[Detections, Detections]]) -> float:
    """The share of both detectors' confidence that the other does not confirm, 0 (equal) to 1 (nothing in common).

    Each detection counts with its score; what the other confirms of it is, for its best detection of the same class,
    IoU x the lower score / the higher score.

    Args:
        pairs: what the two saw on each frame; read one at a time.
    """
    moved = total = 0.0
    for first, second in pairs:
        agreement = _agreement(first, second)
        for seen, confirmed in (first, agreement.max(axis=1, initial=0)), (second, agreement.max(axis=0, initial=0)):
            moved += float((seen.scores * (1 - confirmed)).sum())
            total += float(seen.scores.sum())
    return moved / total if total else 0.0


def _agreement(first: Detections, second: Detections) -> Floats:
    """(N, M) what each of the one's detections and each of the other's confirm of each other."""
    scores = np.minimum.outer(first.scores, second.scores) / np.maximum.outer(first.scores, second.scores)
    same = first.classes[:, None] == second.classes[None, :]
    agreement: Floats = np.where(same, iou_matrix(first.boxes, second.boxes) * scores, np.float32(0))
    return agreement
