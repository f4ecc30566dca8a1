"""Per-class confidence thresholds on audit frames: what a card asks for, never resting on a single example.

Audit frames are drawn at production prevalence, so false positives weigh what they weigh in production. A class with
few labels has a threshold that is mostly chance: it is drawn toward the one threshold that is best for all classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from edgeloop.bootstrap import Doubles, Weights, frame_weights
from edgeloop.card import ThresholdCard
from edgeloop.matching import Matches
from edgeloop.objectives import (
    best_threshold,
    cheapest_threshold,
    risk_controlled_threshold,
    threshold_at_recall,
)
from edgeloop.prior_shift import PriorShift

RESAMPLES = 200


@dataclass(frozen=True)
class Labelled:
    """Labelled frames that an artifact has seen.

    Attributes:
        matches: what it found on them; the artifact's classes come first.
        groups: (F,) what is drawn together when frames are resampled, and what a unit of a guarantee is.
        digests: of the frames and their labels.
        weights: (F,) what each frame stands for in production; empty: all the same.
        shift: what has changed in production since; None: nothing.
    """

    matches: Matches
    groups: Sequence[str]
    digests: Sequence[str] = ()
    weights: Sequence[float] = ()
    shift: PriorShift | None = None

    @property
    def frame_weights(self) -> Weights:
        """(F,) what each frame counts."""
        return np.asarray(self.weights) if self.weights else np.ones(self.matches.frame_count, np.int64)

    def draws(self) -> Weights:
        """(RESAMPLES, F): the frames drawn again by groups, times what each stands for."""
        return frame_weights(self.matches.frame_count, RESAMPLES, seed=0, groups=self.groups) * self.frame_weights


@dataclass(frozen=True)
class Tuned:
    """Thresholds (C,), each class's own optimum (C,) with NaN where it has none, and the global optimum.

    Attributes:
        broken: (C,) why a threshold does not keep what was asked for; "" where it does.
    """

    thresholds: Doubles
    own: Doubles
    everyone: float
    broken: tuple[str, ...] = field(default=())


def shrink(own: float, everyone: float, truths: float, card: ThresholdCard) -> float:
    """A class's threshold drawn toward the global one, which weighs as much as `card.shrink` labelled boxes.

    One that keeps a recall or a risk is only lowered: a higher one would break what it promises.
    """
    if truths < card.minimum_truths:
        drawn = everyone
    else:
        drawn = (truths * own + card.shrink * everyone) / (truths + card.shrink)
    return min(own, drawn) if card.objective in ("recall", "risk") else drawn


def tune(labelled: Labelled, card: ThresholdCard, names: Sequence[str], weights: Weights | None = None) -> Tuned | None:
    """Thresholds of all classes; None where no detection found anything.

    Args:
        labelled: the tuning frames.
        card: what is asked for; of classes by their names.
        names: of the artifact's classes.
        weights: (F,) how often each frame counts; what it stands for when None.
    """
    cards = [card.of_class(name) for name in names]
    search = _Search(labelled, labelled.frame_weights if weights is None else weights, card, cards)
    everyone = search.of_all()
    if everyone is None:
        return None
    found = [search.of_class(class_id) for class_id in range(len(cards))]
    final = [
        everyone if one is None else shrink(one.threshold, everyone, search.truths[class_id], cards[class_id])
        for class_id, one in enumerate(found)
    ]
    own = [np.nan if one is None else one.threshold for one in found]
    return Tuned(np.array(final), np.array(own), everyone, tuple("" if one is None else one.broken for one in found))


@dataclass(frozen=True)
class _Found:
    threshold: float
    broken: str = ""


class _Search:
    """One tuning: detections with what each counts, the card, and the card of each class."""

    def __init__(
        self, labelled: Labelled, frames: Weights, card: ThresholdCard, cards: Sequence[ThresholdCard]
    ) -> None:
        count = labelled.matches.class_count
        self.matches, self.frames, self.card = labelled.matches, frames, card
        self.cards = [*cards, *[card] * (count - len(cards))]  # of classes that the artifact does not know, too
        self.groups = np.unique(np.asarray(labelled.groups), return_inverse=True)[1]
        self.drawn = frames / labelled.frame_weights
        self.truths = frames @ labelled.matches.truths
        self.shift = labelled.shift or PriorShift(np.ones(count), np.ones(count), np.zeros(count, np.bool_))

    def of_all(self) -> float | None:
        """The one threshold for every class: of the best F-beta, the least cost or the recall, all boxes together."""
        matches, card = self.matches, self.card
        if not matches.hits[:, 0].any():
            return None
        if card.objective == "cost":
            return self._cheapest(matches)
        if card.objective in ("recall", "risk"):
            least = card.minimum_recall if card.objective == "recall" else 1 - card.maximum_risk
            found = threshold_at_recall(
                matches.scores, matches.hits[:, 0], self._missed(), least, self._weights(matches)
            )
            return found and found[0]
        return best_threshold(matches.scores, matches.hits[:, 0], self._missed(), card.beta, self._weights(matches))

    def of_class(self, class_id: int) -> _Found | None:
        """The threshold that one class asks for; None where it has nothing to place one by."""
        matches, card = self.matches.of_class(class_id), self.cards[class_id]
        hits, truths = matches.hits[:, 0], float(self.truths[class_id] * self.shift.right[class_id])
        if not hits.any():
            return None
        if card.objective == "cost":
            best = self._cheapest(matches, class_id)
            return None if best is None else _Found(best)
        if card.objective == "recall":
            return _kept(
                threshold_at_recall(matches.scores, hits, truths, card.minimum_recall, self._weights(matches)),
                f"a recall of {card.minimum_recall:g} is not reached at any threshold: everything is shown",
            )
        if card.objective == "risk":
            return self._controlled(matches, class_id)
        best = best_threshold(matches.scores, hits, truths, card.beta, self._weights(matches))
        return None if best is None else _Found(best)

    def _controlled(self, matches: Matches, class_id: int) -> _Found | None:
        """Of units that are drawn whole, so that a weight is how often the unit was drawn."""
        truths: Doubles = np.bincount(self.groups, matches.truths[:, class_id]).astype(np.float64)
        drawn = np.zeros(len(truths))
        drawn[self.groups] = self.drawn
        card, units = self.cards[class_id], int((truths > 0).sum())
        return _kept(
            risk_controlled_threshold(
                matches.scores, matches.hits[:, 0], self.groups[matches.frames], truths, card.maximum_risk, drawn
            ),
            f"a risk of {card.maximum_risk:g} cannot be guaranteed from {units} groups of frames that show it and what "
            f"is missed on them ({int(np.ceil(1 / card.maximum_risk - 1e-9)) - 1} are the least): everything is shown",
        )

    def _cheapest(self, matches: Matches, class_id: int | None = None) -> float | None:
        false, miss = costs_of(self.cards)
        weights = self._weights(matches)
        lost = (self.truths * self.shift.right * miss)[slice(None) if class_id is None else [class_id]].sum()
        effect = float(max(false.max(), miss.max()) if class_id is None else max(false[class_id], miss[class_id]))
        effect *= float(weights.mean()) if len(weights) else 1.0
        costs = (false[matches.classes] * weights, miss[matches.classes] * weights)
        return cheapest_threshold(matches.scores, matches.hits[:, 0], costs, float(lost), effect)

    def _weights(self, matches: Matches) -> Doubles:
        """What each detection counts, (N,)."""
        right, wrong = self.shift.right[matches.classes], self.shift.wrong[matches.classes]
        frames: Doubles = self.frames[matches.frames].astype(np.float64)
        counted: Doubles = np.where(matches.hits[:, 0], right, wrong) * frames
        return counted

    def _missed(self) -> float:
        """All truths, each by what it counts."""
        return float((self.truths * self.shift.right).sum())


def costs_of(cards: Sequence[ThresholdCard]) -> tuple[Doubles, Doubles]:
    """What a false positive and what a miss of each class costs, (C,) each."""
    return np.array([card.cost_false for card in cards]), np.array([card.cost_miss for card in cards])


def _kept(found: tuple[float, bool] | None, otherwise: str) -> _Found | None:
    return None if found is None else _Found(found[0], "" if found[1] else otherwise)
