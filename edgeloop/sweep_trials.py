"""How far a sweep is: what each of its candidates showed at the rungs, what was measured of it, and how they rank."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from edgeloop.card import Card, DeviceProfile
from edgeloop.errors import EdgeloopError
from edgeloop.measures import BenchmarkReport, Candidate
from edgeloop.record import Record
from edgeloop.sweep import Sweep, rung_epochs
from edgeloop.training_curve import Epoch

State = Literal["waiting", "eliminated", "failed", "finished"]


class Standing(Record):
    """What a candidate showed at a rung.

    Attributes:
        epochs: it was trained for so far.
        map50_95: on the validation side, 0..1, FP32 in the trainer.
        seconds: from the rung before to this one, probing included.
        curve: one point an epoch, from the first on.
        checkpoint: the `.pt` of this rung.
        p50_ms: of a single frame, in the fastest runtime and precision that was probed; None where it was not.
    """

    epochs: int
    map50_95: float
    seconds: float
    curve: tuple[Epoch, ...]
    checkpoint: Path
    p50_ms: float | None = None

    @classmethod
    def since(
        cls, began: float, curve: tuple[Epoch, ...], checkpoint: Path, probed: Sequence[BenchmarkReport]
    ) -> Standing:
        """What was reached since `began`, a time of `time.monotonic`."""
        return cls(
            epochs=curve[-1].epoch,
            map50_95=curve[-1].map50_95 or 0.0,
            seconds=time.monotonic() - began,
            curve=curve,
            checkpoint=checkpoint,
            p50_ms=min((one.total.p50 for one in probed), default=None),
        )


class Measured(Record):
    """A candidate that was trained to its end, with all that was measured of it, and the seconds that took."""

    candidate: Candidate
    seconds: float

    @classmethod
    def since(cls, began: float, candidate: Candidate) -> Measured:
        """What was measured since `began`, a time of `time.monotonic`."""
        return cls(candidate=candidate, seconds=time.monotonic() - began)


class Work(Record):
    """The next thing to do: train the card until this epoch, None for its end; `first`: probe its latency too."""

    card: Card
    until: int | None
    first: bool


class Trial(Record):
    """One candidate's way through the sweep; `reason` says why it ended before its end."""

    card: Card
    state: State = "waiting"
    standings: tuple[Standing, ...] = ()
    measured: Measured | None = None
    reason: str = ""

    @property
    def rung(self) -> int:
        """How many rungs it has reached."""
        return len(self.standings)

    @property
    def score(self) -> float:
        """mAP50-95 on the validation side: of the shipped file, else at its last rung; -1 before its first."""
        if self.measured:
            candidate = self.measured.candidate
            return next(one.map50_95 for one in candidate.evaluations if one.artifact_id == candidate.shipped.id)
        return self.standings[-1].map50_95 if self.standings else -1.0

    @property
    def epochs(self) -> int:
        """It was trained for."""
        return self.standings[-1].epochs if self.standings else 0

    @property
    def trained(self) -> tuple[tuple[Epoch, ...], ...]:
        """The epochs between each rung and the one before."""
        befores = (0, *(one.epochs for one in self.standings[:-1]))
        return tuple(one.curve[before:] for one, before in zip(self.standings, befores, strict=True))

    @property
    def seconds(self) -> float:
        """Spent on it so far."""
        return sum(one.seconds for one in self.standings) + (self.measured.seconds if self.measured else 0.0)

    def ended(self, state: State, reason: str) -> Trial:
        """The same trial, over."""
        return self.model_copy(update={"state": state, "reason": reason})


