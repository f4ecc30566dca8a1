"""One point of a training curve: what an epoch came to."""

from __future__ import annotations

from edgeloop.record import Record


class Epoch(Record):
    """What one pass over the training side came to.

    Attributes:
        epoch: from 1.
        losses: mean over the epoch on the training side, by Ultralytics' name (box, cls, dfl, …).
        learning_rate: of the first parameter group.
        map50, map50_95: on the validation side, 0..1; None where it was not looked at.
        seconds: it took.
    """

    epoch: int
    losses: dict[str, float]
    learning_rate: float
    map50: float | None = None
    map50_95: float | None = None
    seconds: float = 0.0
