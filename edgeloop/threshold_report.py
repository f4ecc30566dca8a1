"""What tuned thresholds rest on and what they are worth: intervals, remarks, and a comparison with global ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from edgeloop.artifact import DEFAULT_THRESHOLD, Artifact
from edgeloop.bootstrap import Doubles, Weights, known_interval, percentile_interval
from edgeloop.card import ThresholdCard
from edgeloop.errors import BadInput
from edgeloop.matching import Matches
from edgeloop.measures import ClassThreshold, Interval, OperatingPoint, ThresholdReport
from edgeloop.prior_shift import PriorShift
from edgeloop.rates import Totals, totals
from edgeloop.thresholds import Labelled, costs_of, tune

COMPARED = (0.25, 0.5)  # global thresholds that people use: Ultralytics' default and a round one
CONFIDENCE = 0.95  # of the bootstrap intervals
On = Literal["tuning", "held-out"]


def report_thresholds(
    artifact: Artifact, labelled: Labelled, card: ThresholdCard, held_out: Labelled | None = None
) -> ThresholdReport:
    """Tune and state what the thresholds rest on. Without anything to tune on they are the default, with a warning.

    Args:
        artifact: whose detections were matched; its classes come first in the matches.
        labelled: what is tuned on.
        card: what the thresholds are for.
        held_out: frames that nothing was tuned on, for comparing.

    Raises:
        BadInput: the card asks something for a class that the artifact does not know.
    """
    cards = _cards(artifact, card)
    tuned = tune(labelled, card, artifact.names)
    if tuned is None:
        return _fall_back(artifact, labelled, card, held_out)
    draws = labelled.draws()
    again = [
        drawn.thresholds for weights in draws if (drawn := tune(labelled, card, artifact.names, weights)) is not None
    ]
    tail = (1 - CONFIDENCE) / 2 * 100
    low, high = np.percentile(again or [tuned.thresholds], [tail, 100 - tail], axis=0)
    counts = labelled.matches.truths.sum(axis=0)
    seen = totals(labelled.matches, _limits(tuned.thresholds, labelled.matches), _with_draws(labelled, draws))
    classes = [
        ClassThreshold(
            name=name,
            threshold=float(tuned.thresholds[index]),
            own=None if np.isnan(tuned.own[index]) else float(tuned.own[index]),
            low=float(low[index]),
            high=float(high[index]),
            truths=int(counts[index]),
            basis=_basis(float(tuned.own[index]), int(counts[index]), cards[index]),
            objective=cards[index].objective,
            recall=known_interval(seen.recall([index]), CONFIDENCE),
        )
        for index, name in enumerate(artifact.names)
    ]
    report = _report(artifact, labelled, card, classes, held_out)
    return report.model_copy(
        update={"global_threshold": tuned.everyone, "remarks": _remarks(classes, tuned.broken, cards, labelled)}
    )


def _cards(artifact: Artifact, card: ThresholdCard) -> list[ThresholdCard]:
    unknown = sorted(set(card.classes) - set(artifact.names))
    if unknown:
        raise BadInput(
            f"the card's thresholds name the class {unknown[0]!r}; expected classes of the artifact: "
            f"{', '.join(artifact.names)}."
        )
    return [card.of_class(name) for name in artifact.names]


def _basis(own: float, truths: int, card: ThresholdCard) -> Literal["own", "shrunk", "global"]:
    if np.isnan(own) or truths < card.minimum_truths:
        return "global"
    return "shrunk" if card.shrink else "own"


def _remarks(
    classes: Sequence[ClassThreshold], broken: Sequence[str], cards: Sequence[ThresholdCard], labelled: Labelled
) -> tuple[str, ...]:
    """What a reader must know of single classes."""
    said = [f"{one.name}: {why}." for one, why in zip(classes, broken, strict=True) if why]
    said += [
        f"{one.name}: no labelled box to tune on, it has the global threshold." for one in classes if not one.truths
    ]
    if any(one.objective == "risk" for one in classes):
        kept = [
            f"{one.name} at most {card.maximum_risk:g}"
            for one, card, why in zip(classes, cards, broken, strict=True)
            if one.objective == "risk" and one.own is not None and not why
        ]
        said.append(
            f"Guaranteed expected miss rate on new frames that show the class: {', '.join(kept) or 'none'}. "
            "It holds on average over draws of the tuning frames, for production that is exchangeable with them."
        )
        if len(set(labelled.weights)) > 1:
            said.append("The guarantee holds for frames as these were drawn; their weights do not enter it.")
    return tuple(said)


def _fall_back(
    artifact: Artifact, labelled: Labelled, card: ThresholdCard, held_out: Labelled | None
) -> ThresholdReport:
    """The default for every class, and a warning that says why."""
    counts = labelled.matches.truths.sum(axis=0)
    default = DEFAULT_THRESHOLD
    classes = [
        ClassThreshold(
            name=name, threshold=default, own=None, low=0.0, high=1.0, truths=int(counts[index]), basis="default",
            objective=card.of_class(name).objective,
        )
        for index, name in enumerate(artifact.names)
    ]  # fmt: skip
    frames = labelled.matches.frame_count
    why = f"{frames} tuning frames with {counts.sum()} labelled boxes, none of which the artifact found"
    warning = f"Thresholds were not tuned: {why}. Every class has the default {default}. Label more audit frames."
    return _report(artifact, labelled, card, classes, held_out).model_copy(update={"warning": warning})


def _report(
    artifact: Artifact,
    labelled: Labelled,
    card: ThresholdCard,
    classes: Sequence[ClassThreshold],
    held_out: Labelled | None,
) -> ThresholdReport:
    thresholds = tuple(item.threshold for item in classes)
    compared = {"tuned": thresholds} | {f"global {value}": (value,) * len(thresholds) for value in COMPARED}
    sets: list[tuple[On, Labelled]] = [("tuning", labelled)]
    if held_out is not None and held_out.matches.frame_count:
        sets.append(("held-out", held_out))
    labelled_classes = [one for one in classes if one.truths]
    return ThresholdReport(
        tuned=artifact.model_copy(update={"thresholds": thresholds}),
        audit_digests=tuple(labelled.digests),
        frames=labelled.matches.frame_count,
        truths=int(labelled.matches.truths.sum()),
        beta=card.beta,
        global_threshold=DEFAULT_THRESHOLD,
        classes=tuple(classes),
        comparison=tuple(
            operating_point(name, on, seen, values, (artifact.names, card))
            for on, seen in sets
            for name, values in compared.items()
        ),
        card=card,
        rarest=min(labelled_classes, key=lambda one: one.truths).name if len(labelled_classes) > 1 else None,
        saving=saving(sets[-1][1], thresholds, (artifact.names, card)),
        shifted=_shifted(artifact, labelled.shift),
    )


def _shifted(artifact: Artifact, shift: PriorShift | None) -> dict[str, float]:
    if shift is None:
        return {}
    return {name: float(shift.right[index]) for index, name in enumerate(artifact.names) if shift.estimated[index]}


def operating_point(
    name: str, on: On, labelled: Labelled, thresholds: Sequence[float], of: tuple[Sequence[str], ThresholdCard]
) -> OperatingPoint:
    """What thresholds give over all classes; classes beyond the given thresholds are never shown.

    Args:
        name: of the thresholds.
        on: what the frames are.
        labelled: the frames; weighted by what each stands for.
        thresholds: one for each of the artifact's classes.
        of: the artifact's class names, and the card with the costs.
    """
    names, card = of
    counts = totals(labelled.matches, _limits(thresholds, labelled.matches), labelled.frame_weights[None])
    found, false, missed = (float(part.sum()) for part in (counts.found, counts.false, counts.truths - counts.found))
    weighted = (1 + card.beta**2) * found + card.beta**2 * missed + false
    per_frame = 1000 / float(counts.frames[0]) if labelled.matches.frame_count else 0.0
    recalls = {one: float(counts.recall([index])[0]) for index, one in enumerate(names)}
    return OperatingPoint(
        name=name,
        on=on,
        precision=found / (found + false) if found + false else None,
        recall=found / (found + missed) if found + missed else None,
        f_beta=(1 + card.beta**2) * found / weighted if weighted else None,
        false_positives_per_1000_frames=false * per_frame,
        missed_per_1000_frames=missed * per_frame,
        cost_per_1000_frames=float(_cost(counts, of)[0]) * per_frame,
        recalls={one: None if np.isnan(value) else value for one, value in recalls.items()},
    )


def saving(labelled: Labelled, thresholds: Sequence[float], of: tuple[Sequence[str], ThresholdCard]) -> Interval | None:
    """Which share of the cost at a global 0.5 these thresholds save, with a bootstrap interval over groups of frames.

    None where there are no frames, or a global 0.5 costs nothing.
    """
    if not labelled.matches.frame_count:
        return None
    draws = _with_draws(labelled, labelled.draws())
    ours, theirs = (
        _cost(totals(labelled.matches, _limits(limits, labelled.matches), draws), of)
        for limits in (thresholds, (COMPARED[-1],) * len(thresholds))
    )
    if theirs[0] == 0:
        return None
    saved = np.divide(theirs - ours, theirs, out=np.full(len(theirs), np.nan), where=theirs > 0)
    return percentile_interval(saved, CONFIDENCE)


def _cost(counts: Totals, of: tuple[Sequence[str], ThresholdCard]) -> Doubles:
    """What false positives and misses cost, (B,), in the card's unit; classes without a card cost what it says."""
    names, card = of
    cards = [card.of_class(name) for name in names]
    cards += [card] * (counts.false.shape[1] - len(cards))
    false, miss = costs_of(cards)
    summed: Doubles = counts.false @ false + (counts.truths - counts.found) @ miss
    return summed


def _limits(thresholds: Sequence[float] | Doubles, matches: Matches) -> list[float]:
    """A threshold for every class of the matches; those beyond the given ones are never shown."""
    return [*map(float, thresholds), *[1.1] * (matches.class_count - len(thresholds))]


def _with_draws(labelled: Labelled, draws: Weights) -> Weights:
    """The frames as they are, then each resample: (1 + B, F)."""
    return np.concatenate([labelled.frame_weights[None], draws])
