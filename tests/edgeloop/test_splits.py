"""Rules, shares and the hash: what groups frames, and which side a group is on for ever."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeloop.errors import BadInput
from edgeloop.frames import Frame, LabelledFrame
from edgeloop.shares import Shares
from edgeloop.splits import GroupRule, position, side_of
from edgeloop.strata import ANYTHING, MINIMUM_GROUPS, OpenGroup, balance

NIGHT = datetime(2026, 3, 1, 23, 30, tzinfo=timezone.utc)


def frame(path: str, camera: str = "cam0") -> LabelledFrame:
    return LabelledFrame(Frame("f", Path(path), 8, 8, camera, NIGHT))


@pytest.mark.parametrize(
    ("text", "path", "key"),
    [
        ("none", "a/b.jpg", None),
        ("camera", "a/b.jpg", "camera cam0"),
        ("day", "a/b.jpg", "day 2026-03-01"),
        ("clip", "a/b.jpg", None),
        (r"line\d", "set/line3/b.jpg", r"line\d line3"),
        (r"/(\w+)_\d+\.jpg", "set/part7_0001.jpg", r"/(\w+)_\d+\.jpg part7"),
        (r"line\d", "set/b.jpg", None),
    ],
)
def test_key_of_a_frame(text: str, path: str, key: str | None) -> None:
    """Each rule gives frames that belong together the same key, and none where it says nothing."""
    rule = GroupRule.parse(text)
    assert rule.key(frame(path)) == key
    assert GroupRule.parse(rule.text) == rule


def test_clip_gap() -> None:
    """The gap between clips can be named, and survives being written down."""
    assert GroupRule.parse("clip:30").gap_seconds == 30
    assert GroupRule.parse(GroupRule.parse("clip:2.5").text).gap_seconds == 2.5


def test_unknown_camera_is_no_camera() -> None:
    """Frames of which nothing says the camera are not one camera, and the date of their file is not their day."""
    assert GroupRule.parse("camera").key(frame("b.jpg", "unknown")) is None
    assert GroupRule.parse("day").key(frame("b.jpg", "unknown")) is None


@pytest.mark.parametrize(
    ("text", "said"), [("(", "regular expression"), ("", "came nothing"), ("clip:0", "more than 0")]
)
def test_no_rule_is_bad_input(text: str, said: str) -> None:
    """What is neither a word nor a regular expression is refused in one sentence."""
    with pytest.raises(BadInput, match=said) as caught:
        GroupRule.parse(text)
    assert "\n" not in str(caught.value)


def test_shares_are_met() -> None:
    """Over many groups the sides come near their shares."""
    shares = Shares(train=0.7, val=0.2, test=0.1)
    sides = [side_of(str(number), shares) for number in range(5000)]
    assert abs(sides.count("val") / 5000 - 0.2) < 0.02
    assert abs(sides.count("test") / 5000 - 0.1) < 0.02


def test_a_test_share_takes_from_the_train_side() -> None:
    """Groups that validated before do not judge, whoever asks for a test side later."""
    before = [side_of(str(number)) for number in range(500)]
    after = [side_of(str(number), Shares(train=0.7, val=0.2, test=0.1)) for number in range(500)]
    assert {(was, now) for was, now in zip(before, after, strict=True) if was != now} == {("train", "test")}


def test_shares_must_add_up() -> None:
    """Shares that do not make a whole are refused."""
    with pytest.raises(ValueError, match="add up to 1"):
        Shares(train=0.5, val=0.2)


classes = st.frozensets(st.integers(0, 5), max_size=3)


@given(st.dictionaries(st.text(min_size=1, max_size=6), classes, min_size=1, max_size=25))
def test_balance_takes_no_side_from_a_class(shown: dict[str, frozenset[int]]) -> None:
    """Whatever is moved, a class that the hash gave both sides keeps them, and something is on both from two groups."""
    groups = [OpenGroup(name, ids, side_of(name)) for name, ids in shown.items()]
    sides = balance(groups, {}, Shares())
    for one in {ANYTHING, *(one for ids in shown.values() for one in ids)}:
        of_class = [group for group in groups if one == ANYTHING or one in group.classes]
        after = {sides[group.name] for group in of_class}
        if len(of_class) >= MINIMUM_GROUPS:
            assert after >= {group.side for group in of_class}
    assert set(sides.values()) == ({"train", "val"} if len(groups) > 1 else {"train"})


@given(st.sets(st.text(min_size=1, max_size=6), min_size=3, max_size=25), st.data())
def test_a_rare_class_gets_both_sides(names: set[str], data: st.DataObject) -> None:
    """A class with three groups among others has one on each side, however the hash would have it."""
    rare = data.draw(st.permutations(sorted(names)))[:MINIMUM_GROUPS]
    groups = [OpenGroup(name, frozenset({0, 1} if name in rare else {0}), side_of(name)) for name in sorted(names)]
    sides = balance(groups, {}, Shares())
    assert {sides[name] for name in rare} == {"train", "val"}
    moved = [group.name for group in groups if sides[group.name] != group.side]
    assert len(moved) <= 2


def test_the_hash_is_kept_where_nothing_is_missing() -> None:
    """With both sides in use every group stays where its hash puts it."""
    groups = [OpenGroup(str(number), frozenset(), side_of(str(number))) for number in range(20)]
    sides = balance(groups, {"train": [frozenset()], "val": [frozenset()]}, Shares())
    assert sides == {group.name: group.side for group in groups}


def test_what_is_alone_is_learned_from() -> None:
    """Frames that all belong together, as before one fixed camera, are the train side, wherever the hash puts them."""
    assert balance([OpenGroup("a", frozenset({0}), "val")], {}, Shares()) == {"a": "train"}
    assert balance([OpenGroup("a", frozenset(), "val")], {"train": [frozenset()]}, Shares()) == {"a": "val"}


def test_no_share_no_group() -> None:
    """A side without a share gets nothing."""
    groups = [OpenGroup(name, frozenset(), "train") for name in "abc"]
    assert set(balance(groups, {}, Shares(train=1, val=0)).values()) == {"train"}


def test_the_nearest_group_is_moved() -> None:
    """Of the groups that could go, the one whose hash lies nearest to the side goes: a small change of shares."""
    groups = [OpenGroup(name, frozenset({3}), "train") for name in "abcdef"]
    sides = balance(groups, {"val": [frozenset()]}, Shares())
    (moved,) = [name for name, side in sides.items() if side == "val"]
    assert position(moved) == min(position(name) for name in "abcdef")
