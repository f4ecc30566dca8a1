"""Which production frames are looked at: a random draw of the newest, the same for a whole round."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeloop.card import ProductionCard
from edgeloop.errors import BadInput
from edgeloop.frame_intake import register
from edgeloop.production_frames import ProductionFrames, draw_production, freeze_production
from edgeloop.store import FrameStore, frame_key
from tests.logs import START, logged_frame, table_of, write_log

PICTURE = cv2.imencode(".jpg", np.full((8, 8, 3), 90, np.uint8))[1].tobytes()
CARD = ProductionCard(frames=100, days=2)


def numbered(count: int, first: int = 0) -> list[str]:
    return [f"{number:02x}{number:014x}" for number in range(first, first + count)]


def logged(store: Path, ids: list[str], day: int = 0, kept: str | None = None, *, there: bool = True) -> None:
    """Rows of a day, a second apart, with their images in the store."""
    begin = START + timedelta(days=day)
    rows = [
        logged_frame(one, begin + timedelta(seconds=second), [], frame_key(one)) | {"kept": kept}
        for second, one in enumerate(ids)
    ]
    for file in write_log(table_of(rows), store / "log").rglob("080000.parquet"):
        file.rename(file.with_name(f"{ids[0]}.parquet"))
    for one in ids if there else ():
        FrameStore(str(store)).put(one, ".jpg", PICTURE)


def test_a_draw_is_random_and_repeats(tmp_path: Path) -> None:
    """So many of those there are, spread over all of them; another seed draws others."""
    ids = numbered(240)
    logged(tmp_path, ids)
    drawn = draw_production(str(tmp_path), CARD, 0)
    assert drawn == draw_production(str(tmp_path), CARD, 0)
    assert (len(drawn.frames), len(set(drawn.frames)), drawn.enough) == (100, 100, True)
    assert 25 < sum(one in ids[:120] for one in drawn.frames) < 75
    other = set(draw_production(str(tmp_path), CARD, 1).frames)
    assert 20 < len(other & set(drawn.frames)) < 70
    assert "100 frames drawn at random of the 2 days before 2026-03-01 08:03 UTC" in drawn.told


def test_only_the_newest_days_count(tmp_path: Path) -> None:
    """Days are counted back from the newest frame, not from today."""
    logged(tmp_path, numbered(100))
    logged(tmp_path, numbered(120, 100), day=5)
    assert set(draw_production(str(tmp_path), CARD, 0).frames) <= set(numbered(120, 100))
    whole = draw_production(str(tmp_path), ProductionCard(frames=500, days=30), 0)
    assert sorted(whole.frames) == sorted(numbered(220))


def test_what_was_kept_for_its_content_is_no_random_draw(tmp_path: Path) -> None:
    """Frames that a device kept because it was unsure, or a person flagged, would make the rare look frequent.

    Each Nth frame is a fair draw alone; beside uncertain ones it is what was not uncertain.
    """
    logged(tmp_path, numbered(110), kept="audit")
    logged(tmp_path, numbered(30, 110), kept="every")
    logged(tmp_path, numbered(20, 140), kept="flagged")
    card = ProductionCard(frames=500)
    assert sorted(draw_production(str(tmp_path), card, 0).frames) == sorted(numbered(140))
    logged(tmp_path, numbered(20, 160), kept="uncertain")
    assert sorted(draw_production(str(tmp_path), card, 0).frames) == sorted(numbered(110))


def test_frames_without_a_readable_image_are_passed_over(tmp_path: Path) -> None:
    """A log names images that are still on the device, and one that is none."""
    logged(tmp_path, numbered(110))
    logged(tmp_path, numbered(30, 110), there=False)
    broken = tmp_path / frame_key(numbered(1)[0])
    broken.write_bytes(b"no image")
    assert set(draw_production(str(tmp_path), ProductionCard(frames=500), 0).frames) == set(numbered(109, 1))


def test_registered_frames_are_production_too(tmp_path: Path) -> None:
    """What was ingested as images or video is in the catalogue, and in no log."""
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(102):
        pixels = np.random.default_rng(number).integers(0, 255, (16, 16, 3)).astype(np.uint8)
        cv2.imwrite(str(folder / f"cam1_20260301T08{number // 60:02}{number % 60:02}.000Z.png"), pixels)
    register(folder, str(tmp_path / "store"))
    drawn = draw_production(str(tmp_path / "store"), CARD, 0)
    assert len(drawn.frames) == 100
    assert drawn.until == datetime(2026, 3, 1, 8, 1, 41, tzinfo=timezone.utc)


@pytest.mark.parametrize("frames", [0, 99])
def test_too_few_are_told_and_not_kept(tmp_path: Path, frames: int) -> None:
    """Nothing fails; a later round looks again."""
    if frames:
        logged(tmp_path, numbered(frames))
    drawn = freeze_production(tmp_path / "drawn.json", str(tmp_path), CARD, 0)
    assert not drawn.enough
    assert f"warning: no prevalence of production: the store has {frames} frames" in drawn.told
    assert not (tmp_path / "drawn.json").exists()


def test_a_frozen_draw_stays(tmp_path: Path) -> None:
    """A run that goes on has the frames it began with, whatever production has shown since, while they are there."""
    logged(tmp_path, numbered(120))
    path = tmp_path / "drawn.json"
    first = freeze_production(path, str(tmp_path), CARD, 0)
    logged(tmp_path, numbered(120, 120), day=5)
    assert freeze_production(path, str(tmp_path), CARD, 0) == first
    assert ProductionFrames.load(path) == first
    (tmp_path / frame_key(first.frames[0])).unlink()
    assert set(freeze_production(path, str(tmp_path), CARD, 0).frames) <= set(numbered(120, 120))


def test_another_file_in_its_place_is_refused(tmp_path: Path) -> None:
    """One sentence, nothing overwritten."""
    (tmp_path / "drawn.json").write_text("{}")
    with pytest.raises(BadInput, match="store: field required"):
        freeze_production(tmp_path / "drawn.json", str(tmp_path), CARD, 0)
