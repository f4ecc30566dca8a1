"""The demo: the loop once, from the first labelled frame to a champion that was retrained after an alarm."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from edgeloop.dataset import DatasetVersion
from edgeloop.drift import DriftReport, RetrainDecision
from edgeloop.errors import Refused
from edgeloop.measures import Candidate
from edgeloop.record import Record
from edgeloop.retraining import RetrainResult
from edgeloop.selection import Selection, Stratum

Size = Literal["demo", "tiny"]
STRATA: tuple[Stratum, ...] = ("uncertain", "rare", "missed", "flagged", "audit")


class DemoOptions(Record):
    """What the demo runs on.

    Attributes:
        size: of the generated set.
        seed: of the generated set, or of the division of the user's.
        data: a labelled set of the user's; None generates one.
    """

    size: Size = "demo"
    seed: int = Field(default=0, ge=0)
    data: Path | None = None

    @classmethod
    def checked(cls, **values: object) -> DemoOptions:
        """Options from the command line.

        Raises:
            BadInput: a value does not fit.
        """
        return cls.from_document(dict(values), "the demo's options")


class DemoResult(Record):
    """What happened in one turn of the loop.

    Attributes:
        scene: the five folders it ran on.
        versions: of the data set, before and after labelling.
        first, second: the two rounds of training; second None when no drift was found.
        calm, alarm: what drift said of the clean and of the drifted stream.
        decision: on the alarm.
        selection: the frames that people were asked about.
        labelled: how many of them were labelled.
    """

    scene: Path
    versions: tuple[DatasetVersion, ...]
    first: RetrainResult
    calm: DriftReport
    alarm: DriftReport
    decision: RetrainDecision
    selection: Selection | None = None
    labelled: int = 0
    second: RetrainResult | None = None

    @property
    def budget_spent(self) -> dict[Stratum, int]:
        """Labelled frames a stratum."""
        return {} if self.selection is None else {name: self.selection.count(name) for name in STRATA}

    def champions(self) -> tuple[Candidate, ...]:
        """Champion 1 and its challenger, both measured on the same sets; champion 1 alone without a second round."""
        rounds = self.second or self.first
        return tuple(one for one in (rounds.champion, rounds.challenger) if one is not None)


def require_champion(result: RetrainResult) -> Candidate:
    """The promoted candidate of a round.

    Raises:
        Refused: the gate refused it; the message names what failed.
    """
    if result.challenger is not None and result.decision is not None and result.decision.passed:
        return result.challenger
    failed = (
        [f"{row.check} ({row.reason})" for row in result.decision.rows if not row.passed] if result.decision else []
    )
    raise Refused(
        f"The first detector did not pass the gate: {'; '.join(failed) or result.outcome}. Lower the limits in the "
        f"card's `gate:`, train longer (`epochs:`), or label more frames."
    )
