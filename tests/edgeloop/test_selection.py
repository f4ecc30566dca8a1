"""Selection: who gets the label budget, and the promises that training and the audit rely on."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeloop.config import SamplingSection
from edgeloop.errors import BadInput
from edgeloop.scoring import score_frames, uncertainty
from edgeloop.selection import Known, select
from tests.logs import START, logged_frame, synthetic_log, table_of

THRESHOLDS = (0.5, 0.5, 0.5, 0.5)
EVEN = (100, 100, 100, 100)
KNOWN = Known(training_boxes=EVEN)


def with_images(log: pa.Table) -> pa.Table:
    names = pa.array([f"{key}.jpg" for key in log.column("frame_id").to_pylist()])
    return log.set_column(log.column_names.index("image"), "image", names)


def box(score: float, class_id: int = 0, at: float = 10.0) -> dict[str, float]:
    return {"x1": at, "y1": 10.0, "x2": at + 30, "y2": 40.0, "score": score, "class_id": class_id}


def frames(*boxes: list[dict[str, float]], **changes: float) -> pa.Table:
    """Frames of one camera, ten seconds apart, of growing brightness so that none resembles another."""
    rows = [
        logged_frame(f"{index:016x}", START + timedelta(seconds=10 * index), found)
        | {"brightness": 100.0 + 20 * index, "sharpness": 300.0 + 50 * (index % 3), **changes}
        for index, found in enumerate(boxes)
    ]
    return table_of(rows)


def sampling(**changes: float) -> SamplingSection:
    none = {"audit_share": 0, "rare_share": 0, "missed_share": 0, "budget": 1}
    return SamplingSection(**{**none, **changes})


@pytest.mark.parametrize(("score", "limit", "expected"), [(0.5, 0.5, 1), (0, 0.5, 0), (1, 0.5, 0), (0.125, 0.25, 0.5)])
def test_uncertainty_peaks_at_the_threshold(score: float, limit: float, expected: float) -> None:
    """1 where the answer turns, 0 where the detector is sure either way."""
    assert uncertainty(np.array([score]), np.array([limit]))[0] == pytest.approx(expected)


def test_uncertain_stratum_takes_the_frame_whose_boxes_are_near_their_threshold() -> None:
    """The frame with two coin tosses goes before the one with one, and before sure and empty ones."""
    log = frames([box(0.95)], [box(0.5)], [box(0.5), box(0.5, at=200)], [])
    chosen = select(log, THRESHOLDS, sampling(budget=2), KNOWN)
    assert [frame.frame_id[-1] for frame in chosen] == ["2", "1"]
    assert chosen[0].score < chosen[1].score


def test_one_object_seen_twice_is_not_twice_as_uncertain() -> None:
    """Boxes of two classes on one object count once."""
    twice = score_frames(frames([box(0.5), box(0.5, class_id=1, at=11)]), THRESHOLDS, EVEN)
    once = score_frames(frames([box(0.5)]), THRESHOLDS, EVEN)
    assert twice.uncertainty[0] == once.uncertainty[0]


def test_rare_stratum_looks_for_the_class_with_few_training_boxes() -> None:
    """A likely box of a rare class wins over a common one, and noise far below the threshold counts nothing."""
    log = frames([box(0.9, 0)], [box(0.6, 3)], [box(0.1, 3)])
    chosen = select(log, THRESHOLDS, sampling(rare_share=1), Known(training_boxes=(300, 300, 300, 5)))
    assert [(frame.frame_id[-1], frame.stratum) for frame in chosen] == [("1", "rare")]


def test_even_classes_leave_the_rare_share_to_the_uncertain_stratum() -> None:
    """Without a rare class there is nothing to look for, and the budget is still spent."""
    chosen = select(frames([box(0.5)], [box(0.9)]), THRESHOLDS, sampling(rare_share=1, budget=2), KNOWN)
    assert [frame.stratum for frame in chosen] == ["uncertain", "uncertain"]


def test_missed_stratum_finds_boxes_just_below_and_odd_empty_frames() -> None:
    """A box just below its threshold is a likely miss unless a confident box covers it; so is an empty odd frame."""
    covered = [box(0.48), box(0.9, at=11)]
    scored = score_frames(frames(covered, [box(0.48)], [box(0.1)], [box(0.9)]), THRESHOLDS, EVEN)
    assert scored.missed.tolist() == [0, pytest.approx(0.96), 0, 0]
    dark = synthetic_log(60, 3, cameras=1).to_pylist()
    dark[7] |= {"brightness": 5.0, "boxes": []}
    dark[8] |= {"boxes": []}
    odd = score_frames(table_of(dark), THRESHOLDS, EVEN)
    assert odd.missed[7] > 0.5
    assert odd.missed[8] == 0


def test_flagged_frames_are_always_taken_first_in_the_queue() -> None:
    """An operator's flag is labelled whatever the detector thinks, with the lowest score."""
    log = frames([box(0.99)], [box(0.5)])
    chosen = select(log, THRESHOLDS, sampling(), Known(training_boxes=EVEN, flags=(("0" * 16, "false-positive"),)))
    assert [(frame.frame_id, frame.stratum, frame.score) for frame in chosen] == [("0" * 16, "flagged", 0.0)]


