"""Stage drift: Evidently measures windows of the log against the reference, our limits decide.

Drift becomes an event, on which the deployed automation retrains.
The one door to Evidently.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeloop.config import Config, DriftSection
from edgeloop.drift import DriftReport, RetrainDecision, WindowDrift, conclude, decide, judge
from edgeloop.drift_plan import Comparison, Plan, plan
from edgeloop.errors import BadInput
from edgeloop.files import atomic_file
from edgeloop.log_slice import LogSlice
from edgeloop.progress import bar
from tasks.stage import stage

DRIFT_EVENT = "edgeloop.drift.detected"


@stage(cache=False)
def drift(reference: LogSlice, window: LogSlice, config: Config) -> DriftReport:
    """Judge a window of the log against the reference of the deployed artifact; the report lies in `reports`.

    Raises:
        BadInput: a log is missing or broken, or the two are not of one artifact.
    """
    planned = plan(reference.read(), window.read(), config.drift)
    report = measure(planned, config.drift, config.workspace.reports)
    stem = report.html.stem if report.html else f"drift-{report.artifact_id}"
    report.save(config.workspace.reports / f"{stem}.json")
    return report


@stage
def decide_retrain(report: DriftReport) -> RetrainDecision:
    """Whether to retrain: on drift alone."""
    return decide(report)


@stage(cache=False)
def emit_drift_event(decision: RetrainDecision, model: str) -> str:
    """Tell Prefect, whose automation starts the retraining with this payload; the event's id.

    Raises:
        BadInput: the decision does not ask for retraining.
    """
    from prefect.events import emit_event

    if not decision.retrain:
        raise BadInput(
            f"No event for a decision against retraining ({decision.reason}); emit only when it says retrain."
        )
    resource = {"prefect.resource.id": f"edgeloop.detector.{model}"}
    event = emit_event(event=DRIFT_EVENT, resource=resource, payload=decision.to_event())
    if event is None:
        raise BadInput("Prefect sent no event; expected a server at PREFECT_API_URL. Run `edgeloop up` first.")
    return str(event.id)


def measure(planned: Plan, settings: DriftSection, reports: Path) -> DriftReport:
    """Run Evidently on every window and keep the HTML of the one that decided."""
    snapshots: list[Any] = []
    windows: list[WindowDrift] = []
    for comparison in bar(planned.comparisons, "drift", len(planned.comparisons)):
        snapshot = run_evidently(comparison)
        snapshots.append(snapshot)
        windows.append(judge(comparison, read_values(snapshot), settings))
    report = conclude(planned, windows, settings)
    if report.decisive is None or report.until is None:
        return report
    html = reports / f"drift-{report.artifact_id}-{report.until:%Y%m%dT%H%M%S}.html"
    with atomic_file(html) as temporary:
        snapshots[report.decisive].save_html(str(temporary))
    return report.model_copy(update={"html": html})


def run_evidently(comparison: Comparison) -> Any:
    """Evidently's report on one window: a normed Wasserstein distance a column, with our limit as its threshold."""
    os.environ.setdefault("DO_NOT_TRACK", "1")
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    names = list(comparison.limits)
    definition = DataDefinition(numerical_columns=names)
    current, reference = (
        Dataset.from_pandas(_frame(side.columns, names), data_definition=definition)
        for side in (comparison.window, comparison.reference)
    )
    metrics = [ValueDrift(column=name, method="wasserstein", threshold=comparison.limits[name]) for name in names]
    return Report(metrics, include_tests=True).run(current, reference)


def _frame(columns: Mapping[str, Any], names: list[str]) -> Any:
    import pyarrow as pa

    return pa.table({name: columns[name] for name in names}).to_pandas()


def read_values(snapshot: Any) -> dict[str, float]:
    """The measured effects by column, out of Evidently's JSON."""
    metrics = json.loads(snapshot.json())["metrics"]
    return {metric["config"]["column"]: float(metric["value"]) for metric in metrics}
