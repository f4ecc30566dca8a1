"""Nothing leaks between the sides, and no frame ever changes its side, however the data grows."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeloop.belonging import Placed
from edgeloop.errors import BadInput
from edgeloop.frames import Frame, Label, LabelledFrame, Split
from edgeloop.labelling import Answer, QueueTask, Reply, settle
from edgeloop.near_duplicates import NEAR
from edgeloop.placement import place, refuse_rule
from edgeloop.shares import Shares
from edgeloop.splits import DRAWN, NO_RULE, GroupRule, is_drawn, side_of

BEGIN = datetime(2026, 3, 1, tzinfo=timezone.utc)
RULES = ("none", "camera", "day", "clip:10", r"(line\d)")
ALIKE = (1 << (NEAR - 1)) - 1  # bits: two of them are near duplicates


def frame(
    name: str,
    *,
    look: int | None = None,
    camera: str = "cam",
    seconds: float = 0,
    split: Split | None = None,
    source: str = "import",
    group: str = "",
    classes: tuple[int, ...] = (),
) -> LabelledFrame:
    photo = Frame(
        name, Path(f"{camera}/{name}.jpg"), 8, 8, camera, BEGIN + timedelta(seconds=seconds), perceptual_hash=look
    )
    return LabelledFrame(photo, tuple(Label(one, (0, 0, 4, 4)) for one in classes), split, source, group=group)


def drawn(name: str, **more: object) -> LabelledFrame:
    return frame(name, split="audit", source=DRAWN, **more)  # type: ignore[arg-type]


def known(one: LabelledFrame, side: Split, group: str = "") -> Placed:
    photo = one.frame
    name = group or one.group or photo.frame_id
    return Placed(photo.frame_id, name, side, photo.camera, photo.time, photo.perceptual_hash)


def sides(frames: list[LabelledFrame], *settled: Placed, rule: GroupRule = NO_RULE) -> dict[str, Split]:
    return {name: one.side for name, one in place(frames, settled, rule).placed.items()}


# Hashes that are few bits apart from one of four pictures: chains, bridges and strangers all occur.
looks = st.one_of(
    st.none(),
    st.builds(
        lambda picture, bits: picture * 0x0F0F_3333_5555_0F0F % 2**64 ^ sum(1 << bit for bit in bits),
        st.integers(0, 3),
        st.frozensets(st.integers(0, 63), max_size=5),
    ),
)
pictures = st.fixed_dictionaries(
    {
        "look": looks,
        "camera": st.sampled_from(["line1", "line2", "unknown"]),
        "seconds": st.one_of(st.integers(0, 120), st.integers(0, 400_000)),
        "split": st.sampled_from([None, None, "train", "val", "test", "audit"]),
        "source": st.sampled_from(["import", DRAWN]),
        "group": st.sampled_from(["", "", "g1", "g2"]),
        "classes": st.frozensets(st.integers(0, 3), max_size=2).map(tuple),
    }
)
growth = st.lists(st.lists(pictures, max_size=8), min_size=1, max_size=4)


def leaks(rule: GroupRule, one: LabelledFrame, other: LabelledFrame) -> bool:
    """Whether two frames may not be on two sides."""
    looks = (one.frame.perceptual_hash, other.frame.perceptual_hash)
    if None not in looks and bin(looks[0] ^ looks[1]).count("1") <= NEAR:  # type: ignore[operator]
        return True
    if DRAWN in (one.source, other.source):
        return False
    key, its_key = rule.key(one), rule.key(other)
    if key is not None or its_key is not None:
        return key == its_key
    if rule.kind == "clip" and one.frame.camera == other.frame.camera != "unknown":
        return abs((one.frame.time - other.frame.time).total_seconds()) < rule.gap_seconds
    return bool(one.group) and one.group == other.group


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(RULES).map(GroupRule.parse), growth)
def test_growing_data_never_leaks_and_moves_nothing(rule: GroupRule, batches: list[list[dict[str, object]]]) -> None:
    """Whatever comes, in whatever batches: sides are only added, what belongs together is on one side, the audit side
    takes nothing that did not ask, and a batch that comes again changes nothing.
    """
    settled: dict[str, Placed] = {}
    frames: dict[str, LabelledFrame] = {}
    for number, batch in enumerate(batches):
        new = [frame(f"{number}-{index}", **one) for index, one in enumerate(batch)]  # type: ignore[arg-type]
        found = place(new, list(settled.values()), rule)
        assert found.placed.keys() | found.left_out.keys() == {one.frame.frame_id for one in new}
        assert not found.placed.keys() & (settled.keys() | found.left_out.keys())
        settled |= found.placed
        frames |= {one.frame.frame_id: one for one in new}
        again = place([one for one in new if one.frame.frame_id in found.left_out], list(settled.values()), rule)
        assert again.placed == {}
    assert all(frames[name].split == "audit" for name, one in settled.items() if one.side == "audit")
    for one, other in combinations(settled, 2):
        if settled[one].side != settled[other].side:
            assert not leaks(rule, frames[one], frames[other]), (frames[one], frames[other])


@given(st.lists(st.text(min_size=1, max_size=8), min_size=2, max_size=20, unique=True), st.randoms())
def test_alone_a_frame_goes_where_its_hash_says(names: list[str], random: object) -> None:
    """Frames that belong to nothing are on the same side whatever the order and the batches they come in."""
    both = [known(frame("settled 1"), "train"), known(frame("settled 2"), "val")]
    expected = {name: side_of(name) for name in names}
    random.shuffle(names)  # type: ignore[attr-defined]
    half = len(names) // 2
    first = place([frame(name) for name in names[:half]], both).placed
    second = place([frame(name) for name in names[half:]], [*both, *first.values()]).placed
    assert {name: one.side for name, one in (first | second).items()} == expected


def test_near_duplicates_follow_each_other() -> None:
    """New near duplicates share a side and a group; one of a settled frame goes to that frame's."""
    found = place([frame("a", look=0), frame("b", look=ALIKE), frame("c", look=2**64 - 1)], ()).placed
    assert found["a"].side == found["b"].side
    assert found["a"].group == found["b"].group == "a"
    settled = known(frame("old", look=ALIKE), "val", "its group")
    assert place([frame("a", look=0, split="train")], [settled]).placed["a"].side == "val"
    assert place([frame("a", look=0)], [settled]).placed["a"].group == "its group"


