"""The report of several candidates side by side: what each precision reaches, costs and still gets wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeloop.artifact import Artifact
from edgeloop.audit import AuditFrames, load, pooled_weights
from edgeloop.card import DeviceProfile
from edgeloop.errors import BadInput
from edgeloop.evidence import class_names, match_saved, pool
from edgeloop.measures import (
    BenchmarkReport,
    Candidate,
    EvaluationReport,
    Interval,
    OperatingPoint,
    RobustnessReport,
)
from edgeloop.reports.page import write_page
from edgeloop.reports.pictures import Picture, mistakes_of, worst
from edgeloop.reports.rows import operating_points
from edgeloop.reports.tradeoff import HEIGHT, RADIUS, WIDTH, Point, TradeOff, draw
from edgeloop.robustness import subset
from edgeloop.terms import Terms

PICTURES = 6  # of each kind and candidate
PICTURED = 3  # candidates whose mistakes are shown, the most accurate ones
COLOURS = {"fp32": "var(--blue)", "fp16": "var(--grey)", "int8": "var(--amber)"}


@dataclass(frozen=True)
class Named:
    """A candidate with what the page calls it."""

    name: str
    candidate: Candidate


@dataclass(frozen=True)
class MeasuredFile:
    """One precision of a candidate: its benchmark in its fastest runtime, and what it reaches on each audit set."""

    number: int
    of: Named
    artifact: Artifact
    benchmark: BenchmarkReport | None
    reports: tuple[EvaluationReport | None, ...]
    losses: tuple[float | None, ...]  # of mAP50-95 against FP32, relative; None for FP32
    in_budget: bool | None  # None where it was not benchmarked

    @property
    def shipped(self) -> bool:
        """Whether the candidate ships this file."""
        return self.artifact.id == self.of.candidate.shipped.id

    @property
    def accuracy(self) -> float | None:
        """Mean mAP50-95 over the sets; None where one of them was not measured."""
        found = [one.map50_95 for one in self.reports if one is not None]
        return sum(found) / len(found) if found and len(found) == len(self.reports) else None


@dataclass(frozen=True)
class Row:
    """One line of a comparison, a value for each candidate."""

    audit: str
    heads: tuple[str, ...]  # the kind of the part and its name
    truths: int
    values: tuple[float | None, ...]

    @property
    def best(self) -> float | None:
        """The largest value, where at least two differ."""
        known = [value for value in self.values if value is not None]
        return max(known) if len(set(known)) > 1 else None


@dataclass(frozen=True)
class Mistakes:
    """What the shipped file of one candidate gets wrong: the worst as pictures, and how many there are."""

    name: str
    false_positives: list[Picture]
    misses: list[Picture]
    counts: tuple[int, int]


def write_candidates_report(
    out: Path, candidates: Sequence[Candidate], terms: Terms, names: Sequence[str] | None = None
) -> Path:
    """Write one HTML page that compares candidates, every precision of each.

    Args:
        out: the HTML file.
        candidates: with their evaluations and benchmarks; what was measured on other frames than today's is left out.
        terms: the audit sets, of which the scoring halves count, and the target.
        names: what to call them; their cards when None.

    Raises:
        BadInput: no candidate, an audit set has changed, saved detections are missing, or jinja2 is not installed.
    """
    if not candidates:
        raise BadInput("expected at least one candidate to report on, came none.")
    audits = [load(audit).half("score") for audit in terms.audits]
    named = [Named(name, one) for name, one in zip(names or call(candidates), candidates, strict=True)]
    files = _files(named, audits, terms.profile)
    plots = [_plot(index, audit.name, files, terms.profile) for index, audit in enumerate(audits)]
    drawn = [one for one in plots if one is not None]
    return write_page(
        out,
        "candidates.html.j2",
        profile=terms.profile,
        named=named,
        files=files,
        audits=audits,
        plots=drawn,
        plot=(WIDTH, HEIGHT, RADIUS),
        colours=COLOURS,
        fronts=_fronts(drawn),
        best=best_in_budget(files),
        shipped=[one for one in files if one.shipped],
        classes=class_table(named, audits),
        parts_of=part_table(named, audits),
        robust=robust(named, audits),
        thresholds=threshold_table(named),
        points=[(one.name, point) for one in named for point in _points(one.candidate, audits)],
        mistakes=_mistakes(files, audits),
    )


def call(candidates: Sequence[Candidate]) -> list[str]:
    """A name for each: the card, and of what only some have in common the input side and the artifact."""
    cards = [one.shipped.card or one.shipped.path.stem for one in candidates]
    sides = [f"{card} {one.shipped.imgsz} px" for card, one in zip(cards, candidates, strict=True)]
    names = cards if len({one.shipped.imgsz for one in candidates}) == 1 else sides
    often = Counter(names)
    return [
        name if often[name] == 1 else f"{name} {one.shipped.id[:6]}"
        for name, one in zip(names, candidates, strict=True)
    ]


def best_in_budget(files: Sequence[MeasuredFile]) -> MeasuredFile | None:
    """The most accurate file that keeps the device's limits, the faster one of two alike; None when none does."""
    kept = [one for one in files if one.in_budget and one.accuracy is not None]
    return max(kept, key=lambda one: (one.accuracy, -_p50(one)), default=None)


