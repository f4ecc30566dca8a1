"""What tuned thresholds rest on and what they are worth: intervals, remarks, and a comparison with global ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from edgeloop.artifact import DEFAULT_THRESHOLD, Artifact
from edgeloop.bootstrap import Doubles, known_interval
from edgeloop.boxes import Ints
from edgeloop.card import ThresholdCard
from edgeloop.errors import BadInput
from edgeloop.measures import ClassThreshold, Interval, ThresholdReport
from edgeloop.objectives import Optimum, optimum, recall_bound
from edgeloop.operating_points import CONFIDENCE, On, compared, counts_at, operating_point, savings, with_draws
from edgeloop.ranking import Labelled
from edgeloop.thresholds import PROMISES, RESAMPLES, Search, Tuned


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
    _refuse_unknown(artifact, card)
    search = Search.of(labelled, card, artifact.names)
    tuned = search.tune()
    if tuned is None:
        return _fall_back(artifact, labelled, card, held_out)
    draws = labelled.draws(RESAMPLES)
    again = [drawn.thresholds for one in draws if (drawn := search.tune(one)) is not None]
    tail = (1 - CONFIDENCE) / 2 * 100
    ends = np.percentile(again or [tuned.thresholds], [tail, 100 - tail], axis=0)
    recalls = _recalls(labelled, tuned, draws)
    counts = labelled.matches.truths.sum(axis=0)
    classes = [
        ClassThreshold(
            name=name,
            threshold=float(tuned.thresholds[index]),
            own=mine.threshold if mine else None,
            low=float(ends[0][index]),
            high=float(ends[1][index]),
            truths=int(counts[index]),
            basis=_basis(float(tuned.thresholds[index]), mine, tuned.labels[index], search.cards[index]),
            objective=search.cards[index].objective,
            recall=recalls[index][0],
            recall_bound=recalls[index][1],
            everyone=tuned.everyone[index].threshold,
            guarantee=mine.guarantee if mine else "",
        )
        for index, (name, mine) in enumerate(zip(artifact.names, tuned.own, strict=True))
    ]
    together = optimum(search.everyone, card)
    return _report(artifact, labelled, card, classes, held_out).model_copy(
        update={
            "global_threshold": together.threshold if together else DEFAULT_THRESHOLD,
            "remarks": _remarks(classes, tuned.own, held_out),
        }
    )


def _refuse_unknown(artifact: Artifact, card: ThresholdCard) -> None:
    unknown = sorted(set(card.classes) - set(artifact.names))
    if unknown:
        raise BadInput(
            f"the card's thresholds name the class {unknown[0]!r}; expected classes of the artifact: "
            f"{', '.join(artifact.names)}."
        )


def _basis(
    threshold: float, own: Optimum | None, labels: float, card: ThresholdCard
) -> Literal["own", "shrunk", "global"]:
    if own is not None and threshold == own.threshold:
        return "own"
    return "global" if own is None or labels < card.minimum_truths else "shrunk"


def _recalls(labelled: Labelled, tuned: Tuned, draws: Ints) -> list[tuple[Interval | None, float | None]]:
    """Recall of each class with its interval and its one-sided lower bound.

    The bound is the lower of the exact one, which takes boxes for independent, and the bootstrap's over groups, which
    knows of no miss where none happened.
    """
    found = counts_at(labelled, tuned.thresholds, with_draws(labelled, draws))
    return [_recall(found.recall([index]), labels) for index, labels in enumerate(tuned.labels)]


def _recall(found: Doubles, labels: float) -> tuple[Interval | None, float | None]:
    interval = known_interval(found, CONFIDENCE)
    if interval is None:
        return None, None
    exact = recall_bound(interval.value * labels, labels, CONFIDENCE)
    drawn = found[1:][~np.isnan(found[1:])]
    return interval, min(exact, float(np.percentile(drawn, 100 * (1 - CONFIDENCE))) if len(drawn) else exact)


def _remarks(
    classes: Sequence[ClassThreshold], own: Sequence[Optimum | None], held_out: Labelled | None
) -> tuple[str, ...]:
    """What a reader must know of single classes."""
    said = []
    for one, mine in zip(classes, own, strict=True):
        if mine is None:
            said.append(f"{one.name}: {_nothing(one)}.")
        elif mine.note:
            said.append(f"{one.name}: {mine.note}.")
        if one.guarantee:
            said.append(f"{one.name}: {one.guarantee}.")
    if held_out is not None:
        missing = [
            one.name for one, count in zip(classes, held_out.matches.truths.sum(axis=0), strict=False) if not count
        ]
        if missing:
            said.append(f"No labelled box of {', '.join(missing)} on the held-out frames: not judged there.")
    return tuple(said)


def _nothing(one: ClassThreshold) -> str:
    """Why a class has no optimum of its own."""
    why = f"none of its {one.truths} labelled boxes was found" if one.truths else "no labelled box to tune on"
    promised = f", and no {'recall' if one.objective == 'recall' else 'miss rate'} is promised"
    return f"{why}, it has the global threshold{promised if one.objective in PROMISES else ''}"


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
    asked = (artifact.names, card)
    sets: list[tuple[On, Labelled]] = [("tuning", labelled)]
    if held_out is not None and held_out.matches.frame_count:
        sets.append(("held-out", held_out))
    labelled_classes = [one for one in classes if one.truths]
    saved = savings(sets[-1][1], thresholds, asked)
    priors = labelled.shift.classes if labelled.shift else ()
    weights = labelled.frame_weights
    return ThresholdReport(
        tuned=artifact.model_copy(update={"thresholds": thresholds}),
        audit_digests=tuple(labelled.digests),
        frames=labelled.matches.frame_count,
        truths=int(labelled.matches.truths.sum()),
        beta=card.beta,
        global_threshold=DEFAULT_THRESHOLD,
        classes=tuple(classes),
        comparison=tuple(
            operating_point(name, on, seen, values, asked)
            for on, seen in sets
            for name, values in compared(thresholds).items()
        ),
        card=card,
        rarest=min(labelled_classes, key=lambda one: one.truths).name if len(labelled_classes) > 1 else None,
        saving=saved.get("global 0.5"),
        savings=saved,
        shifted={one.name: one.right_ratio for one in priors if one.production is not None},
        priors=priors,
        effective_frames=float(weights.sum() ** 2 / (weights**2).sum()) if len(labelled.weights) else None,
    )
