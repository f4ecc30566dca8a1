"""Whether a loaded file answers as a detector should, asked before it meets a camera."""

from __future__ import annotations

import numpy as np

from edgeloop.boxes import Floats
from edgeloop.edge.runtime import Batch, Runtime, noise
from edgeloop.errors import BadInput

WARM_UP = 5
SAME = 1e-3  # two runs of one engine on one input: an atomic sum may end in another last bit
# Mean over all scores, of the reference's mean: on noise a detector's scores are small, so nothing absolute tells. The
# sample's INT8 file differs there by 0.046 between ONNX Runtime and OpenVINO, its boxes by 0.0013; from FP32 by 0.9 and
# 0.02.
SCORE_TOLERANCE = 0.2
BOX_TOLERANCE = 0.01  # mean over all boxes, of the input's side


def self_test(runtime: Runtime, batch: int = 1, reference: Runtime | None = None) -> None:
    """Warm the runtime up and refuse it when its answers are not numbers, not repeatable or do not depend on the image.

    Args:
        runtime: what is about to be used.
        batch: images in a call where the file leaves that open.
        reference: the same file in a runtime that is trusted; its answer must be the same within what INT8 may differ.

    Raises:
        BadInput: it fails; the sentence says which question.
    """
    picture = noise(runtime, batch)
    for _ in range(WARM_UP):
        answer = runtime(picture).copy()
    again = runtime(picture).copy()
    blank = runtime(_blank(picture)).copy()
    if not (np.isfinite(answer).all() and np.isfinite(blank).all()):
        raise _failed(runtime, "its output holds values that are no numbers")
    if np.abs(answer - again).max() > SAME * max(1.0, float(np.abs(answer).max())):
        raise _failed(runtime, "the same image gave two answers")
    if np.array_equal(answer, blank):
        raise _failed(runtime, "noise and a grey image gave the same answer")
    if reference is not None:
        _compare(runtime, answer, reference(picture))


def _compare(runtime: Runtime, came: Floats, wanted: Floats) -> None:
    """Compare raw outputs: (N, 4 + classes, anchors), or (N, detections, 6), which runtimes may order differently."""
    if came.shape != wanted.shape:
        raise _failed(runtime, f"its output is {came.shape}, the reference's {wanted.shape}")
    if came.shape[-1] == 6:
        came, wanted = np.sort(came[..., 4]), np.sort(wanted[..., 4])
        differences = {"scores": (_drift(came, wanted) / _mean(wanted), SCORE_TOLERANCE)}
    else:
        side = float(runtime.shape[2] or wanted[:, :4].max())
        differences = {
            "scores": (_drift(came[:, 4:], wanted[:, 4:]) / _mean(wanted[:, 4:]), SCORE_TOLERANCE),
            "boxes": (_drift(came[:, :4], wanted[:, :4]) / side, BOX_TOLERANCE),
        }
    for what, (found, allowed) in differences.items():
        if found > allowed:
            raise _failed(runtime, f"its {what} are {found:.4f} away from the reference's, allowed is {allowed}")


def _drift(one: Floats, other: Floats) -> float:
    return float(np.abs(one - other).mean())


def _mean(scores: Floats) -> float:
    return max(float(scores.mean()), 1e-6)


def _blank(picture: Batch) -> Batch:
    """A grey image: the value that pads a letterboxed one."""
    grey = np.uint8(114) if picture.dtype == np.uint8 else np.float32(114 / 255)
    return np.full_like(picture, grey)


def _failed(runtime: Runtime, reason: str) -> BadInput:
    return BadInput(
        f"the file failed its self-test in {runtime.name}: {reason}. Export it again or choose another runtime."
    )
