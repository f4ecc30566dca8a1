"""The loss of a precision against its own FP32 on the same frames, with the interval of a paired bootstrap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeloop.bootstrap import (
    Doubles,
    average_precision,
    frame_weights,
    mean_over_classes,
    percentile_interval,
    relative_loss,
)
from edgeloop.boxes import Ints
from edgeloop.matching import IOU_LIMITS, Matches
from edgeloop.quantization import ClassLoss, Loss

RESAMPLES = 1000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Yardstick:
    """FP32 on labelled frames: what the loss of any other precision on the same frames is measured against.

    Attributes:
        matches: of FP32's detections with the labels.
        names: of the classes.
        draws: (1 + resamples, frames) how often each resample draws each frame; the first row has every frame once.
        precision: (1 + resamples, classes) FP32's AP50-95 under each.
    """

    matches: Matches
    names: tuple[str, ...]
    draws: Ints
    precision: Doubles

    @classmethod
    def of(cls, matches: Matches, names: tuple[str, ...], groups: Sequence[str] | None = None) -> Yardstick:
        """Measure FP32 once; frames of one group are drawn together."""
        resamples = frame_weights(matches.frame_count, RESAMPLES, 0, groups)
        draws = np.concatenate([np.ones((1, matches.frame_count), np.int64), resamples])
        return cls(matches, names, draws, _precision(matches, draws))

    @property
    def map50_95(self) -> float:
        """FP32's, over the classes that have a labelled box."""
        return float(np.nanmean(self.precision[0]))

    def loss(self, matches: Matches) -> Loss:
        """What another file loses, from the matches of its detections on the same frames."""
        precision = _precision(matches, self.draws)
        means = [mean_over_classes(values) for values in (precision, self.precision)]
        truths = matches.truths.sum(axis=0)
        drops = self.precision[0] - precision[0]
        return Loss(
            map50_95=float(means[0][0]),
            relative=percentile_interval(relative_loss(*means), CONFIDENCE),
            points=float(100 * (means[1][0] - means[0][0])),
            classes=tuple(
                ClassLoss(name=name, truths=int(count), loss=float(drop) if count else None)
                for name, count, drop in zip(self.names, truths, drops, strict=True)
            ),
        )


def _precision(matches: Matches, draws: Ints) -> Doubles:
    values: Doubles = average_precision(matches, draws, range(len(IOU_LIMITS))).mean(axis=2)
    return values
