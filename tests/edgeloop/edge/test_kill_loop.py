"""Kill -9, for real."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.kill_loop import kill_loop


@pytest.mark.integration
def test_ten_kills_lose_and_repeat_nothing(tmp_path: Path) -> None:
    """What was flushed before a kill is in the store once, images are whole, and the device is empty in the end."""
    report = kill_loop(tmp_path, kills=10, seed=1)
    assert report.flushed > 100
    assert report.images > 0
    assert report.is_clean, report
