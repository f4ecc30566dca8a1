"""How often a training frame is shown in an epoch, so that rare classes are seen more often.

Repeat-factor sampling: Gupta, Dollár and Girshick, "LVIS: A Dataset for Large Vocabulary Instance Segmentation",
CVPR 2019, appendix B. A class on a share f of the frames is repeated r(c) = max(1, sqrt(t / f)) times, a frame as often
as the rarest of its classes. t is the share below which a class counts as rare. The paper's 0.001 is for 1,203 classes;
with ten classes 0.1 doubles a class that one frame in forty shows.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence


def class_factors(shown: Sequence[frozenset[int]], threshold: float) -> dict[int, float]:
    """r(c) of every class that occurs.

    Args:
        shown: the classes on each training frame; none for a background.
        threshold: t, in 0..1.
    """
    frames = Counter(class_id for classes in shown for class_id in classes)
    return {class_id: max(1.0, math.sqrt(threshold * len(shown) / count)) for class_id, count in sorted(frames.items())}


def frame_factors(shown: Sequence[frozenset[int]], threshold: float) -> list[float]:
    """The repeat factor of every frame: the largest of its classes', 1 for a background."""
    factors = class_factors(shown, threshold)
    return [max((factors[class_id] for class_id in classes), default=1.0) for classes in shown]


def repeats(names: Sequence[str], shown: Sequence[frozenset[int]], threshold: float, seed: int) -> list[int]:
    """How often each frame is shown in an epoch: its factor, the fraction rounded up or down by a hash of its name.

    On average over the frames the factor is met. The same seed gives the same numbers; where the factors stay, a frame
    keeps its number when others join.

    Args:
        names: of the frames, such as their ids.
        shown: the classes on each.
        threshold: t, in 0..1.
        seed: another one rounds other frames up.
    """
    factors = frame_factors(shown, threshold)
    return [
        int(factor) + (_draw(name, seed) < factor - int(factor)) for name, factor in zip(names, factors, strict=True)
    ]


def _draw(name: str, seed: int) -> float:
    digest = hashlib.sha256(f"edgeloop repeat {seed} {name}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
