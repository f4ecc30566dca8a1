"""What is compared with what: each window beside the reference with the same camera mix, and its limits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pyarrow as pa

from edgeloop.config import DriftSection
from edgeloop.drift_features import Features, features, frequent_classes, thin
from edgeloop.drift_limits import Runs, Values, block_length, chance_limits, effect
from edgeloop.errors import BadInput

MAXIMUM_REFERENCE = 4000  # frames compared; more only costs time: 4,000 know a mean to 1.6 % of a standard deviation
MAXIMUM_WINDOWS = 24
MINIMUM_BLOCKS = 6  # of a camera in the reference; fewer hold too little news to know what chance does
WINDOWS_IN_REFERENCE = 5  # thinning never leaves the reference fewer than this many windows


@dataclass(frozen=True)
class Comparison:
    """One window beside the part of the reference with the same camera mix, and its limits by column."""

    window: Features
    reference: Features
    limits: dict[str, float]
    unjudged: dict[str, str]

    def values(self, side: Literal["reference", "window"], column: str) -> Values:
        """The finite values of a column."""
        values = getattr(self, side).columns[column]
        found: Values = values[np.isfinite(values)]
        return found

    def measure(self) -> dict[str, float]:
        """The effect of each judged column, without Evidently."""
        return {name: effect(self.values("reference", name), self.values("window", name)) for name in self.limits}


@dataclass(frozen=True)
class Plan:
    """What there is to compare, or why there is nothing."""

    artifact_id: str
    reference_frames: int
    window_frames: int
    comparisons: tuple[Comparison, ...]
    unjudged_cameras: tuple[str, ...]
    refusal: str = ""


def plan(reference: pa.Table, window: pa.Table, settings: DriftSection) -> Plan:
    """Cut the window log into windows of `settings.window_frames` and find the limits for each.

    Logs longer than MAXIMUM_WINDOWS windows are thinned evenly per camera, reference and window alike; what is still
    too long loses its oldest frames.

    Args:
        reference: inference log of the deployed artifact while all was well.
        window: inference log to be judged.
        settings: sizes and rates.

    Raises:
        BadInput: a column is missing or broken, or the two logs are not of one artifact.
    """
    artifact_id = _one_artifact(reference, window)
    classes = frequent_classes(reference)
    old, new = features(reference, classes, "reference"), features(window, classes, "window")
    nothing = Plan(artifact_id, len(old), len(new), comparisons=(), unjudged_cameras=())
    if short := _too_short(len(old), len(new), settings):
        return replace(nothing, refusal=short)
    stride = _stride(len(old), len(new), settings.window_frames)
    old, new = thin(old, stride).newest(MAXIMUM_REFERENCE), thin(new, stride)
    known, unknown = _split_cameras(old, new, settings.window_frames)
    judged = new.only(known)
    if len(judged) < settings.minimum_frames:
        refusal = (
            f"{len(judged)} frames of cameras that the reference knows; expected at least {settings.minimum_frames}."
        )
        return replace(nothing, unjudged_cameras=unknown, refusal=refusal)
    limits = _Limits(settings)
    comparisons = tuple(limits.compare(old, part) for part in _cut(judged, settings))
    return replace(nothing, comparisons=comparisons, unjudged_cameras=unknown)


def _one_artifact(reference: pa.Table, window: pa.Table) -> str:
    ids = [sorted(set(table.column("artifact_id").to_pylist())) for table in (reference, window)]
    together = sorted({*ids[0], *ids[1]})
    if len(together) > 1:
        raise BadInput(
            f"The reference holds artifact {', '.join(ids[0])} and the window {', '.join(ids[1])}; expected one and "
            "the same. Scores move with the artifact: record a reference for the deployed one."
        )
    return together[0] if together else ""


def _too_short(reference: int, window: int, settings: DriftSection) -> str:
    for name, count in (("reference", reference), ("window", window)):
        if count < settings.minimum_frames:
            return f"the {name} has {count} frames; expected at least {settings.minimum_frames}."
    return ""


def _stride(reference: int, window: int, window_frames: int) -> int:
    """One frame in how many is kept, the same on both sides, so that neighbours resemble each other alike."""
    wanted = max(reference / MAXIMUM_REFERENCE, window / (MAXIMUM_WINDOWS * window_frames))
    allowed = reference / (WINDOWS_IN_REFERENCE * window_frames)
    return max(1, int(min(np.ceil(wanted), allowed)))


def _split_cameras(reference: Features, window: Features, size: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Cameras of which the reference has at least half of what one window holds, and the others."""
    cameras, counts = np.unique(window.camera.astype(str), return_counts=True)
    enough = {
        str(camera): 2 * (reference.camera == camera).sum() >= count * min(1.0, size / len(window))
        for camera, count in zip(cameras, counts, strict=True)
    }
    return tuple(c for c in enough if enough[c]), tuple(c for c in enough if not enough[c])