def test_audit_rate_is_unbiased() -> None:
    """Over many seeds the share of uncertain frames among those drawn is their true share."""
    log = with_images(synthetic_log(80, 4))
    uncertain = score_frames(log, THRESHOLDS, EVEN).uncertainty > 0.5
    true = uncertain.mean()
    index = {key: i for i, key in enumerate(log.column("frame_id").to_pylist())}
    drawn = [
        uncertain[index[frame.frame_id]]
        for seed in range(60)
        for frame in select(log, THRESHOLDS, sampling(audit_share=1, budget=20, seed=seed), KNOWN)
    ]
    assert abs(np.mean(drawn) - true) < 4 * np.sqrt(true * (1 - true) / len(drawn))


def test_audit_order_in_the_queue_says_nothing_about_the_frame() -> None:
    """Audit frames are queued by a random number, so that a queue left half done is still a fair draw."""
    log = with_images(synthetic_log(300, 5))
    chosen = select(log, THRESHOLDS, sampling(audit_share=1, budget=200), KNOWN)
    confidence = dict(
        zip(log.column("frame_id").to_pylist(), score_frames(log, THRESHOLDS, EVEN).uncertainty, strict=True)
    )
    order = [confidence[frame.frame_id] for frame in sorted(chosen, key=lambda frame: frame.score)]
    assert abs(np.corrcoef(order, np.arange(len(order)))[0, 1]) < 4 / np.sqrt(len(order))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), budget=st.integers(1, 90), gap=st.sampled_from([0.0, 1.0, 3.0]))
def test_promises_hold_for_any_log(seed: int, budget: int, gap: float) -> None:
    """No frame twice, none that was taken, at most the budget, equal choices for equal input, and the gap is kept."""
    log = with_images(synthetic_log(120, seed))
    ids = log.column("frame_id").to_pylist()
    known = Known(
        training_boxes=(50, 50, 50, 2), taken=tuple(ids[::7]), flags=((ids[1], "missed"), (ids[40], "missed"))
    )
    asked = SamplingSection(budget=budget, minimum_gap_seconds=gap, seed=seed)
    chosen = select(log, THRESHOLDS, asked, known)
    names = [frame.frame_id for frame in chosen]
    assert len(set(names)) == len(names) <= budget
    assert not set(names) & set(known.taken)
    assert chosen == select(log.take(np.random.default_rng(seed).permutation(len(log))), THRESHOLDS, asked, known)
    assert len(names) == budget or gap > 0
    _check_gap(log, chosen, gap)


def _check_gap(log: pa.Table, chosen: tuple, gap: float) -> None:
    rows = {row["frame_id"]: row for row in log.to_pylist()}
    for frame in chosen:
        if frame.stratum in {"audit", "flagged"}:
            continue
        mine = rows[frame.frame_id]
        for other in (rows[o.frame_id] for o in chosen if o.frame_id != frame.frame_id):
            if other["camera"] == mine["camera"]:
                assert abs((other["time"] - mine["time"]).total_seconds()) >= gap


def test_frames_without_a_stored_image_are_no_candidates() -> None:
    """Nobody can label what the device did not keep."""
    assert select(synthetic_log(30, 1), THRESHOLDS, sampling(budget=5), KNOWN) == ()


def test_near_duplicates_come_last() -> None:
    """Of ten equal frames one is labelled before a less uncertain different one."""
    rows = [
        logged_frame(f"{i:016x}", START + timedelta(seconds=10 * i), [box(0.5)])
        | {"brightness": 100.0 + (i % 2), "sharpness": 300.0 + (i % 2)}
        for i in range(10)
    ]
    rows.append(logged_frame("f" * 16, START + timedelta(hours=1), [box(0.7)]) | {"brightness": 160.0})
    chosen = select(table_of(rows), THRESHOLDS, sampling(budget=3), KNOWN)
    assert "f" * 16 in {frame.frame_id for frame in chosen}


