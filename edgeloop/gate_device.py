"""The gate's questions about the target device, answered by the benchmark of the shipped file on that very profile."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from edgeloop.card import DeviceProfile
from edgeloop.evidence import Evidence
from edgeloop.measures import BenchmarkReport, GateRow


def device_rows(challenger: Evidence, profile: DeviceProfile) -> list[GateRow]:
    """Measured there at all, p99, frame rate, memory and size."""
    report = challenger.candidate.benchmark_on(challenger.candidate.shipped.id, profile.name)
    rows = [measured_on_target(report, profile), *(_limit_row(report, limit) for limit in _limits(profile))]
    comparison = precision_comparison(challenger, profile)
    return rows + ([comparison] if comparison else [])


def measured_on_target(report: BenchmarkReport | None, profile: DeviceProfile) -> GateRow:
    """Nothing is promoted that was not measured on its target, unthrottled, on enough frames for a p99."""
    limit = f"{profile.timed_frames} frames, not throttled"
    if report is None:
        wrong = f"the file was not measured on {profile.name}; run the benchmark there"
        return GateRow(
            check="measured on its target", value="not measured", limit=limit, passed=False, reason=_end(wrong)
        )
    wrong = ""
    if report.throttled:
        wrong = "the machine throttled during the run, so its figures are of a hot machine; cool it and run again"
    elif report.timed_frames < profile.timed_frames:
        wrong = f"a p99 claim needs {profile.timed_frames} timed frames, {report.timed_frames} were timed"
    elif report.runtime not in profile.runtimes:
        wrong = f"{report.runtime} is not among the profile's runtimes ({', '.join(profile.runtimes)})"
    unknown = "; this machine cannot tell whether it throttled" if report.throttled is None else ""
    return GateRow(
        check="measured on its target",
        value=f"{report.timed_frames} frames on {report.machine} with {report.runtime}",
        limit=limit,
        passed=not wrong,
        reason=_end(wrong or f"the benchmark is of this file on {profile.name}{unknown}"),
    )


class Limit(NamedTuple):
    """One figure of a benchmark that the profile limits."""

    check: str
    unit: str
    limit: float
    upper: bool
    read: Callable[[BenchmarkReport], float]


def _limits(profile: DeviceProfile) -> list[Limit]:
    limits = [
        Limit("latency p99, image to boxes", "ms", profile.maximum_p99_ms, True, lambda report: report.total.p99),
        Limit("memory", "MB", profile.maximum_memory_mb, True, lambda report: report.memory_mb),
        Limit("file size", "MB", profile.maximum_size_mb, True, lambda report: report.size_mb),
    ]
    if profile.minimum_fps is not None:
        limits.append(Limit("frame rate", "FPS", profile.minimum_fps, False, lambda report: report.frames_per_second))
    return limits


def _limit_row(report: BenchmarkReport | None, asked: Limit) -> GateRow:
    words = f"{'at most' if asked.upper else 'at least'} {asked.limit:g} {asked.unit}"
    if report is None:
        reason = "Nothing is promoted that was not measured on its target."
        return GateRow(check=asked.check, value="not measured", limit=words, passed=False, reason=reason)
    value = asked.read(report)
    passed = value <= asked.limit if asked.upper else value >= asked.limit
    reason = f"{'within' if passed else 'beyond'} what {report.device} allows"
    return GateRow(
        check=asked.check, value=f"{value:.2f} {asked.unit}", limit=words, passed=passed, reason=_end(reason)
    )


def precision_comparison(challenger: Evidence, profile: DeviceProfile) -> GateRow | None:
    """For information: how fast the shipped precision is against FP32 on this target."""
    candidate = challenger.candidate
    shipped, reference = candidate.shipped, candidate.reference
    ours, theirs = (candidate.benchmark_on(one.id, profile.name) for one in (shipped, reference))
    if shipped.id == reference.id or ours is None or theirs is None:
        return None
    ratio = theirs.total.p50 / ours.total.p50
    words = "faster" if ratio >= 1 else "slower"
    name = shipped.precision.upper()
    return GateRow(
        check=f"{name} against FP32, p50",
        value=f"{ours.total.p50:.2f} ms against {theirs.total.p50:.2f} ms, {ratio:.2f}x",
        limit="for information",
        passed=True,
        judged=False,
        reason=_end(f"{name} is {words} than FP32 on {profile.name} ({ours.runtime} against {theirs.runtime})"),
    )


def _end(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