def _cut(frames: Features, settings: DriftSection) -> list[Features]:
    """Windows of equal size, the newest whole; a remainder counts as the oldest window when it is long enough."""
    size = settings.window_frames
    ends = list(range(len(frames), 0, -size))[:MAXIMUM_WINDOWS]
    spans = [(max(0, end - size), end) for end in reversed(ends)]
    return [frames.rows(slice(*span)) for span in spans if span[1] - span[0] >= settings.minimum_frames]


@dataclass(frozen=True)
class _Calibration:
    """Limits by column, how many frames of a column are resampled together, and the shortest camera's frames."""

    limits: dict[str, float]
    blocks: dict[str, int]
    shortest: int


class _Limits:
    """Limits are calibrated once per camera mix, to the nearest 5 % of a window."""

    def __init__(self, settings: DriftSection) -> None:
        self.settings = settings
        self.found: dict[tuple[tuple[str, int], ...], _Calibration] = {}

    def compare(self, reference: Features, window: Features) -> Comparison:
        counts = {camera: int((window.camera == camera).sum()) for camera in sorted(set(window.camera.tolist()))}
        step = max(1, len(window) // 20)
        mix = tuple((camera, max(1, round(count / step)) * step) for camera, count in counts.items())
        matched = reference.matching(counts)
        if mix not in self.found:
            self.found[mix] = self._calibrate(matched, dict(mix))
        found = self.found[mix]
        reasons = {name: self._unjudged(matched, window, name, found) for name in matched.columns}
        limits = {name: limit for name, limit in found.limits.items() if not reasons[name]}
        return Comparison(window, matched, limits, {name: reason for name, reason in reasons.items() if reason})

    def _calibrate(self, reference: Features, counts: dict[str, int]) -> _Calibration:
        frames = tuple(np.flatnonzero(reference.camera == camera) for camera in counts)
        blocks = {name: max(map(block_length, reference.series(name, frames))) for name in reference.columns}
        runs = Runs(frames, tuple(counts.values()))
        chance = chance_limits(reference.columns, blocks, runs, self.settings.false_alarm_rate, self.settings.seed)
        limits = {name: max(self.settings.floor, limit) for name, limit in chance.items()}
        return _Calibration(limits, blocks, min(rows.size for rows in frames))

    def _unjudged(self, reference: Features, window: Features, name: str, found: _Calibration) -> str:
        """Why a column cannot be judged; empty when it can."""
        before, now = (side.columns[name][np.isfinite(side.columns[name])] for side in (reference, window))
        least = self.settings.minimum_frames // 2
        if min(before.size, now.size) < least:
            return f"{before.size} values in the reference and {now.size} in the window; expected {least} in each"
        if before.min() == before.max():
            return "constant in the reference, so there is no spread to measure a change by"
        needed = MINIMUM_BLOCKS * found.blocks[name]
        if found.shortest < needed:
            return (
                f"frames resemble each other over some {found.blocks[name]} frames; expected a reference of at least "
                f"{needed} frames of each camera, it has {found.shortest}"
            )
        return ""
