"""When the sub-sets of a scene were taken, and how far the line had drifted by then."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import numpy as np

from edgeloop.sample.scene import Subset

# Mondays of three weeks: labelled in the first, in order in the second, drifting in the third.
STARTS: dict[Subset, datetime] = {
    "labelled": datetime(2026, 3, 2, 6, tzinfo=timezone.utc),
    "stream-clean": datetime(2026, 3, 9, 6, tzinfo=timezone.utc),
    "audit-clean": datetime(2026, 3, 9, 14, tzinfo=timezone.utc),
    "stream-drifted": datetime(2026, 3, 16, 6, tzinfo=timezone.utc),
    "audit-drifted": datetime(2026, 3, 16, 14, tzinfo=timezone.utc),
}
PERIODS: dict[Subset, float] = {  # seconds between two frames of the line
    "labelled": 420.0,
    "stream-clean": 2.0,
    "audit-clean": 90.0,
    "stream-drifted": 2.0,
    "audit-drifted": 90.0,
}
ONSET, SETTLED = 0.15, 0.25  # shares of the drifted stream at which the drift begins and is complete


def time_at(rng: np.random.Generator, subset: Subset, index: int) -> datetime:
    """When frame `index` of a sub-set is taken, UTC: its turn and a jitter of a fifth of the period."""
    return STARTS[subset] + timedelta(seconds=PERIODS[subset] * (index + float(rng.uniform(0, 0.2))))


def severity_at(subset: Subset, progress: float) -> float:
    """How far the line has drifted, 0..1, at a share `progress` of a sub-set's frames."""
    if subset == "audit-drifted":
        return 1.0
    if subset == "stream-drifted":
        return float(np.clip((progress - ONSET) / (SETTLED - ONSET), 0, 1))
    return 0.0
