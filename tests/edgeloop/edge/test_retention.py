"""Which images are kept, why, and that a flag seconds later still finds them."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.records import record
from edgeloop.boxes import Detections
from edgeloop.edge import retention
from edgeloop.edge.log_schema import InferenceRecord
from edgeloop.edge.retention import Choice, ImageKeeper, Retention, in_audit
from edgeloop.edge.spool import Spool
from edgeloop.store import FRAMES, frame_key
from tests.edgeloop.edge.test_segments import no_file_over, wait_for

BUDGET = 10**9
NOTHING = Retention(every=None, uncertain=False, audit=0, recent=0)
TEXTURE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)


def frame(number: int, scores: tuple[float, ...] = (), camera: str = "cam1") -> InferenceRecord:
    """A frame with boxes of class 0, whose threshold is 0.25."""
    plain = record(number, TEXTURE)
    found = Detections(
        np.zeros((len(scores), 4), np.float32), np.array(scores, np.float32), np.zeros(len(scores), np.int64)
    )
    return replace(plain, camera=camera, inference=replace(plain.inference, detections=found))


def policy(**changes: object) -> Retention:
    return NOTHING.model_copy(update=changes)


def keys(device: Path) -> set[str]:
    return {entry.key for entry in Spool(device / "spool").entries()}


def test_every_nth_of_each_camera() -> None:
    """A busy camera does not take a quiet one's turns."""
    choice = Choice(policy(every=3))
    busy = [choice.because(frame(number)) for number in range(7)]
    quiet = [choice.because(frame(number, camera="cam2")) for number in range(4)]
    assert busy == ["every", None, None, "every", None, None, "every"]
    assert quiet == ["every", None, None, "every"]


@pytest.mark.parametrize(
    ("scores", "expected"),
    [((), None), ((0.9, 0.1), None), ((0.9, 0.3), "uncertain"), ((0.2,), "uncertain"), ((0.36,), None)],
)
def test_uncertain_is_near_the_threshold(scores: tuple[float, ...], expected: str | None) -> None:
    """One box within the margin of its class's threshold, above or below, is enough."""
    assert Choice(policy(uncertain=True)).because(frame(0, scores)) == expected


def test_uncertain_neighbours_are_left_out() -> None:
    """A stream that stays uncertain keeps one frame of a camera in so many seconds, not all."""
    choice = Choice(policy(uncertain=True, uncertain_seconds=3600))
    found = [choice.because(frame(n, (0.25,), camera)) for camera in ("cam1", "cam2") for n in range(5)]
    assert found == ["uncertain", None, None, None, None] * 2


def test_audit_is_a_random_share_that_all_agree_on() -> None:
    """About that share of the frames, the same ones every time, whatever else would keep them."""
    ids = [f"{number:016x}" for number in range(20_000)]
    chosen = {one for one in ids if in_audit(one, 0.01)}
    assert 140 < len(chosen) < 260  # 200 expected, standard deviation 14
    assert chosen == {one for one in ids if in_audit(one, 0.01)}
    assert chosen < {one for one in ids if in_audit(one, 0.05)}
    choice = Choice(Retention(keep_all=True, audit=0.01))
    plain = frame(0)
    assert {one for one in ids if choice.because(replace(plain, frame_id=one)) == "audit"} == chosen
    assert not any(in_audit(one, 0) for one in ids)


def test_kept_images_are_where_the_record_says(tmp_path: Path) -> None:
    """The record names key and reason; the file is that image; frames that are not kept have neither."""
    keeper = ImageKeeper(tmp_path, policy(every=2), BUDGET)
    image = cv2.GaussianBlur(TEXTURE, (0, 0), 4)
    records = [keeper.offer(frame(number), image) for number in range(4)]
    keeper.close()
    assert [one.kept for one in records] == ["every", None, "every", None]
    assert (
        {one.image for one in records if one.image}
        == keys(tmp_path)
        == {frame_key(records[n].frame_id) for n in (0, 2)}
    )
    shown = cv2.imread(str(tmp_path / "spool" / str(records[0].image)))
    assert np.abs(shown.astype(int) - image).mean() < 3
    assert (keeper.written, keeper.dropped, keeper.error) == (2, 0, None)