def test_a_bridge_is_left_out() -> None:
    """A new frame that looks like settled frames of two sides fits on neither, and says why."""
    one, other = known(frame("one", look=0), "train"), known(frame("other", look=0xFF), "val")
    found = place([frame("bridge", look=0xF)], [one, other])
    assert found.placed == {}
    assert "looks like one on the train side" in found.left_out["bridge"]
    assert "looks like other on the val side" in found.left_out["bridge"]


def test_a_chain_between_two_sides_is_cut() -> None:
    """Of new frames that lead from one side to the other, as few as possible are left out."""
    one, other = known(frame("one", look=0), "train"), known(frame("other", look=(1 << 20) - 1), "val")
    chain = [frame(f"{bits}", look=(1 << bits) - 1) for bits in (4, 6, 10, 15)]
    found = place(chain, [one, other])
    assert set(found.left_out) == {"15"}
    assert {item.side for item in found.placed.values()} == {"train"}


def test_what_is_left_out_ties_nothing() -> None:
    """A frame whose only bond to the other side is a frame that was left out goes where it belongs."""
    one, other = known(frame("one", look=0), "train"), known(frame("other", look=(1 << 20) - 1), "val")
    chain = [frame(f"{bits}", look=(1 << bits) - 1) for bits in (4, 5, 6, 10, 14, 20)]
    found = place(chain, [one, other])
    assert {name: item.side for name, item in found.placed.items()} == {
        "4": "train", "5": "train", "6": "train", "10": "train", "20": "val",
    }  # fmt: skip
    assert set(found.left_out) == {"14"}


def test_the_audit_side_takes_no_neighbours() -> None:
    """A frame that looks like an audit frame, settled or new, is neither trained on nor does it judge."""
    settled = known(frame("audit", look=0), "audit")
    found = place([frame("a", look=1), frame("b", look=3, split="train"), drawn("c", look=7)], [settled])
    assert set(found.left_out) == {"a", "b"}
    assert found.placed["c"].side == "audit"
    fresh = place([frame("a", look=1), drawn("c", look=7)], ())
    assert (fresh.placed["c"].side, set(fresh.left_out)) == ("audit", {"a"})


def test_a_draw_that_is_known_to_training_is_trained_on() -> None:
    """A random draw that looks like a train frame cannot judge; its labels still serve."""
    assert sides([drawn("a", look=1)], known(frame("old", look=0), "train")) == {"a": "train"}


def test_an_audit_frame_that_leaks_is_left_out() -> None:
    """An audit frame of a source that looks like a train frame is not trained on either: it came to judge."""
    found = place([frame("a", look=1, split="audit")], [known(frame("old", look=0), "train")])
    assert "cannot be held out" in found.left_out["a"]


def test_a_test_side_is_kept_and_neighbours_come_along() -> None:
    """Test frames of a source judge. What looks like one judges too, unless more of its kind are learned from."""
    assert sides([frame("a", look=0, split="test"), frame("b", look=1)]) == {"a": "test", "b": "test"}
    assert sides([frame("a", look=0, split="test"), frame("b", look=1, split="train")]) == {"a": "test", "b": "test"}
    assert sides([frame("a", look=1)], known(frame("old", look=0), "test")) == {"a": "test"}
    assert sides([frame("a", look=1, split="test")], known(frame("old", look=0), "train")) == {"a": "train"}


