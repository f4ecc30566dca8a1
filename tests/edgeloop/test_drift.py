"""Drift: shifts are found, chance is not, and what cannot be judged is not judged."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgeloop.config import DriftSection
from edgeloop.drift import RetrainDecision, assess, conclude, decide
from edgeloop.drift_features import features, frequent_classes
from edgeloop.drift_limits import Runs, block_length, chance_limits, effect, resampled_effects
from edgeloop.drift_plan import MAXIMUM_WINDOWS, plan
from edgeloop.errors import BadInput
from tests.logs import START, autoregressive, logged_frame, synthetic_log, table_of

SETTINGS = DriftSection(window_frames=100, minimum_frames=60, false_alarm_rate=0.01)
LATER = START + timedelta(days=1)
samples = hnp.arrays(np.float64, st.integers(1, 40), elements=st.floats(-100, 100))


def later(frames: int = 300, seed: int = 2, **changes: float) -> pa.Table:
    return synthetic_log(frames, seed, start=LATER, **changes)


@pytest.fixture(scope="module")
def reference() -> pa.Table:
    return synthetic_log(500, 1)


@given(samples, st.floats(-50, 50))
def test_effect_of_a_shift_is_the_shift_in_standard_deviations(values: np.ndarray, shift: float) -> None:
    """The Wasserstein distance between a sample and itself moved is how far it moved."""
    expected = abs(shift) / max(values.std(), 0.001)
    assert effect(values, values + shift) == pytest.approx(expected, rel=1e-6, abs=1e-6)


@given(samples, st.integers(0, 1000))
def test_resampled_effects_are_effects(values: np.ndarray, seed: int) -> None:
    """The fast count over distinct values gives what the definition gives, missing values left out."""
    random = np.random.default_rng(seed)
    holed = np.append(values, np.nan)
    reference, window = (random.integers(0, holed.size, (5, size)) for size in (30, 20))
    reference[:, 0] = window[:, 0] = 0
    expected = [
        effect(*(side[np.isfinite(side)] for side in (holed[a], holed[b])))
        for a, b in zip(reference, window, strict=True)
    ]
    np.testing.assert_allclose(resampled_effects(holed, reference, window), expected, rtol=1e-6, atol=1e-6)


def test_blocks_are_as_long_as_neighbours_resemble_each_other() -> None:
    """Independent values need no blocks, sticky ones long ones, constants none."""
    random = np.random.default_rng(0)
    lengths = [block_length(autoregressive(random, 600, memory)) for memory in (0.0, 0.5, 0.9)]
    assert lengths[0] <= 4 < lengths[1] < lengths[2]
    assert block_length(np.diff(random.normal(size=201))) <= 4
    assert block_length(np.ones(100)) == 1
    assert block_length(np.array([])) == 1


def test_block_is_a_run_of_one_camera() -> None:
    """Every drawn block holds consecutive frames of one camera, and every camera has its share."""
    runs = Runs((np.arange(0, 60, 2), np.arange(1, 60, 2)), (10, 20))
    drawn = runs.draw(np.random.default_rng(0), 50, runs.window, 5)
    assert drawn.shape == (50, 30)
    assert (drawn[:, :10] % 2 == 0).all()
    assert (drawn[:, 10:] % 2 == 1).all()
    blocks = drawn[:, :10].reshape(50, 2, 5)
    assert set(np.unique(np.diff(blocks, axis=2) % 60)) == {2}


def test_limit_is_exceeded_at_the_rate_it_is_made_for() -> None:
    """Windows from the reference's own process exceed the limit about as often as asked."""
    random = np.random.default_rng(0)
    asked, alarms = 0.05, []
    for seed in range(100):
        values = random.normal(size=200)
        runs = Runs((np.arange(200),), (60,))
        limit = chance_limits({"x": values}, {"x": 1}, runs, asked, seed)["x"]
        alarms.append(effect(values, random.normal(size=60)) > limit)
    assert 0.01 < np.mean(alarms) < 0.10


def test_unchanged_stream_is_no_drift(reference: pa.Table) -> None:
    """Another day of the same process."""
    report = assess(reference, later(), SETTINGS)
    assert report.verdict == "no-drift"
    assert not decide(report).retrain


@pytest.mark.parametrize("shift", [{"light": 3.0, "blur": 2.0}, {"score": 0.2, "extra": 2.0}])
def test_shift_is_drift_and_asks_for_retraining(reference: pa.Table, shift: dict[str, float]) -> None:
    """Darker and blurred frames, or weaker and more boxes: several columns in every window."""
    decision = decide(assess(reference, later(**shift), SETTINGS))
    assert decision.retrain
    assert decision.score > 1
    assert len(decision.columns) >= 2
    assert decision.since is not None
    assert decision.since >= LATER


def test_one_drifted_window_is_not_an_alarm(reference: pa.Table) -> None:
    """A passing shadow is not a reason to retrain; persistence asks for consecutive windows."""
    shadow = pa.concat_tables([later(100), synthetic_log(100, 3, start=LATER + timedelta(hours=1), light=5, blur=5),
                               synthetic_log(100, 4, start=LATER + timedelta(hours=2))])  # fmt: skip
    report = assess(reference, shadow, SETTINGS)
    assert [window.drifted for window in report.windows] == [False, True, False]
    assert report.verdict == "no-drift"


def test_a_single_drifted_window_waits_for_the_next(reference: pa.Table) -> None:
    """With too few windows for an alarm the answer is neither yes nor no."""
    report = assess(reference, later(100, light=5, blur=5), SETTINGS)
    assert report.verdict == "not-enough-frames"
    assert not decide(report).retrain


