"""The drift stage: Evidently measures what we define, and its report is on disk."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from edgeloop.config import Config, DriftSection
from edgeloop.drift import DriftReport, RetrainDecision
from edgeloop.drift_plan import plan
from edgeloop.errors import BadInput
from edgeloop.log_slice import LogSlice
from tasks.drift import decide_retrain, drift, emit_drift_event, read_values, run_evidently
from tests.logs import START, synthetic_log, write_log

LATER = START + timedelta(days=1)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(root=tmp_path, drift=DriftSection(window_frames=100, minimum_frames=60, false_alarm_rate=0.01))


def test_decision_against_retraining_is_never_an_event() -> None:
    """The automation retrains on the event alone, whatever its payload says."""
    with pytest.raises(BadInput, match="against retraining"):
        emit_drift_event.fn(RetrainDecision(retrain=False, reason="no-drift", artifact_id="a"), "detector")


def test_too_few_frames_need_no_evidently(config: Config) -> None:
    """The refusal is a report too, without HTML."""
    folder = write_log(synthetic_log(50), config.root / "log")
    report = drift.fn(LogSlice(url=str(folder)), LogSlice(url=str(folder)), config)
    assert report.verdict == "not-enough-frames"
    assert report.html is None
    assert not decide_retrain.fn(report).retrain


@pytest.mark.integration
def test_evidently_measures_what_we_define(config: Config) -> None:
    """Its wasserstein method and ours agree on every column, so that limits made with ours fit its values."""
    window = synthetic_log(100, 2, light=2, start=LATER)
    comparison = plan(synthetic_log(400, 1), window, config.drift).comparisons[0]
    measured = read_values(run_evidently(comparison))
    assert measured == pytest.approx(comparison.measure(), rel=1e-9)
    assert len(measured) >= 8


@pytest.mark.integration
def test_report_names_the_html_of_the_window_that_decided(config: Config) -> None:
    """Drift in the log becomes a verdict, an HTML page and a JSON record."""
    folder = write_log(synthetic_log(400, 1), config.root / "log")
    write_log(synthetic_log(300, 2, light=3, blur=2, start=LATER), folder)
    log = LogSlice(url=str(folder), until=LATER)
    report = drift.fn(log, log.model_copy(update={"since": LATER, "until": None}), config)
    assert decide_retrain.fn(report).retrain
    assert report.html is not None
    assert "brightness" in report.html.read_text(encoding="utf-8")
    assert DriftReport.load(report.html.with_suffix(".json")) == report
    assert sorted(path.suffix for path in config.workspace.reports.iterdir()) == [".html", ".json"]
