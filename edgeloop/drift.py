"""Whether the stream still looks like the one the deployed artifact was accepted on, and what follows from it.

A window of the inference log is compared with the reference of the same artifact, column by column, camera mix by
camera mix. A measure (Evidently in the pipeline, `effect` anywhere) says how far apart they are; limits calibrated on
the reference say what is far; several columns in consecutive windows make an alarm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from edgeloop.config import DriftSection
from edgeloop.drift_plan import Comparison, Plan, plan
from edgeloop.record import Record

Verdict = Literal["drift", "no-drift", "not-enough-frames"]


class ColumnDrift(Record):
    """One column of one window: the effect, the limit it is held to. None where it could not be judged, with reason."""

    column: str
    value: float | None
    limit: float | None
    drifted: bool
    reason: str = ""


class WindowDrift(Record):
    """One window of the log against the reference."""

    since: datetime
    until: datetime
    frames: int
    reference_frames: int
    columns: tuple[ColumnDrift, ...]
    drifted: bool


class DriftReport(Record):
    """What was compared and what came out; the columns are those of the window that decided."""

    artifact_id: str
    reference_frames: int
    window_frames: int
    windows: tuple[WindowDrift, ...]
    decisive: int | None  # index of the window that decided
    verdict: Verdict
    reason: str
    unjudged_cameras: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    html: Path | None = None

    @property
    def columns(self) -> tuple[ColumnDrift, ...]:
        return () if self.decisive is None else self.windows[self.decisive].columns


class RetrainDecision(Record):
    """Whether to retrain, and why. The deployed automation carries this very object as its event's payload.

    Attributes:
        score: the largest drifted effect in units of its limit; 0 when nothing drifted.
        since, until: the drifted part of the log.
    """

    retrain: bool
    reason: str
    artifact_id: str
    columns: tuple[str, ...] = ()
    score: float = 0.0
    since: datetime | None = None
    until: datetime | None = None

    def to_event(self) -> dict[str, Any]:
        """The payload of `edgeloop.drift.detected`: strings, numbers and lists only, every field present."""
        return {"schema_version": self.SCHEMA_VERSION, **self.model_dump(mode="json")}

    def parameters(self) -> dict[str, Any]:
        """The parameters of the retrain flow, as prefect.yaml takes them from the event's payload."""
        event = self.to_event()
        return {name: event[name] for name in ("reason", "artifact_id", "score", "columns")}


def judge(comparison: Comparison, values: Mapping[str, float], settings: DriftSection) -> WindowDrift:
    """Hold the measured effects of one window to its limits."""
    judged = [
        ColumnDrift(column=name, value=values[name], limit=limit, drifted=values[name] > limit)
        for name, limit in comparison.limits.items()
    ]
    others = [
        ColumnDrift(column=name, value=None, limit=None, drifted=False, reason=reason)
        for name, reason in comparison.unjudged.items()
    ]
    return WindowDrift(
        since=_utc(comparison.window.time[0]),
        until=_utc(comparison.window.time[-1]),
        frames=len(comparison.window),
        reference_frames=len(comparison.reference),
        columns=(*judged, *others),
        drifted=sum(column.drifted for column in judged) >= settings.minimum_columns,
    )


def _utc(time: np.datetime64) -> datetime:
    moment: datetime = time.astype("datetime64[us]").item()
    return moment.replace(tzinfo=timezone.utc)


def conclude(planned: Plan, windows: Sequence[WindowDrift], settings: DriftSection) -> DriftReport:
    """The verdict over all windows: drift needs `settings.persistence` consecutive drifted ones."""
    run = _latest_run(windows, settings.persistence)
    decisive = run[-1] if run else len(windows) - 1 if windows else None
    verdict, reason = _verdict(planned, windows, run, settings)
    span = [windows[index] for index in run] if run else list(windows)
    return DriftReport(
        artifact_id=planned.artifact_id,
        reference_frames=planned.reference_frames,
        window_frames=planned.window_frames,
        windows=tuple(windows),
        decisive=decisive,
        verdict=verdict,
        reason=reason,
        unjudged_cameras=planned.unjudged_cameras,
        since=span[0].since if span else None,
        until=span[-1].until if span else None,
    )


def _latest_run(windows: Sequence[WindowDrift], persistence: int) -> list[int]:
    """Indices of the latest run of at least `persistence` consecutive drifted windows."""
    latest: list[int] = []
    current: list[int] = []
    for index, window in enumerate(windows):
        current = [*current, index] if window.drifted else []
        latest = current if len(current) >= persistence else latest
    return latest


def _verdict(
    planned: Plan, windows: Sequence[WindowDrift], run: list[int], settings: DriftSection
) -> tuple[Verdict, str]:
    if not windows:
        return "not-enough-frames", planned.refusal
    if run:
        worst = sorted((c for c in windows[run[-1]].columns if c.drifted), key=_excess, reverse=True)
        named = ", ".join(f"{c.column} {c.value:.2f} (limit {c.limit:.2f})" for c in worst[:3])
        return "drift", f"{named} in {len(run)} consecutive windows of {windows[run[-1]].frames} frames."
    unjudged = [c for c in windows[-1].columns if c.reason]
    blind = (
        f" {len(unjudged)} columns could not be judged; {unjudged[0].column}: {unjudged[0].reason}." if unjudged else ""
    )
    if all(len(window.columns) - _unjudged(window) < settings.minimum_columns for window in windows):
        return "not-enough-frames", f"fewer than {settings.minimum_columns} columns could be judged.{blind}"
    drifted = sum(window.drifted for window in windows)
    told = f"{drifted} of {len(windows)} windows drifted; an alarm needs {settings.persistence} in a row.{blind}"
    return "not-enough-frames" if drifted and len(windows) < settings.persistence else "no-drift", told


def _unjudged(window: WindowDrift) -> int:
    return sum(bool(column.reason) for column in window.columns)


def _excess(column: ColumnDrift) -> float:
    return (column.value or 0.0) / (column.limit or np.inf)


def decide(report: DriftReport) -> RetrainDecision:
    """Retrain on drift alone; too few frames are a reason to wait, never a reason to train."""
    drifted = sorted((c for c in report.columns if c.drifted), key=_excess, reverse=True)
    retrain = report.verdict == "drift"
    return RetrainDecision(
        retrain=retrain,
        reason=f"{report.verdict}: {report.reason}",
        artifact_id=report.artifact_id,
        columns=tuple(c.column for c in drifted) if retrain else (),
        score=round(_excess(drifted[0]), 3) if retrain else 0.0,
        since=report.since,
        until=report.until,
    )


def assess(reference: pa.Table, window: pa.Table, settings: DriftSection) -> DriftReport:
    """Plan, measure with `effect` and conclude: the whole decision on any machine, without Evidently's HTML."""
    planned = plan(reference, window, settings)
    windows = [judge(comparison, comparison.measure(), settings) for comparison in planned.comparisons]
    return conclude(planned, windows, settings)