def class_table(named: Sequence[Named], audits: Sequence[AuditFrames]) -> list[Row]:
    """AP50-95 of each class with labels, by audit set, of the shipped files."""
    return _table(
        named,
        audits,
        lambda report: ((("class", one.name), one.truths, one.ap50_95) for one in report.classes if one.truths),
    )


def part_table(named: Sequence[Named], audits: Sequence[AuditFrames]) -> list[Row]:
    """mAP50-95 of each camera, and of the objects of each size, by audit set, of the shipped files."""
    return _table(
        named,
        audits,
        lambda report: (
            ((one.kind, one.name), one.truths, one.map50_95.value if one.map50_95 else None)
            for one in (*report.cameras, *report.sizes)
            if one.truths
        ),
    )


def robust(named: Sequence[Named], audits: Sequence[AuditFrames]) -> list[tuple[str, RobustnessReport]]:
    """The robustness of the shipped files on today's frames, by name: of those that saw what the first one saw."""
    found = [(one.name, report) for one in named if (report := one.candidate.robustness) and _is_of(report, audits)]
    return [(name, one) for name, one in found if _pictures(one) == _pictures(found[0][1])]


def _is_of(report: RobustnessReport, audits: Sequence[AuditFrames]) -> bool:
    """Whether a report is of one of these sets as it is now."""
    today = (subset(one, report.settings.frames).digest for one in audits if one.name == report.audit)
    return report.audit_digest in today


def _pictures(report: RobustnessReport) -> tuple[str, frozenset[object], int]:
    """What decides which pictures were seen, of equal frames."""
    conditions = {(one.corruption, one.severity) for one in report.conditions}
    return report.audit_digest, frozenset(conditions), report.settings.seed


def threshold_table(named: Sequence[Named]) -> list[Row]:
    """The threshold that each candidate ships with for each class."""
    classes = dict.fromkeys(name for one in named for name in one.candidate.shipped.names)
    each = [dict(zip(one.candidate.shipped.names, one.candidate.shipped.thresholds, strict=True)) for one in named]
    return [Row("", ("class", name), 0, tuple(known.get(name) for known in each)) for name in classes]


Part = tuple[tuple[str, str], int, float | None]


def _table(
    named: Sequence[Named], audits: Sequence[AuditFrames], parts_of: Callable[[EvaluationReport], Iterable[Part]]
) -> list[Row]:
    """A row for each part of each set that any candidate was measured on, in the order of first mention."""
    rows: dict[tuple[str, tuple[str, ...]], tuple[int, list[float | None]]] = {}
    for index, one in enumerate(named):
        for audit in audits:
            report = _report(one.candidate, one.candidate.shipped, audit)
            for heads, truths, value in parts_of(report) if report else ():
                _, values = rows.setdefault((audit.name, heads), (truths, [None] * len(named)))
                values[index] = value
    return [Row(audit, heads, truths, tuple(values)) for (audit, heads), (truths, values) in rows.items()]


def _report(candidate: Candidate, artifact: Artifact, audit: AuditFrames) -> EvaluationReport | None:
    """What was measured on the frames as they are now."""
    found = candidate.report_on(artifact.id, audit.name)
    return found if found is not None and found.audit_digest == audit.digest else None


