"""What a class weighs in the classification loss, so that rare classes are not drowned by frequent ones.

"balanced" weighs a class by 1 / n, n its labelled boxes. "effective" weighs it by 1 / E(n), where
E(n) = (1 - b^n) / (1 - b) is the effective number of samples: Cui, Jia, Lin, Song and Belongie, "Class-Balanced Loss
Based on Effective Number of Samples", CVPR 2019, equation 2. E(n) is n for few boxes and 1 / (1 - b) for many, so that
of two frequent classes neither is favoured. The paper tries b from 0.9 to 0.9999; 0.999 counts up to about a thousand
boxes. Both are scaled to a mean of 1 over the classes that have boxes, as in the paper: the loss stays as large as it
was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from edgeloop.errors import BadInput

Scheme = Literal["none", "balanced", "effective"]
BETA = 0.999


def class_weights(
    counts: Sequence[int], names: Sequence[str], asked: Scheme | Mapping[str, float]
) -> tuple[float, ...] | None:
    """The weight of each class, in the order of the names; None where every class weighs the same on purpose.

    Args:
        counts: labelled boxes of each class, as the trainer is shown them.
        names: of the classes.
        asked: a scheme, or weights by name, taken as they are; a class that is not named weighs 1.

    Raises:
        BadInput: a name that the data set does not have.
    """
    if asked == "none":
        return None
    if isinstance(asked, Mapping):
        unknown = sorted(set(asked) - set(names))
        if unknown:
            raise BadInput(f"the card weighs the class {unknown[0]}; expected some of {', '.join(names)}.")
        return tuple(float(asked.get(name, 1.0)) for name in names)
    inverse = [None if count == 0 else 1 / _number(count, asked) for count in counts]
    known = [value for value in inverse if value is not None]
    if not known:
        return None
    mean = sum(known) / len(known)
    return tuple(1.0 if value is None else value / mean for value in inverse)


def _number(count: int, scheme: str) -> float:
    return float(count) if scheme == "balanced" else (1 - BETA**count) / (1 - BETA)