def test_a_test_share_is_drawn_by_groups() -> None:
    """With a share of its own the test side gets whole groups."""
    frames = [frame(f"{group}-{index}", group=str(group)) for group in range(60) for index in range(2)]
    placed = place(frames, [], NO_RULE, Shares(train=0.6, val=0.2, test=0.2)).placed
    assert {one.side for one in placed.values()} == {"train", "val", "test"}
    assert all(placed[f"{group}-0"].side == placed[f"{group}-1"].side for group in range(60))


def test_what_the_audit_stratum_brings_is_drawn() -> None:
    """An answer for the audit stratum of the queue is known as a random draw, one for another stratum is not."""
    for stratum, expected in (("audit", True), ("rare", False)):
        task = QueueTask(frame=frame("a").frame, stratum=stratum, score=0.5, reason="", artifact_id="x")  # type: ignore[arg-type]
        settled = settle(Reply(task, answer=Answer(frame_id="a", labeler="ann")), classes=1)
        assert settled is not None
        assert is_drawn(settled[0].split, settled[0].source) is expected


def test_draws_are_not_bound_by_the_rule() -> None:
    """Production comes from the cameras that are trained on: a draw of one judges all the same."""
    rule = GroupRule.parse("camera")
    placed = sides([drawn("a"), frame("b")], known(frame("old"), "train"), rule=rule)
    assert placed == {"a": "audit", "b": "train"}
    later = sides(
        [frame("c")], known(frame("old"), "train"), replace(known(drawn("a"), "audit"), drawn=True), rule=rule
    )
    assert later == {"c": "train"}


def test_a_clip_that_grows_keeps_its_side() -> None:
    """Frames within the gap of a settled one follow it, one after the other; later ones are a clip of their own."""
    rule = GroupRule.parse("clip:10")
    old = known(frame("old", seconds=0), "val", "its clip")
    found = place([frame("a", seconds=9), frame("b", seconds=18), frame("c", seconds=99)], [old], rule).placed
    assert {found["a"].group, found["b"].group, found["c"].group} == {"its clip", "c"}
    assert (found["a"].side, found["b"].side) == ("val", "val")


def test_a_rule_outranks_the_folders_of_a_source() -> None:
    """With --split-by camera the frames of a camera are on one side whatever folders they came in."""
    frames = [frame("a", camera="line1", split="train"), frame("b", camera="line1", split="val")]
    assert len(set(sides(frames, rule=GroupRule.parse("camera")).values())) == 1


def test_most_ask_wins() -> None:
    """Frames that belong together and ask for two sides go where most ask to, of equally many to the val side."""
    pair = [frame("a", look=0, split="train"), frame("b", look=1, split="val")]
    assert set(sides(pair).values()) == {"val"}
    assert set(sides([*pair, frame("c", look=3, split="train")]).values()) == {"train"}


def test_one_fixed_camera_by_the_thousand() -> None:
    """Thousands of nearly equal new frames follow thousands of settled ones, without every pair being held."""
    settled = [known(frame(f"old{n}", look=n % 61), "val", "home") for n in range(4000)]
    found = place([frame(f"new{n}", look=n % 64) for n in range(2000)], settled)
    assert {(one.side, one.group) for one in found.placed.values()} == {("val", "home")}
    assert len(found.placed) == 2000


def test_rules_that_cannot_be_kept() -> None:
    """A rule that matches nothing, or whose groups are torn already, is refused; a draw for audit tears none."""
    with pytest.raises(BadInput, match="no path matches among 1 frames"):
        refuse_rule([frame("a")], (), GroupRule.parse("never"))
    with pytest.raises(BadInput, match="no file name says camera and time"):
        refuse_rule([frame("a", camera="unknown")], (), GroupRule.parse("clip"))
    train, val = known(frame("one"), "train"), known(frame("two"), "val")
    with pytest.raises(BadInput, match="'camera cam' on the train and the val side already"):
        refuse_rule([frame("a")], [train, val], GroupRule.parse("camera"))
    refuse_rule([frame("a")], [train, replace(val, side="audit", drawn=True)], GroupRule.parse("camera"))


def test_a_rare_class_reaches_both_sides_as_it_grows() -> None:
    """A class that comes one frame at a time has a val frame once it has three groups, and still nothing moved."""
    names = [name for name in map(str, range(40)) if side_of(name) == "train"][:4]
    settled = [known(frame("t"), "train"), known(frame("v"), "val")]
    for name in names:
        settled += place([frame(name, classes=(7,))], settled).placed.values()
    placed = {one.frame_id: one.side for one in settled if 7 in one.classes}
    assert [placed[name] for name in names] == ["train", "train", "val", "train"]
