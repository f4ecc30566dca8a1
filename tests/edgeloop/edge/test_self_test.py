"""The self-test: a healthy file passes in every runtime, and each way of being wrong is told apart."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from edgeloop.artifact import Artifact
from edgeloop.edge.runtime import CPU_RUNTIMES, Batch, open_runtime
from edgeloop.edge.self_test import self_test
from edgeloop.errors import BadInput

Make = Callable[..., Artifact]


class ScriptedRuntime:
    """Answers as it is told to: small scores over boxes of a 64-pixel square, as a detector does on noise."""

    name = "tensorrt"
    shape = (1, 3, 64, 64)
    input = "float32-nchw"

    def __init__(self, change: Callable[[np.ndarray], np.ndarray] = lambda output: output) -> None:
        self.change = change

    def __call__(self, batch: Batch) -> np.ndarray:
        boxes = np.linspace(0, 64, 4 * 50, dtype=np.float32).reshape(1, 4, 50)
        scores = np.full((1, 3, 50), batch.mean() * 0.002, np.float32)
        return self.change(np.concatenate([boxes, scores], axis=1))

    def close(self) -> None: ...


@pytest.mark.parametrize("batch", [1, 4])
def test_a_healthy_file_passes(colour_artifact: Make, batch: int) -> None:
    """In both CPU runtimes, each the other's reference."""
    path = colour_artifact(64, "N").path
    one, other = (open_runtime(path, name, batch=batch) for name in CPU_RUNTIMES)
    self_test(one, batch, other)
    self_test(other, batch, one)


def scores_gone(output: np.ndarray) -> np.ndarray:
    output[:, 4:] *= 0.1
    return output


def boxes_moved(output: np.ndarray) -> np.ndarray:
    output[:, :4] += 2
    return output


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (scores_gone, "scores are 0.9"),
        (boxes_moved, "boxes are 0.03"),
        (lambda output: output[:, :, :40], "its output is"),
        (np.zeros_like, "noise and a grey image"),
        (lambda output: output / 0, "no numbers"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_wrong_answers_are_told_apart(change: Callable[[np.ndarray], np.ndarray], reason: str) -> None:
    """Scores that are a tenth of what they should be are found, though both are near zero on noise."""
    self_test(ScriptedRuntime(), 1, ScriptedRuntime())
    with pytest.raises(BadInput, match=reason):
        self_test(ScriptedRuntime(change), 1, ScriptedRuntime())


def test_rounding_as_of_two_int8_runtimes_passes() -> None:
    """What ONNX Runtime and OpenVINO differ by on one INT8 file is no failure."""

    def rounded(output: np.ndarray) -> np.ndarray:
        output[:, 4:] *= 1.046
        output[:, :4] += 0.0013 * 64
        return output

    self_test(ScriptedRuntime(rounded), 1, ScriptedRuntime())
