"""Labelling: what comes out of a queue is exactly what a person said, cut to the image, or it does not come out."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeloop.errors import BadInput
from edgeloop.frames import Frame, Label
from edgeloop.labelling import Answer, PullReport, QueueTask, Reply, check_names, clip, collect, queue_tasks, settle
from edgeloop.selection import Selected, Selection
from tests.logs import START, logged_frame, table_of

FRAME = Frame("ab" * 8, Path("frame.jpg"), 320, 240, "cam1", datetime(2026, 3, 1, tzinfo=timezone.utc))
number = st.floats(-1000, 1000, width=32)


def task(stratum: str = "uncertain") -> QueueTask:
    return QueueTask(frame=FRAME, stratum=stratum, score=0.5, reason="test", artifact_id="a" * 12)


def answer(*labels: Label, skipped: bool = False) -> Answer:
    return Answer(frame_id=FRAME.frame_id, labels=labels, labeler="maria", skipped=skipped)


def replied(said: Answer | None, revision: str = "1", stratum: str = "uncertain") -> Reply:
    return Reply(task(stratum), revision if said else "", said)


@given(box=st.tuples(number, number, number, number))
def test_clipped_box_lies_in_the_image_or_is_refused(box: tuple[float, float, float, float]) -> None:
    """Whatever the corners, the result is inside the image with an area, or None."""
    cut = clip(box, 320, 240)
    if cut is not None:
        x1, y1, x2, y2 = cut
        assert 0 <= x1 < x2 <= 320
        assert 0 <= y1 < y2 <= 240
        assert clip(cut, 320, 240) == cut


def test_box_that_is_not_a_number_is_refused() -> None:
    """NaN compares with nothing and would slip through a clip."""
    assert clip((0, 0, float("nan"), 10), 320, 240) is None


def test_audit_frames_keep_their_own_side() -> None:
    """Audit answers come back with split "audit"; other strata leave the side to the data set."""
    for stratum, split in (("audit", "audit"), ("uncertain", None), ("flagged", None)):
        settled = settle(replied(answer(), stratum=stratum), 4)
        assert settled is not None
        assert settled[0].split == split


def test_empty_answer_is_a_background_and_a_skip_is_nothing() -> None:
    """A person who saw no object answered; a person who skipped did not."""
    report = collect("q", [replied(answer())], {}, 4)
    assert [frame.labels for frame in report.frames] == [()]
    report = collect("q", [replied(answer(Label(0, (1, 1, 9, 9)), skipped=True))], {}, 4)
    assert report.frames == ()
    assert report.skipped == (FRAME.frame_id,)


def test_labels_carry_who_answers_for_them() -> None:
    """The labeler's name reaches the data set."""
    frame = collect("q", [replied(answer(Label(2, (1, 1, 400, 9))))], {}, 4)
    assert frame.frames[0].labeler == "maria"
    assert frame.frames[0].labels == (Label(2, (1, 1, 320, 9)),)
    assert frame.clipped == 1


@pytest.mark.parametrize(
    ("label", "message"), [(Label(4, (1, 1, 9, 9)), "class 4"), (Label(0, (330, 1, 400, 9)), "no area")]
)
def test_unusable_answer_is_a_problem_until_it_is_changed(label: Label, message: str) -> None:
    """It never becomes a label, and it is not marked as seen."""
    report = collect("q", [replied(answer(label))], {}, 4)
    assert report.frames == ()
    assert report.seen == ()
    assert message in report.problems[0]


def acknowledged(before: dict[str, str], report: PullReport) -> dict[str, str]:
    return {**before, **dict(report.seen)}


def test_pull_brings_each_change_once_and_takes_back_what_was_taken_back() -> None:
    """Label, repeat, edit, skip, and gone: each is told once, and only a label that was told can be retracted."""
    told: dict[str, str] = {}
    story = [
        (replied(answer(), "1"), (1, 0, 0)),
        (replied(answer(), "1"), (0, 0, 0)),
        (replied(answer(Label(0, (1, 1, 9, 9))), "2"), (1, 0, 0)),
        (replied(answer(skipped=True), "3"), (0, 1, 1)),
        (replied(None), (0, 0, 0)),
        (replied(answer(), "4"), (1, 0, 0)),
        (replied(None), (0, 0, 1)),
        (replied(None), (0, 0, 0)),
    ]
    for reply, expected in story:
        report = collect("q", [reply], told, 4)
        assert (len(report.frames), len(report.skipped), len(report.retracted)) == expected
        told = acknowledged(told, report)


def test_report_survives_json() -> None:
    """Stages hand it over as JSON."""
    report = collect("q", [replied(answer(Label(2, (1, 1, 40, 9))))], {}, 4)
    assert PullReport.model_validate_json(report.model_dump_json()) == report


def test_names_may_grow_but_never_change_their_meaning() -> None:
    """A queue's class ids mean what they meant when its first task was pushed."""
    check_names("q", ("dent", "crack"), ("dent",))
    check_names("q", ("dent",), ())
    with pytest.raises(BadInput, match="dent, crack"):
        check_names("q", ("crack", "dent"), ("dent", "crack"))


def test_prelabels_are_what_the_detector_would_have_shown() -> None:
    """Boxes above their class's threshold, cut to the image; lowest score first."""
    boxes = [
        {"x1": -5, "y1": 10, "x2": 40, "y2": 40, "score": 0.75, "class_id": 1},
        {"x1": 50, "y1": 10, "x2": 90, "y2": 40, "score": 0.25, "class_id": 1},
        {"x1": -50, "y1": 10, "x2": -9, "y2": 40, "score": 0.75, "class_id": 1},
    ]
    log = table_of([logged_frame("a" * 16, START, boxes), logged_frame("b" * 16, START, [])])
    chosen = [Selected(frame_id=c * 16, stratum="uncertain", score=s, reason="r") for c, s in (("a", 0.9), ("b", 0.1))]
    selection = Selection(artifact_id="x", budget=2, candidates=2, frames=tuple(chosen), path=Path("s.json"))
    tasks = queue_tasks(selection, log, {c * 16: Path(f"{c}.jpg") for c in "ab"})
    assert [item.frame.image.name for item in tasks] == ["b.jpg", "a.jpg"]
    assert [(p.class_id, p.box) for p in tasks[1].prelabels] == [(1, (0, 10, 40, 40))]
    with pytest.raises(BadInput, match="not in the log"):
        queue_tasks(selection, log.slice(0, 1), {})
