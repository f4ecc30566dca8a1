"""Sides of the split: stable for ever, no group on two sides."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edgeloop.errors import BadInput
from edgeloop.frames import Frame, LabelledFrame, Split
from edgeloop.splits import Shares, assign, position, side_of

NOW = datetime(2026, 3, 1, tzinfo=timezone.utc)


def frame(frame_id: str, group: str = "", split: Split | None = None) -> LabelledFrame:
    return LabelledFrame(Frame(frame_id, Path(f"{frame_id}.jpg"), 8, 8, "c", NOW), (), split, group=group)


groups = st.text(min_size=1, max_size=8)
many = st.lists(groups, min_size=1, max_size=30, unique=True)


@given(many, many)
def test_growing_data_moves_nothing(first: list[str], second: list[str]) -> None:
    """Whatever comes later, in whatever order, every group stays where it was."""
    before = assign([frame(name) for name in first])
    after = assign([frame(name) for name in (*second, *reversed(first))], known=before)
    assert {group: after[group] for group in before} == before


@given(many)
def test_side_depends_on_the_group_alone(names: list[str]) -> None:
    """With both sides in use, a group's side is its hash's, whoever comes with it."""
    known: dict[str, Split] = {"long known group": "val", "another known group": "train"}
    assert assign([frame(name) for name in names], known) == {name: side_of(name) for name in names}


@given(st.lists(st.tuples(st.integers(0, 10**6), groups), min_size=1, max_size=30, unique_by=lambda item: item[0]))
def test_one_side_a_group(items: list[tuple[int, str]]) -> None:
    """Frames of one group share one side."""
    sides = assign([frame(str(number), group) for number, group in items])
    assert set(sides) == {group for _, group in items}


@given(many)
def test_there_is_always_something_to_validate_on(names: list[str]) -> None:
    """Two groups or more never all go to one side."""
    assume(len(names) > 1)
    assert set(assign([frame(name) for name in names]).values()) == {"train", "val"}


def test_shares_are_met() -> None:
    """Over many groups the sides come near their shares."""
    shares = Shares(train=0.7, val=0.2, audit=0.1)
    sides = [side_of(str(number), shares) for number in range(5000)]
    assert abs(sides.count("val") / 5000 - 0.2) < 0.02
    assert abs(sides.count("audit") / 5000 - 0.1) < 0.02


def test_position_is_fixed() -> None:
    """The hash is part of the data's format: these numbers must never change, or frames would change sides."""
    assert position("cam1") == 0.8908228991794643
    assert position("0123456789abcdef") == 0.7458649160995333


def test_an_asked_side_wins_over_the_hash() -> None:
    """Frames that come with a side keep it."""
    sides = assign([frame("a", split="audit"), frame("b", split="val"), frame("c", split="train")])
    assert sides == {"a": "audit", "b": "val", "c": "train"}


def test_new_frames_follow_their_group() -> None:
    """A group that has a side gives it to every new frame, also to one that asks for another trained side."""
    assert assign([frame("x", "g", "train"), frame("y", "g")], {"g": "val"}) == {"g": "val"}


def test_audit_frames_stay_audit() -> None:
    """A frame of an audited group never becomes training data, and an audit frame of a trained group is refused."""
    assert assign([frame("x", "g", "train")], {"g": "audit"}) == {"g": "audit"}
    with pytest.raises(BadInput, match="would leak"):
        assign([frame("x", "g", "audit")], {"g": "train"})


def test_a_group_on_two_sides_is_refused() -> None:
    """Frames of one new group that ask for different sides would leak."""
    with pytest.raises(BadInput, match="the train and the val side"):
        assign([frame("x", "g", "train"), frame("y", "g"), frame("z", "g", "val")])


def test_shares_must_add_up() -> None:
    """Shares that do not make a whole are refused."""
    with pytest.raises(ValueError, match="add up to 1"):
        Shares(train=0.5, val=0.2)
