"""May this artifact be promoted? One row a question, every row a measurement of this run, one answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgeloop.artifact import Artifact
from edgeloop.audit import Scored
from edgeloop.card import DeviceProfile, GateCard
from edgeloop.errors import BadInput
from edgeloop.evidence import Evidence
from edgeloop.gate_accuracy import (
    class_drop,
    frozen_sets,
    minimum_accuracy,
    pooled_gain,
    quantization_loss,
    set_drop,
    tuned_thresholds,
)
from edgeloop.gate_device import device_rows
from edgeloop.measures import BenchmarkReport, GateDecision, GateRow
from edgeloop.record import Record


def decide(
    challenger: Evidence, champion: Evidence | None, scored: Sequence[Scored], profile: DeviceProfile, card: GateCard
) -> GateDecision:
    """Judge a challenger; the same evidence gives the same answer.

    Args:
        challenger: measured on every set of `scored` and on the profile's device.
        champion: re-scored on the same sets, or None before the first promotion.
        scored: the scoring halves of the audit sets, as they are now.
        profile: the target.
        card: the limits.
    """
    rows = [
        frozen_sets(challenger, champion, scored),
        tuned_thresholds(challenger),
        minimum_accuracy(challenger, scored, card),
        quantization_loss(challenger, scored, card),
        *_against(challenger, champion, scored, card),
        *device_rows(challenger, profile),
    ]
    return GateDecision(
        artifact_id=challenger.candidate.shipped.id,
        champion_id=champion.candidate.shipped.id if champion else None,
        passed=all(row.passed for row in rows if row.judged),
        rows=tuple(rows),
    )


def _against(
    challenger: Evidence, champion: Evidence | None, scored: Sequence[Scored], card: GateCard
) -> list[GateRow]:
    if champion is None:
        return [
            GateRow(
                check="against the champion",
                value="no champion yet",
                limit="for information",
                passed=True,
                judged=False,
                reason="The first artifact is judged by the absolute limits alone.",
            )
        ]
    drops = [set_drop(challenger, champion, one, card) for one in scored]
    return [
        *drops,
        pooled_gain(challenger, champion, scored, card),
        class_drop(challenger, champion, scored, card),
    ]


@dataclass(frozen=True)
class Option:
    """A precision that could be shipped: its file, its benchmark on the target, mAP50-95 lost against FP32 (share)."""

    artifact: Artifact
    benchmark: BenchmarkReport | None
    loss: float


class PrecisionChoice(Record):
    """Which precision goes to the gate, and why in one sentence."""

    artifact: Artifact
    fits: bool  # False: none keeps the limits; the gate will say which ones
    reason: str


def choose_precision(options: Sequence[Option], profile: DeviceProfile, card: GateCard) -> PrecisionChoice:
    """The fastest (p50, image to boxes) of the options that keep the limits; of equally fast ones the smaller file.

    INT8 is not faster everywhere: a processor without int8 dot products may run FP32 as fast, and then ships it.

    Raises:
        BadInput: nothing to choose from.
    """
    if not options:
        raise BadInput("expected at least one artifact to choose a precision from, came none.")
    fitting = [option for option in options if _fits(option, profile, card)]
    best = min(fitting or options, key=_rank)
    measured = [f"{one.artifact.precision} {one.benchmark.total.p50:.2f} ms" for one in options if one.benchmark]
    figures = f"p50 on {profile.name}: {', '.join(measured) or 'nothing measured'}"
    name = best.artifact.precision.upper()
    if fitting:
        reason = f"{name} is the fastest of the {len(fitting)} of {len(options)} precisions that keep the limits"
    else:
        reason = f"No precision keeps the limits; the gate judges {name}, the fastest"
    return PrecisionChoice(artifact=best.artifact, fits=bool(fitting), reason=f"{reason} ({figures}).")


def _fits(option: Option, profile: DeviceProfile, card: GateCard) -> bool:
    report = option.benchmark
    if report is None or report.device != profile.name or report.throttled:
        return False
    return (
        option.loss <= card.maximum_int8_loss
        and report.total.p99 <= profile.maximum_p99_ms
        and report.memory_mb <= profile.maximum_memory_mb
        and report.size_mb <= profile.maximum_size_mb
        and (profile.minimum_fps is None or report.frames_per_second >= profile.minimum_fps)
    )


def _rank(option: Option) -> tuple[float, float]:
    report = option.benchmark
    return (report.total.p50, report.size_mb) if report else (float("inf"), float("inf"))