class SweepResult(Record):
    """How far a sweep is.

    Attributes:
        sweep: what was asked.
        dataset_md5: the version that all are trained on.
        rungs: after how many epochs candidates are compared.
        limit_ms: p99 of a single frame that the device profile allows.
        trials: in the order of the grid.
        compared: at how many rungs it was decided who goes on.
        page: HTML that compares what was measured in full; None before the end, and where nothing came to its end.
    """

    sweep: Sweep
    dataset_md5: str
    rungs: tuple[int, ...]
    limit_ms: float
    trials: tuple[Trial, ...]
    compared: int = 0
    page: Path | None = None

    @classmethod
    def begin(cls, sweep: Sweep, cards: Sequence[Card], dataset_md5: str, profile: DeviceProfile) -> SweepResult:
        """Nothing is trained yet."""
        return cls(
            sweep=sweep,
            dataset_md5=dataset_md5,
            rungs=rung_epochs(cards[0].epochs, sweep.rungs, sweep.eta),
            limit_ms=profile.maximum_p99_ms,
            trials=tuple(Trial(card=card) for card in cards),
        )

    @property
    def waiting(self) -> tuple[Trial, ...]:
        """Those that may go on."""
        return tuple(trial for trial in self.trials if trial.state == "waiting")

    @property
    def finalists(self) -> tuple[Trial, ...]:
        """Those that are trained to their end and not measured yet."""
        return tuple(trial for trial in self.waiting if trial.rung == len(self.rungs))

    @property
    def over(self) -> bool:
        """Whether nothing is left to do."""
        return not self.waiting

    @property
    def dropped(self) -> tuple[Trial, ...]:
        """Those that are not going on."""
        return tuple(trial for trial in self.trials if trial.state in ("eliminated", "failed"))

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """What was measured, the best first."""
        return tuple(trial.measured.candidate for trial in self.ranking if trial.measured)

    @property
    def ranking(self) -> tuple[Trial, ...]:
        """Finished before eliminated before failed; of those, within the limit first, further first, best first."""
        order = ("finished", "waiting", "eliminated", "failed")
        return tuple(
            sorted(
                self.trials,
                key=lambda one: (order.index(one.state), not self.keeps_limit(one), -one.rung, -one.score),
            )
        )

    def keeps_limit(self, trial: Trial) -> bool:
        """Whether its shipped file answers a single frame in time; of one that was only probed, half of the frames."""
        if trial.measured:
            candidate = trial.measured.candidate
            runs = [one for one in candidate.benchmarks if one.artifact_id == candidate.shipped.id and one.batch == 1]
            return bool(runs) and min(runs, key=lambda one: one.total.p50).total.p99 <= self.limit_ms
        probed = trial.standings[0].p50_ms if trial.standings else None
        return probed is None or probed <= self.limit_ms

    @property
    def spent(self) -> float:
        """Seconds of training and probing, with all devices at work."""
        return sum(one.seconds for trial in self.trials for one in trial.standings) / len(self.sweep.devices)

    def after(self, cards: Sequence[Card], outcomes: Sequence[object]) -> SweepResult:
        """With what became of some candidates: a standing, a measurement or the error that ended them.

        Raises:
            Exception: an outcome that is an error but not edgeloop's own: it says nothing about the candidate.
        """
        found = {card.name: outcome for card, outcome in zip(cards, outcomes, strict=True)}
        return self.replacing(
            [_told(one, found[one.card.name]) if one.card.name in found else one for one in self.trials]
        )

    def replacing(self, trials: Sequence[Trial], compared: int | None = None) -> SweepResult:
        """The same sweep with other trials, compared at so many rungs."""
        return self.model_copy(
            update={"trials": tuple(trials), "compared": self.compared if compared is None else compared}
        )


def _told(trial: Trial, outcome: object) -> Trial:
    if isinstance(outcome, Standing):
        return trial.model_copy(update={"standings": (*trial.standings, outcome)})
    if isinstance(outcome, Measured):
        return trial.model_copy(update={"measured": outcome, "state": "finished"})
    if isinstance(outcome, EdgeloopError):
        return trial.ended("failed", str(outcome))
    if isinstance(outcome, BaseException):
        raise outcome
    raise TypeError(f"{outcome!r} is no outcome of a trial")
