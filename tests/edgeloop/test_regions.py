"""Label Studio's JSON: boxes survive the way there and back, and nothing but a box of ours becomes a label."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeloop.errors import BadInput
from edgeloop.frames import Frame
from edgeloop.labelling import PreLabel, QueueTask
from edgeloop.regions import (
    class_ids,
    from_data,
    from_percent,
    from_regions,
    label_config,
    standing_annotation,
    task_json,
    to_percent,
)

FRAME = Frame("ab" * 8, Path("frames") / f"{'ab' * 8}.jpg", 400, 300, "cam1", datetime(2026, 3, 1, tzinfo=timezone.utc))
IDS = {"dent": 0, "crack": 1}


def region(**changes: object) -> dict:
    value = {"x": 10, "y": 10, "width": 20, "height": 20, "rotation": 0, "rectanglelabels": ["crack"]}
    return {"type": "rectanglelabels", "image_rotation": 0, "value": value} | changes


@given(x=st.floats(0, 380), y=st.floats(0, 280), w=st.floats(1, 20), h=st.floats(1, 20))
def test_box_survives_percent(x: float, y: float, w: float, h: float) -> None:
    """Pixels to percent and back, to a thousandth of a pixel."""
    box = (x, y, x + w, y + h)
    assert from_percent(to_percent(box, 400, 300), 400, 300) == pytest.approx(box, abs=1e-3)


def test_rotation_is_in_pixels_not_in_percent() -> None:
    """Corner (200, 100), 80 x 60 pixels, 30 degrees clockwise: the upright box around it, worked out by hand."""
    value = {"x": 50, "y": 100 / 3, "width": 20, "height": 20, "rotation": 30}
    expected = (200 - 30, 100, 200 + 80 * 0.8660254, 100 + 40 + 60 * 0.8660254)
    assert from_percent(value, 400, 300) == pytest.approx(expected, abs=1e-4)


def test_task_comes_back_as_it_was_pushed() -> None:
    """Everything a label needs travels in the task's data, so labels may be pulled on another machine."""
    boxes = (PreLabel(class_id=1, box=(10, 20, 110, 220), score=0.5),)
    task = QueueTask(frame=FRAME, stratum="audit", score=0.25, reason="r", artifact_id="a" * 12, prelabels=boxes)
    sent = task_json(task, "/data/upload/1/x.jpg", ("dent", "crack"))
    assert from_data(sent["data"], Path("frames")) == task.model_copy(update={"prelabels": ()})
    assert sent["predictions"][0]["score"] == 0.25
    proposal = sent["predictions"][0]["result"][0]
    assert from_regions([proposal], IDS, FRAME)[0].box == pytest.approx(boxes[0].box)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("frame_id", None, "did not push"),
        ("frame_id", "../../../etc/x", "16 hexadecimal"),
        ("width", "wide", "width"),
        ("stratum", "luck", "stratum"),
        ("time", "now", "time"),
    ],
)
def test_changed_task_is_refused(key: str, value: object, message: str) -> None:
    """People can edit a task's data; then it is named, never guessed at."""
    task = QueueTask(frame=FRAME, stratum="audit", score=0.25, reason="r", artifact_id="a" * 12)
    data = task_json(task, "/data/x.jpg", ("dent",))["data"]
    data = {name: old for name, old in data.items() if name != key} | ({key: value} if value else {})
    with pytest.raises(BadInput, match=message):
        from_data(data, Path("frames"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"type": "polygonlabels", "value": {"points": [[1, 1]], "polygonlabels": ["crack"]}}, "polygonlabels"),
        ({"value": region()["value"] | {"rectanglelabels": []}}, "one label"),
        ({"value": region()["value"] | {"rectanglelabels": ["rust"]}}, "'rust'"),
        ({"value": region()["value"] | {"width": None}}, "four numbers"),
        ({"value": region()["value"] | {"width": float("nan")}}, "four numbers"),
        ({"image_rotation": 90}, "90 degrees"),
    ],
)
def test_what_is_not_an_upright_box_of_ours_is_refused(changes: dict, message: str) -> None:
    """The whole answer is a problem then: half of an answer would teach that the rest is background."""
    with pytest.raises(BadInput, match=message):
        from_regions([region(), region(**changes)], IDS, FRAME)


def test_what_draws_nothing_is_left_out() -> None:
    """A team may add a comment field to its screen."""
    comment = {"type": "textarea", "value": {"text": ["blurred"]}}
    assert len(from_regions([comment, region()], IDS, FRAME)) == 1


def test_class_ids_do_not_depend_on_the_order_on_the_screen() -> None:
    """Ids travel in the configuration; a label that people added has none and is not a class."""
    assert 'value="a &lt;b&gt; &amp; c" category="1"' in label_config(["dent", "a <b> & c"])
    parsed = {"label": {"labels_attrs": {"new": {}, "crack": {"category": "1"}, "dent": {"category": "0"}}}}
    assert class_ids(parsed) == IDS
    assert class_ids({"other": {}}) == {}


def annotation(number: int, *, skipped: bool = False, truth: bool = False) -> dict:
    moment = f"2026-03-01T08:00:{number:02d}Z"
    return {"id": number, "was_cancelled": skipped, "ground_truth": truth, "updated_at": moment}


def test_a_reviewed_answer_wins_then_the_newest_then_a_skip() -> None:
    """One answer counts when a task has several."""
    first, second, skip = annotation(1), annotation(2), annotation(3, skipped=True)
    assert standing_annotation([first, second, skip]) == second
    assert standing_annotation([annotation(1, truth=True), second]) == annotation(1, truth=True)
    assert standing_annotation([skip]) == skip
    assert standing_annotation([]) is None
