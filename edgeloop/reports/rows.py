"""Rows of the tables that several reports show, from the records of a candidate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgeloop.card import ThresholdCard
from edgeloop.matching import Matches
from edgeloop.measures import BenchmarkReport, Candidate, EvaluationReport, OperatingPoint
from edgeloop.operating_points import COMPARED, operating_point
from edgeloop.ranking import Labelled


@dataclass(frozen=True)
class SetRow:
    """What challenger and champion reach on one audit set."""

    name: str
    challenger: EvaluationReport | None
    champion: EvaluationReport | None

    @property
    def gain(self) -> float | None:
        """mAP50 gained."""
        if self.challenger is None or self.champion is None:
            return None
        return self.challenger.map50 - self.champion.map50


@dataclass(frozen=True)
class ClassRow:
    """One class on one audit set."""

    audit: str
    name: str
    truths: int
    challenger: float | None
    champion: float | None

    @property
    def gain(self) -> float | None:
        """AP50 gained."""
        if self.challenger is None or self.champion is None:
            return None
        return self.challenger - self.champion


@dataclass(frozen=True)
class FileRow:
    """One precision: accuracy on one audit set against FP32, and its benchmark in its fastest runtime."""

    report: EvaluationReport
    loss: float | None
    benchmark: BenchmarkReport | None
    shipped: bool


def set_row(name: str, challenger: Candidate, champion: Candidate | None) -> SetRow:
    """The row of one audit set; None for what was not measured on it."""
    theirs = champion.report_on(champion.shipped.id, name) if champion else None
    return SetRow(name, challenger.report_on(challenger.shipped.id, name), theirs)


def class_rows(challenger: Candidate, champion: Candidate | None) -> list[ClassRow]:
    """Every class that has labels on a set, set by set."""
    rows = []
    for report in challenger.evaluations:
        if report.artifact_id != challenger.shipped.id:
            continue
        other = champion.report_on(champion.shipped.id, report.audit) if champion else None
        theirs = {score.name: score.ap50 for score in other.classes} if other else {}
        rows += [
            ClassRow(report.audit, score.name, score.truths, score.ap50, theirs.get(score.name))
            for score in report.classes
            if score.truths
        ]
    return rows


def file_rows(challenger: Candidate, device: str) -> list[FileRow]:
    """Each measured precision on each set, the set's FP32 first."""
    rows = []
    for report in sorted(challenger.evaluations, key=lambda one: (one.audit, one.precision != "fp32")):
        reference = challenger.report_on(challenger.reference.id, report.audit)
        loss = 1 - report.map50_95 / reference.map50_95 if reference and reference.map50_95 else None
        rows.append(
            FileRow(
                report=report,
                loss=None if report.precision == "fp32" else loss,
                benchmark=challenger.benchmark_on(report.artifact_id, device),
                shipped=report.artifact_id == challenger.shipped.id,
            )
        )
    return rows


def operating_points(
    matches: Matches, names: Sequence[str], candidate: Candidate, weights: Sequence[float] = ()
) -> list[OperatingPoint]:
    """What the shipped thresholds give, beside one global threshold for all classes.

    Args:
        matches: of the shipped file.
        names: the classes of `matches`.
        candidate: whose thresholds they are; F-beta is the one that they were tuned for.
        weights: what each frame stands for; empty: all the same.
    """
    shipped, report = candidate.shipped, candidate.thresholds
    compared = {"shipped": list(shipped.thresholds_of(names))}
    compared |= {f"global {value}": [value] * len(names) for value in COMPARED}
    card = (report.card if report else None) or ThresholdCard(beta=report.beta if report else 1.0)
    seen = Labelled(matches, (), weights=weights)
    return [operating_point(name, "held-out", seen, values, (names, card)) for name, values in compared.items()]


@dataclass(frozen=True)
class Bar:
    """Where one frame's time goes: medians in milliseconds, and widths in per cent of the longest bar."""

    benchmark: BenchmarkReport
    parts: tuple[tuple[str, float, float], ...]


def bars(benchmarks: Sequence[BenchmarkReport]) -> list[Bar]:
    """One bar for each artifact and runtime, the fastest first."""
    longest = max((_sum_of_parts(one) for one in benchmarks), default=1.0)
    ordered = sorted(benchmarks, key=lambda one: one.total.p50)
    return [
        Bar(one, tuple((name, value, value / longest * 100) for name, value in _parts(one).items())) for one in ordered
    ]


def _parts(report: BenchmarkReport) -> dict[str, float]:
    return {
        "preprocess": report.preprocess.p50,
        "inference": report.inference.p50,
        "postprocess": report.postprocess.p50,
    }


def _sum_of_parts(report: BenchmarkReport) -> float:
    return sum(_parts(report).values())
