"""Drift: does the stream still look like the one the champion was accepted on? If not, say so to Prefect."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from prefect import flow

from edgeloop.config import load_config
from edgeloop.drift import DriftReport
from tasks.drift import decide_retrain, emit_drift_event
from tasks.drift import drift as judge_drift
from tasks.register import champion
from tasks.watch import watch


@flow(name="drift")
def drift(
    since: datetime | None = None, until: datetime | None = None, emit: bool = True, config_path: Path | None = None
) -> DriftReport | None:
    """Compare a part of the champion's log with its reference; None without a champion or without a newer log.

    Args:
        since, until: UTC; the log after the reference when None.
        emit: send the event that starts the retraining deployment.
        config_path: a config.yaml; the nearest when None.
    """
    config = load_config(config_path)
    watched = watch(champion(config), config, since, until)
    if watched is None:
        return None
    report = judge_drift(watched.reference, watched.window, config)
    decision = decide_retrain(report)
    if decision.retrain and emit:
        emit_drift_event(decision, config.tracking.model)
    return report
