"""Per-class confidence thresholds on audit frames: what a card asks for, never resting on a single example.

Audit frames are drawn at production prevalence, so false positives weigh what they weigh in production; frames that
were chosen carry weights, or production's own detections say how it differs (edgeloop.prior_shift). A class with few
labels has a threshold that is mostly chance: it is drawn toward the one that its own rule gives for all classes
together. A threshold that promises a recall or a risk is only ever drawn down, which keeps the promise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeloop.bootstrap import Doubles, Weights
from edgeloop.card import ThresholdCard
from edgeloop.objectives import Optimum, optimum
from edgeloop.ranking import Labelled, Ranking

RESAMPLES = 200
PROMISES = ("recall", "risk")


def shrink(own: float, everyone: float, labels: float, card: ThresholdCard) -> float:
    """A class's threshold drawn toward the global one, which weighs as much as `card.shrink` labelled boxes.

    One that keeps a recall or a risk is only lowered: a higher one would break what it promises.
    """
    if labels < card.minimum_truths:
        drawn = everyone
    else:
        drawn = (labels * own + card.shrink * everyone) / (labels + card.shrink)
    return min(own, drawn) if card.objective in PROMISES else drawn


@dataclass(frozen=True)
class Tuned:
    """Thresholds of the C classes, and how they came about.

    Attributes:
        thresholds: (C,).
        own: each class's own optimum; None where nothing of it was found.
        everyone: what each class's rule gives for all classes together.
        labels: so many equally weighted labelled boxes of each class would say as much.
    """

    thresholds: Doubles
    own: tuple[Optimum | None, ...]
    everyone: tuple[Optimum, ...]
    labels: tuple[float, ...]


@dataclass(frozen=True)
class Search:
    """The rankings and the card of every class: made once, drawn many times."""

    classes: tuple[Ranking, ...]
    everyone: Ranking
    cards: tuple[ThresholdCard, ...]

    @classmethod
    def of(cls, labelled: Labelled, card: ThresholdCard, names: Sequence[str]) -> Search:
        """`names`: of the artifact's classes, which come first in the matches."""
        ids = range(len(names))
        return cls(
            tuple(labelled.ranking([one]) for one in ids), labelled.ranking(ids), tuple(map(card.of_class, names))
        )

    def tune(self, draws: Weights | None = None) -> Tuned | None:
        """Thresholds of all classes; None where no detection found anything.

        `draws`: (F,) how often each frame counts, for a resample.
        """
        together, *rankings = (one if draws is None else one.drawn(draws) for one in (self.everyone, *self.classes))
        everyone = self._of_all(together)
        if everyone is None:
            return None
        own = tuple(optimum(one, card) for one, card in zip(rankings, self.cards, strict=True))
        labels = tuple(one.effective_labels for one in rankings)
        settled = [
            one.threshold if mine is None else shrink(mine.threshold, one.threshold, count, card)
            for mine, one, count, card in zip(own, everyone, labels, self.cards, strict=True)
        ]
        return Tuned(np.array(settled), own, everyone, labels)

    def _of_all(self, together: Ranking) -> tuple[Optimum, ...] | None:
        """What each class's card gives for all classes together; equal cards are asked once."""
        asked: dict[str, Optimum | None] = {}
        keys = [card.model_dump_json() for card in self.cards]
        for key, card in zip(keys, self.cards, strict=True):
            if key not in asked:
                asked[key] = optimum(together, card)
        found = [one for one in (asked[key] for key in keys) if one is not None]
        return tuple(found) if len(found) == len(keys) else None


def tune(labelled: Labelled, card: ThresholdCard, names: Sequence[str], draws: Weights | None = None) -> Tuned | None:
    """Thresholds of all classes; None where no detection found anything.

    Args:
        labelled: the tuning frames.
        card: what is asked for; of classes by their names.
        names: of the artifact's classes.
        draws: (F,) how often each frame counts, for a resample.
    """
    return Search.of(labelled, card, names).tune(draws)


def costs_of(cards: Sequence[ThresholdCard]) -> tuple[Doubles, Doubles]:
    """What a false positive and what a miss of each class costs, (C,) each."""
    return np.array([card.cost_false for card in cards]), np.array([card.cost_miss for card in cards])
