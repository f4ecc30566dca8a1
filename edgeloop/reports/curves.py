"""Precision against recall as points of a small SVG, with the operating points that a threshold gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeloop.matching import Matches

WIDTH, HEIGHT = 240, 180  # of the plot, SVG units
MAXIMUM_POINTS = 160


@dataclass(frozen=True)
class Mark:
    """One operating point: where it lies in the plot, and what a threshold gives there."""

    name: str
    x: float
    y: float
    precision: float
    recall: float


@dataclass(frozen=True)
class Plot:
    """One class: `line` and `champion` are SVG polylines, `marks` the chosen point first."""

    name: str
    truths: int
    line: str
    champion: str
    marks: tuple[Mark, ...]


def plot_class(
    name: str, class_id: int, challenger: Matches, champion: Matches | None, thresholds: dict[str, float]
) -> Plot:
    """The curve of one class at IoU 0.5.

    Args:
        name: of the class.
        class_id: index into the classes of the matches.
        challenger, champion: on the same frames.
        thresholds: operating points by name, the chosen one first.
    """
    mine = challenger.of_class(class_id)
    return Plot(
        name=name,
        truths=int(challenger.truths[:, class_id].sum()),
        line=polyline(mine, class_id),
        champion=polyline(champion.of_class(class_id), class_id) if champion else "",
        marks=tuple(
            mark for label, value in thresholds.items() if (mark := _mark(label, mine, class_id, value)) is not None
        ),
    )


def polyline(matches: Matches, class_id: int) -> str:
    """`x,y x,y …`: precision after each detection of the class, only the steps that a threshold can make."""
    truths = int(matches.truths[:, class_id].sum())
    if not truths or not len(matches.scores):
        return ""
    found = np.cumsum(matches.hits[:, 0])
    precision, recall = found / np.arange(1, len(found) + 1), found / truths
    last = int(np.flatnonzero(matches.hits[:, 0]).max(initial=0)) + 1  # behind it only precision falls
    chosen = np.unique(np.linspace(0, last - 1, min(last, MAXIMUM_POINTS)).astype(int))
    points = zip(recall[chosen] * WIDTH, (1 - precision[chosen]) * HEIGHT, strict=True)
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _mark(label: str, matches: Matches, class_id: int, threshold: float) -> Mark | None:
    """None where the threshold shows nothing, or there is nothing to find."""
    shown = matches.scores >= np.float32(threshold)
    truths = int(matches.truths[:, class_id].sum())
    if not shown.any() or not truths:
        return None
    found = int(matches.hits[shown, 0].sum())
    precision, recall = found / int(shown.sum()), found / truths
    return Mark(label, recall * WIDTH, (1 - precision) * HEIGHT, precision, recall)


def plots(
    names: Sequence[str],
    challenger: Matches,
    champion: Matches | None,
    thresholds: dict[str, float],
    compared: Sequence[float],
) -> list[Plot]:
    """A plot for each class that has labels and a threshold."""
    return [
        plot_class(
            name,
            index,
            challenger,
            champion,
            {f"tuned {thresholds[name]:.2f}": thresholds[name]} | {f"global {value}": value for value in compared},
        )
        for index, name in enumerate(names)
        if name in thresholds and challenger.truths[:, index].any()
    ]