def test_too_few_frames_are_not_judged(reference: pa.Table) -> None:
    """Never "no drift" from nothing."""
    for before, now in (
        (reference, later(40, light=9)),
        (synthetic_log(40), later()),
        (reference, later().slice(0, 0)),
    ):
        report = assess(before, now, SETTINGS)
        assert report.verdict == "not-enough-frames"
        assert "expected at least 60" in report.reason
        assert not decide(report).retrain


def test_a_reference_too_short_for_its_memory_is_not_judged_by() -> None:
    """Neighbours that resemble each other for a minute: a reference of a minute says nothing about the next one."""
    sticky = synthetic_log(300, 1, memory=0.98)
    report = assess(sticky, synthetic_log(300, 2, memory=0.98, start=LATER), SETTINGS)
    assert report.verdict == "no-drift"
    reasons = {column.column: column.reason for column in report.columns}
    assert "expected a reference of at least" in reasons["brightness"]
    assert "could not be judged" in report.reason
    assert reasons["detections"] == ""


def test_a_camera_that_falls_silent_is_no_drift(reference: pa.Table) -> None:
    """Cameras differ; the reference is compared with the same camera mix."""
    frames = later(600)
    quiet = frames.filter(pc.not_equal(frames.column("camera"), "cam1"))
    assert assess(reference, quiet, SETTINGS).verdict == "no-drift"


def test_a_new_camera_is_named_not_judged(reference: pa.Table) -> None:
    """There is nothing to compare it with."""
    report = assess(reference, synthetic_log(400, 2, cameras=4, start=LATER), SETTINGS)
    assert report.unjudged_cameras == ("cam4",)
    assert report.verdict == "no-drift"
    only_new = later().set_column(1, "camera", pa.array(["cam9"] * 300))
    assert assess(reference, only_new, SETTINGS).verdict == "not-enough-frames"


def test_logs_of_two_artifacts_are_refused(reference: pa.Table) -> None:
    """Scores move with the artifact, so the comparison would mean nothing."""
    with pytest.raises(BadInput, match="bbbbbbbbbbbb"):
        assess(reference, synthetic_log(300, 2, artifact_id="b" * 12), SETTINGS)


def test_missing_column_is_named(reference: pa.Table) -> None:
    """Evidently would raise a KeyError."""
    with pytest.raises(BadInput, match="window lacks sharpness"):
        assess(reference, later().drop_columns("sharpness"), SETTINGS)


def test_holes_in_an_image_statistic_are_refused(reference: pa.Table) -> None:
    """Evidently would leave 30 % NaN out in silence."""
    rows = later().to_pylist()
    for row in rows[:90]:
        row["brightness"] = float("nan")
    with pytest.raises(BadInput, match="brightness is missing in 30%"):
        assess(reference, table_of(rows), SETTINGS)


def test_frames_without_boxes_have_no_mean_score() -> None:
    """Empty frames count as empty, not as boxes of score 0; too few values in a column are said."""
    empty = table_of([logged_frame(f"{i:016x}", START + timedelta(seconds=i), []) for i in range(100)])
    columns = features(empty, (), "log").columns
    assert np.isnan(columns["mean_score"]).all()
    assert (columns["detections"] == 0).all()
    report = assess(empty, empty, SETTINGS)
    reasons = {column.column: column.reason for column in report.columns}
    assert report.verdict == "not-enough-frames"
    assert "fewer than 2 columns" in report.reason
    assert "0 values in the reference" in reasons["mean_score"]
    assert "constant" in reasons["detections"]


def test_classes_with_a_column_are_those_the_reference_shows(reference: pa.Table) -> None:
    """The fourth class is on 3 % of the frames, too few to say anything in a window."""
    assert frequent_classes(reference) == (0, 1, 2)


def test_a_long_log_is_thinned_not_cut_off(reference: pa.Table) -> None:
    """Ten times the windows that are judged: the judged ones still span most of the log."""
    planned = plan(reference, later(30 * 100 * 3), SETTINGS)
    assert len(planned.comparisons) <= MAXIMUM_WINDOWS
    first, last = planned.comparisons[0].window.time[0], planned.comparisons[-1].window.time[-1]
    assert (last - first) / np.timedelta64(1, "s") > 0.25 * 9000 / 4


def test_equal_input_gives_an_equal_report(reference: pa.Table) -> None:
    """Resampling is seeded, and rows may come in any order."""
    window = later(light=1)
    mixed = window.take(np.random.default_rng(0).permutation(len(window)))
    assert assess(reference, window, SETTINGS) == assess(reference, mixed, SETTINGS)


def test_event_carries_the_decision(reference: pa.Table) -> None:
    """What the automation hands to the flow is the object the demo used, and plain JSON types all through."""
    decision = decide(assess(reference, later(light=3, blur=2), SETTINGS))
    event = decision.to_event()
    assert RetrainDecision.from_document(event, "the event") == decision
    assert all(isinstance(value, str | float | bool | int | list) for value in event.values())


def test_latest_run_decides(reference: pa.Table) -> None:
    """The report's columns and span are those of the newest alarm."""
    report = assess(reference, later(light=4, blur=4), SETTINGS)
    planned = plan(reference, later(), SETTINGS)
    calm, stormy = assess(reference, later(), SETTINGS).windows[0], report.windows[0]
    verdict = conclude(planned, [stormy, stormy, calm, stormy, stormy, calm], SETTINGS)
    assert verdict.decisive == 4
    assert conclude(planned, [stormy, calm, stormy, calm], SETTINGS).verdict == "no-drift"