def alike(*boxes: list[dict[str, float]], brightness: tuple[float, ...] = ()) -> pa.Table:
    """A frame every ten seconds, and around them enough of another camera's to say what is usual."""
    rows = [
        logged_frame(f"{index:016x}", START + timedelta(seconds=10 * index), found)
        | {"brightness": 100.0 + 10 * (index % 3) + (brightness[index] if brightness else 0.0)}
        for index, found in enumerate(boxes)
    ]
    return table_of(rows)


def chosen_of(log: pa.Table, hashes: dict[str, int], known: Known = KNOWN, budget: int = 2) -> set[str]:
    """The last digit of the frames that a budget of two buys."""
    chosen = select(log, THRESHOLDS, sampling(budget=budget), known, hashes.get)
    return {frame.frame_id[-1] for frame in chosen}


class TestHashes:
    """Frames 0, 1 and 2 in falling order of worth; which two are worth a label?"""

    MOST, MORE, LESS = [box(0.5)], [box(0.52)], [box(0.55)]
    SAME = {"0" * 16: 0b1111, f"{1:016x}": 0b0011, f"{2:016x}": 2**64 - 1}  # noqa: RUF012

    def test_a_near_hash_is_a_near_duplicate_whatever_the_light(self) -> None:
        """A brighter copy comes after a less uncertain frame; without hashes it does not."""
        log = alike(self.MOST, self.MORE, self.LESS)
        assert chosen_of(log, self.SAME) == {"0", "2"}
        assert chosen_of(log, {}) == {"0", "1"}

    def test_a_far_hash_is_none_though_the_statistics_agree(self) -> None:
        """Two pictures as bright, contrasty and sharp as each other may show different things."""
        log = alike(self.MOST, self.MORE, self.LESS, brightness=(0.0, -10.0, -20.0))
        far = {f"{index:016x}": 0xFFFF << 16 * index for index in range(3)}
        assert chosen_of(log, far) == {"0", "1"}
        different = [box(0.55), box(0.95, at=200)]
        assert chosen_of(alike(self.MOST, self.MORE, different, brightness=(0.0, -10.0, 0.0)), {}) == {"0", "2"}

    def test_objects_elsewhere_are_another_frame(self) -> None:
        """At a fixed camera the hash hardly sees who walks by; the boxes do."""
        assert chosen_of(alike(self.MOST, [box(0.52, at=100)], self.LESS), self.SAME) == {"0", "1"}
        assert chosen_of(alike(self.MOST, [box(0.52, at=12)], self.LESS), self.SAME) == {"0", "2"}

    def test_unusual_light_is_another_frame(self) -> None:
        """Dusk is worth a label though the hash does not see light."""
        dark = alike(*[self.MOST] * 6, brightness=(0, 0, 0, 0, 0, -90.0))
        hashes = {f"{index:016x}": 7 for index in range(6)}
        assert chosen_of(dark, hashes) == {"0", "5"}

    def test_near_duplicates_of_labelled_frames_come_last(self) -> None:
        """What an earlier round had labelled is not labelled again in another file."""
        known = Known(training_boxes=EVEN, taken=("0" * 16,))
        assert chosen_of(alike(self.MOST, self.MORE, self.LESS), self.SAME, known, budget=1) == {"2"}
        assert chosen_of(alike(self.MOST, self.MORE, self.LESS), self.SAME, known, budget=2) == {"1", "2"}

    def test_hashes_are_asked_once_and_only_of_frames_that_may_be_alike(self) -> None:
        """Reading a picture costs; frames with objects in places of their own are never looked at."""
        asked: list[str] = []

        def hash_of(frame_id: str) -> int | None:
            asked.append(frame_id[-1])
            return self.SAME[frame_id]

        log = alike(self.MOST, self.MORE, [box(0.55, at=200)])
        select(log, THRESHOLDS, sampling(budget=3), KNOWN, hash_of)
        assert sorted(asked) == ["0", "1"]


def test_class_without_threshold_is_bad_input() -> None:
    """A log of another artifact is refused in one sentence."""
    with pytest.raises(BadInput, match="class id 7"):
        select(frames([box(0.5, 7)]), THRESHOLDS, sampling(), KNOWN)