def _files(named: Sequence[Named], audits: Sequence[AuditFrames], profile: DeviceProfile) -> list[MeasuredFile]:
    both = [(one, artifact) for one in named for artifact in one.candidate.files]
    return [_file(number, one, artifact, audits, profile) for number, (one, artifact) in enumerate(both, start=1)]


def _file(
    number: int, of: Named, artifact: Artifact, audits: Sequence[AuditFrames], profile: DeviceProfile
) -> MeasuredFile:
    candidate = of.candidate
    benchmark = candidate.benchmark_on(artifact.id, profile.name)
    reports = tuple(_report(candidate, artifact, audit) for audit in audits)
    whole = [_report(candidate, candidate.reference, audit) for audit in audits]
    losses = tuple(
        1 - one.map50_95 / fp32.map50_95 if one and fp32 and fp32.map50_95 and artifact.precision != "fp32" else None
        for one, fp32 in zip(reports, whole, strict=True)
    )
    return MeasuredFile(number, of, artifact, benchmark, reports, losses, _keeps(benchmark, profile))


def _keeps(benchmark: BenchmarkReport | None, profile: DeviceProfile) -> bool | None:
    if benchmark is None:
        return None
    return (
        benchmark.total.p99 <= profile.maximum_p99_ms
        and benchmark.memory_mb <= profile.maximum_memory_mb
        and benchmark.size_mb <= profile.maximum_size_mb
    )


def _p50(file: MeasuredFile) -> float:
    return file.benchmark.total.p50 if file.benchmark else float("inf")


def _plot(index: int, audit: str, files: Sequence[MeasuredFile], profile: DeviceProfile) -> TradeOff | None:
    """The files that were measured both on the set and on the device; None where none was."""
    points = [
        Point(
            number=one.number,
            title=f"{one.number}: {one.of.name}, {one.artifact.precision.upper()}",
            precision=one.artifact.precision,
            shipped=one.shipped,
            p50=one.benchmark.total.p50,
            p99=one.benchmark.total.p99,
            accuracy=_interval(report),
        )
        for one in files
        if one.benchmark is not None and (report := one.reports[index]) is not None
    ]
    return draw(audit, points, profile.maximum_p99_ms) if points else None


def _interval(report: EvaluationReport) -> Interval:
    """mAP50-95; a point without width where no interval was asked for."""
    value = report.map50_95
    return report.intervals.get("map50_95") or Interval(value=value, low=value, high=value, confidence=0.0)


def _fronts(plots: Sequence[TradeOff]) -> dict[int, list[str]]:
    """On which sets a file is on the front, by its number."""
    found: dict[int, list[str]] = {}
    for plot in plots:
        for mark in plot.marks:
            if mark.on_front:
                found.setdefault(mark.point.number, []).append(plot.audit)
    return found


def _points(candidate: Candidate, audits: Sequence[AuditFrames]) -> list[OperatingPoint]:
    """The shipped thresholds beside global ones on the scored frames of all sets; none where a set is missing."""
    scored = [audit.scored for audit in audits]
    names = class_names(scored)
    pooled = pool(match_saved(candidate, candidate.shipped, audits, names), scored)
    return operating_points(pooled, names, candidate, pooled_weights(scored)) if pooled else []


def _mistakes(files: Sequence[MeasuredFile], audits: Sequence[AuditFrames]) -> list[Mistakes]:
    """Of the most accurate shipped files, the best first."""
    ranked = sorted((one for one in files if one.shipped and any(one.reports)), key=lambda one: -(one.accuracy or 0.0))
    return [_wrong(one, audits) for one in ranked[:PICTURED]]


def _wrong(file: MeasuredFile, audits: Sequence[AuditFrames]) -> Mistakes:
    both = [(report, audit) for report, audit in zip(file.reports, audits, strict=True) if report is not None]
    found = [one for report, audit in both for one in mistakes_of(file.artifact, report, audit)]
    missed = sum(one.missed for one in found)
    return Mistakes(
        name=file.of.name,
        false_positives=worst(found, PICTURES, missed=False),
        misses=worst(found, PICTURES, missed=True),
        counts=(len(found) - missed, missed),
    )
