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
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from edgeloop.config import SamplingSection
from edgeloop.edge.flags import FlagKind
from edgeloop.record import Record
from edgeloop.scoring import Scored, score_frames

Stratum = Literal["uncertain", "rare", "missed", "flagged", "audit"]
NEAR_DUPLICATE = 0.2  # robust standard deviations of brightness, contrast and sharpness, of one camera


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


def select(log: pa.Table, thresholds: Sequence[float], sampling: SamplingSection, known: Known) -> tuple[Selected, ...]:
    """Choose frames to label, audit frames first; equal input gives an equal choice.

    As many as the budget says, unless the log has too few frames that keep the minimum gap. What a stratum cannot
    fill goes to the uncertain one. Frames without a stored image cannot be labelled and are not candidates.

    Args:
        log: inference log of one artifact, boxes down to its floor.
        thresholds: (classes,) of that artifact.
        sampling: budget, shares, gap and seed.
        known: what is labelled, queued, flagged and trained on.

    Raises:
        BadInput: a column is missing, or a class id has no threshold.
    """
    scored = score_frames(_candidates(log, known), thresholds, known.training_boxes)
    choice = _Choice(scored, sampling)
    budget = sampling.budget
    choice.draw_audit(round(sampling.audit_share * budget))
    choice.take_flagged(dict(known.flags), budget)
    choice.take("rare", scored.rare, min(budget, len(choice.chosen) + round(sampling.rare_share * budget)))
    choice.take("missed", scored.missed, min(budget, len(choice.chosen) + round(sampling.missed_share * budget)))
    choice.take("uncertain", scored.uncertainty, budget, everything=True)
    return tuple(choice.chosen[index] for index in sorted(choice.chosen, key=lambda i: choice.order[i]))


def _candidates(log: pa.Table, known: Known) -> pa.Table:
    """One row a frame, in order of time, without what is taken and what has no image."""
    log = log.sort_by([("time", "ascending"), ("camera", "ascending"), ("frame_id", "ascending")])
    ids, images = log.column("frame_id").to_pylist(), log.column("image").to_pylist()
    seen = set(known.taken)
    keep = []
    for index, (frame_id, image) in enumerate(zip(ids, images, strict=True)):
        if frame_id not in seen and image:
            seen.add(frame_id)
            keep.append(index)
    return log.take(pa.array(keep, pa.int64()))


@dataclass
class _Choice:
    """The frames chosen so far, and the rules that a further frame must keep."""

    scored: Scored
    sampling: SamplingSection
    chosen: dict[int, Selected] = field(default_factory=dict)
    order: dict[int, int] = field(default_factory=dict)
    times: dict[str, list[datetime]] = field(default_factory=dict)
    looks: dict[tuple[str, int], list[npt.NDArray[np.float64]]] = field(default_factory=dict)

    def draw_audit(self, count: int) -> None:
        """Uniformly over all candidates, gap or no gap: any rule would bend the rates measured on them."""
        random = np.random.default_rng(self.sampling.seed)
        size = len(self.scored)
        for index in sorted(random.permutation(size)[:count].tolist()):
            draw = _fixed_draw(self.scored.frame_ids[index], self.sampling.seed)
            self._add(index, "audit", draw, "drawn at random from all frames")

    def take_flagged(self, flags: dict[str, FlagKind], budget: int) -> None:
        """Everything flagged, newest first when there is more than the budget."""
        indices = [i for i, frame_id in enumerate(self.scored.frame_ids) if frame_id in flags and i not in self.chosen]
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
                if index not in self.chosen and rule(index):
                    self._add(index, stratum, self.scored.confidence(index), self.scored.reason(stratum, index))

    def _add(self, index: int, stratum: Stratum, score: float, reason: str) -> None:
        frame_id, camera = self.scored.frame_ids[index], self.scored.cameras[index]
        self.chosen[index] = Selected(frame_id=frame_id, stratum=stratum, score=round(score, 4), reason=reason)
        self.order[index] = len(self.order)
        self.times.setdefault(camera, []).append(self.scored.times[index])
        self.looks.setdefault((camera, self.scored.objects[index]), []).append(self.scored.looks[index])

    def _keeps_gap(self, index: int) -> bool:
        time = self.scored.times[index]
        others = self.times.get(self.scored.cameras[index], ())
        return all(abs((time - other).total_seconds()) >= self.sampling.minimum_gap_seconds for other in others)

    def _resembles(self, index: int) -> bool:
        """Whether a chosen frame of the camera has as many objects and nearly the same image statistics."""
        others = self.looks.get((self.scored.cameras[index], self.scored.objects[index]), ())
        look = self.scored.looks[index]
        return any(float(np.linalg.norm(look - other)) < NEAR_DUPLICATE for other in others)


def _fixed_draw(frame_id: str, seed: int) -> float:
    """A number in 0..1 that belongs to the frame."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{frame_id}".encode()).digest()[:4], "big") / 2**32
