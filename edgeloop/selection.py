"""Which frames people should label: a budget over five strata, each for a different reason.

| stratum   | what it is for                                                                        |
|-----------|---------------------------------------------------------------------------------------|
| audit     | drawn at random from every frame: the only unbiased rates; never trained on           |
| flagged   | an operator said that the detector was wrong                                           |
| rare      | shows a class that the training side has few boxes of                                  |
| missed    | a box just below its threshold, or an empty frame that looks unlike the others         |
| uncertain | boxes close to their class's threshold: the label decides a coin toss                  |

Audit frames are drawn first. No other frame comes closer to one than the minimum gap of its camera, so that training
never sees the neighbour of a frame that judges it.

Near duplicates of frames that are chosen or labelled come last. They show as many objects in the same places to the
same camera, and their pictures are near by perceptual hash or, where it is not known, by image statistics. The hash
alone is not enough: at a fixed camera it is the same whoever walks by, at noon and at dusk.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from edgeloop.boxes import iou_matrix
from edgeloop.config import SamplingSection
from edgeloop.edge.flags import FlagKind
from edgeloop.near_duplicates import NEAR
from edgeloop.record import Record
from edgeloop.scoring import OUTLIER, SAME_OBJECT, Scored, score_frames

Stratum = Literal["uncertain", "rare", "missed", "flagged", "audit"]
NEAR_LOOK = 0.2  # robust standard deviations of brightness, contrast and sharpness, of one camera
HashOf = Callable[[str], int | None]  # the perceptual hash of a frame by its id; None when it is not known


class Known(Record):
    """What is known before choosing.

    Attributes:
        training_boxes: boxes per class on the training side.
        taken: ids of frames that are labelled or queued; they are never chosen again.
        flags: frame id and kind of what operators flagged.
    """

    training_boxes: tuple[int, ...]
    taken: tuple[str, ...] = ()
    flags: tuple[tuple[str, FlagKind], ...] = ()


class Selected(Record):
    """One chosen frame.

    Attributes:
        stratum: why it was chosen.
        score: 0..1, lowest labelled first. Flagged 0; audit a fixed random number, so that a queue left half done is
            still a fair draw; the others how sure the model is.
        reason: the same for people.
    """

    frame_id: str
    stratum: Stratum
    score: float
    reason: str


class Selection(Record):
    """A round of labelling, as sample hands it to labels.

    Attributes:
        artifact_id: whose log the frames come from.
        candidates: frames of the log that were not taken yet.
        path: where this record lies.
    """

    artifact_id: str
    budget: int
    candidates: int
    frames: tuple[Selected, ...]
    path: Path

    def count(self, stratum: Stratum) -> int:
        """How many frames a stratum got."""
        return sum(frame.stratum == stratum for frame in self.frames)


def _unknown(_: str) -> int | None:
    return None


def select(
    log: pa.Table,
    thresholds: Sequence[float],
    sampling: SamplingSection,
    known: Known,
    hash_of: HashOf = _unknown,
) -> tuple[Selected, ...]:
    """Choose frames to label, audit frames first; equal input gives an equal choice.

    As many as the budget says, unless the log has too few frames that keep the minimum gap. What a stratum cannot
    fill goes to the uncertain one. Frames without a stored image cannot be labelled and are not candidates.

    Args:
        log: inference log of one artifact, boxes down to its floor.
        thresholds: (classes,) of that artifact.
        sampling: budget, shares, gap and seed.
        known: what is labelled, queued, flagged and trained on.
        hash_of: asked only about frames that may be near duplicates, once each.

    Raises:
        BadInput: a column is missing, or a class id has no threshold.
    """
    rows, taken = _rows(log, known)
    choice = _Choice(score_frames(rows, thresholds, known.training_boxes), sampling, cache(hash_of), taken)
    budget = sampling.budget
    scored = choice.scored
    choice.draw_audit(round(sampling.audit_share * budget))
    choice.take_flagged(dict(known.flags), budget)
    choice.take("rare", scored.rare, min(budget, len(choice.chosen) + round(sampling.rare_share * budget)))
    choice.take("missed", scored.missed, min(budget, len(choice.chosen) + round(sampling.missed_share * budget)))
    choice.take("uncertain", scored.uncertainty, budget, everything=True)
    return tuple(choice.chosen[index] for index in sorted(choice.chosen, key=lambda i: choice.order[i]))


def _rows(log: pa.Table, known: Known) -> tuple[pa.Table, frozenset[int]]:
    """One row a frame, in order of time, without what has no image; and the rows of frames that are taken."""
    log = log.sort_by([("time", "ascending"), ("camera", "ascending"), ("frame_id", "ascending")])
    ids, images = log.column("frame_id").to_pylist(), log.column("image").to_pylist()
    first = {frame_id: row for row, frame_id in reversed([*enumerate(ids)]) if images[row]}
    kept = sorted(first.values())
    taken = set(known.taken)
    return log.take(pa.array(kept, pa.int64())), frozenset(at for at, row in enumerate(kept) if ids[row] in taken)


@dataclass
class _Choice:
    """The frames chosen so far, and the rules that a further frame must keep."""

    scored: Scored
    sampling: SamplingSection
    hash_of: HashOf
    taken: frozenset[int]
    chosen: dict[int, Selected] = field(default_factory=dict)
    order: dict[int, int] = field(default_factory=dict)
    times: dict[str, list[datetime]] = field(default_factory=dict)
    shown: dict[tuple[str, int], list[int]] = field(default_factory=dict)
    repeated: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        for index in sorted(self.taken):
            self.shown.setdefault(self._kind(index), []).append(index)

    def is_open(self, index: int) -> bool:
        """Whether a frame may still be chosen."""
        return index not in self.chosen and index not in self.taken

    def draw_audit(self, count: int) -> None:
        """Uniformly over all candidates, gap or no gap: any rule would bend the rates measured on them."""
        random = np.random.default_rng(self.sampling.seed)
        candidates = [index for index in range(len(self.scored)) if self.is_open(index)]
        for index in sorted(random.permutation(candidates)[:count].tolist()):
            draw = _fixed_draw(self.scored.frame_ids[index], self.sampling.seed)
            self._add(index, "audit", draw, "drawn at random from all frames")

    def take_flagged(self, flags: dict[str, FlagKind], budget: int) -> None:
        """Everything flagged, newest first when there is more than the budget."""
        indices = [i for i, frame_id in enumerate(self.scored.frame_ids) if frame_id in flags and self.is_open(i)]
        for index in indices[::-1][: budget - len(self.chosen)]:
            kind = flags[self.scored.frame_ids[index]]
            self._add(index, "flagged", 0.0, f"an operator flagged it: {kind}")

    def take(self, stratum: Stratum, ranks: npt.NDArray[np.float64], until: int, *, everything: bool = False) -> None:
        """The highest ranks until that many are chosen, near duplicates only when nothing else is left."""
        best = np.lexsort((np.arange(len(ranks)), -ranks))
        order = [int(i) for i in best if everything or ranks[i] > 0]
        rules: list[Callable[[int], bool]] = [lambda i: self._keeps_gap(i) and not self._resembles(i)]
        rules += [self._keeps_gap] if everything else []
        for rule in rules:
            for index in order:
                if len(self.chosen) >= until:
                    return
                if self.is_open(index) and rule(index):
                    self._add(index, stratum, self.scored.confidence(index), self.scored.reason(stratum, index))

    def _add(self, index: int, stratum: Stratum, score: float, reason: str) -> None:
        frame_id, camera = self.scored.frame_ids[index], self.scored.cameras[index]
        self.chosen[index] = Selected(frame_id=frame_id, stratum=stratum, score=round(score, 4), reason=reason)
        self.order[index] = len(self.order)
        self.times.setdefault(camera, []).append(self.scored.times[index])
        self.shown.setdefault(self._kind(index), []).append(index)

    def _kind(self, index: int) -> tuple[str, int]:
        """Camera and number of objects: only frames that have both in common are compared."""
        return self.scored.cameras[index], len(self.scored.objects[index])

    def _keeps_gap(self, index: int) -> bool:
        time = self.scored.times[index]
        others = self.times.get(self.scored.cameras[index], ())
        return all(abs((time - other).total_seconds()) >= self.sampling.minimum_gap_seconds for other in others)

    def _resembles(self, index: int) -> bool:
        """Whether it shows what a chosen or labelled frame shows; once so, always so."""
        if index not in self.repeated:
            others, objects = self.shown.get(self._kind(index), ()), self.scored.objects
            if any(_same_places(objects[index], objects[i]) and self._looks_like(index, i) for i in others):
                self.repeated.add(index)
        return index in self.repeated

    def _looks_like(self, one: int, other: int) -> bool:
        apart = self.scored.looks[one] - self.scored.looks[other]
        if float(np.abs(apart).max()) > OUTLIER:
            return False
        ours, theirs = (self.hash_of(self.scored.frame_ids[index]) for index in (one, other))
        if ours is None or theirs is None:
            return float(np.linalg.norm(apart)) < NEAR_LOOK
        return (ours ^ theirs).bit_count() <= NEAR


def _same_places(ours: npt.NDArray[np.float64], theirs: npt.NDArray[np.float64]) -> bool:
    """Whether each of equally many boxes covers one of the other side."""
    if not len(ours):
        return True
    same = iou_matrix(ours, theirs) > SAME_OBJECT
    return bool(same.any(axis=0).all() and same.any(axis=1).all())


def _fixed_draw(frame_id: str, seed: int) -> float:
    """A number in 0..1 that belongs to the frame."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{frame_id}".encode()).digest()[:4], "big") / 2**32