def test_a_flag_saves_a_recent_image(tmp_path: Path) -> None:
    """An image that no rule kept is saved, protected and said again to the log; an older one is gone."""
    amended: list[InferenceRecord] = []
    keeper = ImageKeeper(tmp_path, policy(recent=3), BUDGET, amended.append)
    records = []
    for number in range(6):
        records.append(keeper.offer(frame(number), TEXTURE))
        wait_for(lambda: not keeper._coming)
        keeper._rest_until = 0
    assert [one.image for one in records] == [None] * 6
    assert keeper.flag(records[4].frame_id)
    assert not keeper.flag(records[0].frame_id)
    assert not keeper.flag("unknown")
    assert keys(tmp_path) == {frame_key(records[4].frame_id)}
    assert amended == [replace(records[4], image=frame_key(records[4].frame_id), kept="flagged")]
    assert keeper.flag(records[4].frame_id)
    assert len(amended) == 1
    keeper.close()


def test_a_flag_protects_a_kept_image(tmp_path: Path) -> None:
    """In the spool or not encoded yet: when the budget is short, the flagged image stays and its neighbours go."""
    keeper = ImageKeeper(tmp_path, policy(keep_all=True), BUDGET)
    records = [keeper.offer(frame(number), TEXTURE) for number in range(5)]
    assert keeper.flag(records[4].frame_id)
    keeper.close()
    assert keeper.flag(records[0].frame_id)
    spool = Spool(tmp_path / "spool")
    size = spool.totals().bytes // 5
    spool.trim(4 * size)
    assert {frame_key(records[n].frame_id) for n in (0, 4)} < keys(tmp_path)
    assert spool.evicted.images == 5 - len(keys(tmp_path))


@pytest.mark.parametrize("recent", [0, 5])
def test_a_flag_knows_an_image_that_was_uploaded(tmp_path: Path, recent: int) -> None:
    """What the uploader took away is in the store, not gone; it is not kept a second time."""
    amended: list[InferenceRecord] = []
    keeper = ImageKeeper(tmp_path, policy(keep_all=True, recent=recent), BUDGET, amended.append)
    one = keeper.offer(frame(0), TEXTURE)
    keeper.close()
    Spool(tmp_path / "spool").remove(str(one.image))
    assert keeper.flag(one.frame_id)
    assert not keys(tmp_path)
    assert not amended


def test_images_stay_within_their_budget(tmp_path: Path) -> None:
    """The oldest ordinary images go, counted; audit images stay; a flag on one that went is told so."""
    size = len(retention.encode(TEXTURE))
    keeper = ImageKeeper(tmp_path, policy(keep_all=True, audit=0.1), 10 * size)
    records = []
    for number in range(60):
        wait_for(lambda: keeper._queue.qsize() < 4)
        records.append(keeper.offer(frame(number), TEXTURE))
    keeper.close()
    held = keys(tmp_path)
    assert keeper.dropped == 0
    assert Spool(tmp_path / "spool").totals((FRAMES,)).bytes <= 10 * size
    assert keeper.spool.evicted.images == 60 - len(held)
    audits = {str(one.image) for one in records if one.kept == "audit"}
    assert audits
    assert audits <= held
    assert not keeper.flag(next(one.frame_id for one in records if one.kept == "all"))


def test_a_slow_encoder_drops_and_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop never waits: what the queue does not take is not kept, and its record does not say that it was."""
    go, encode = threading.Event(), retention.encode
    monkeypatch.setattr(retention, "encode", lambda image: (go.wait(20), encode(image))[1])
    keeper = ImageKeeper(tmp_path, policy(keep_all=True), BUDGET)
    records = [keeper.offer(frame(number), TEXTURE) for number in range(30)]
    go.set()
    keeper.close()
    kept = [one for one in records if one.kept]
    assert retention.QUEUED_IMAGES <= len(kept) <= retention.QUEUED_IMAGES + 1
    assert keeper.dropped == 30 - len(kept)
    assert {str(one.image) for one in kept} == keys(tmp_path)
    assert all(one.image is None for one in records if not one.kept)


def test_full_disk_is_counted(tmp_path: Path) -> None:
    """An image that the disk refuses is dropped and said; the next one works again."""
    keeper = ImageKeeper(tmp_path, policy(keep_all=True), BUDGET)
    with no_file_over(100):
        keeper.offer(frame(0), TEXTURE)
        wait_for(lambda: keeper.dropped == 1)
        assert "cannot be written" in str(keeper.error)
    keeper.offer(frame(1), TEXTURE)
    keeper.close()
    assert (keeper.written, keeper.dropped, keeper.error) == (1, 1, None)


def test_an_image_that_is_none_ends_nothing(tmp_path: Path) -> None:
    """The thread says what it cannot encode and goes on."""
    keeper = ImageKeeper(tmp_path, policy(keep_all=True), BUDGET)
    keeper.offer(frame(0), np.zeros((4, 4, 7), np.uint8))
    keeper.offer(frame(1), TEXTURE)
    keeper.close()
    assert (keeper.written, keeper.dropped) == (1, 1)
