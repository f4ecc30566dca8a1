"""Percentiles in constant memory, and what a scraper sees."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeloop.edge.meter import Histogram, Meter
from edgeloop.edge.metrics import SERIES, exposition
from tests.edgeloop.edge.agents import a_status


@given(st.lists(st.floats(0.01, 5000), min_size=1, max_size=300), st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_percentiles_are_right_to_one_percent(times: list[float], share: float) -> None:
    """Never below the sample that the share asks for, at most one percent above it."""
    histogram = Histogram()
    for milliseconds in times:
        histogram.add(milliseconds)
    exact = np.percentile(times, 100 * share, method="inverted_cdf")
    found = histogram.percentile(share)
    assert found is not None
    assert exact * 0.999999 <= found <= exact * 1.0101


def test_memory_does_not_grow() -> None:
    """A hundred thousand different times fill a few hundred bins."""
    histogram = Histogram()
    for milliseconds in np.random.default_rng(0).uniform(1, 100, 100_000):
        histogram.add(float(milliseconds))
    assert len(histogram._bins) < 500
    assert histogram.count == 100_000


def test_without_frames_there_is_no_percentile() -> None:
    """An agent whose camera has not delivered yet has no times, and no rate."""
    meter = Meter()
    assert meter.loop.percentile(0.5) is None
    assert meter.rate() == 0


def test_exposition_is_what_prometheus_reads() -> None:
    """Every series has help, type and a number; buckets are cumulative; labels are escaped."""
    histogram = Histogram()
    for milliseconds in (0.5, 4, 4, 900, 5000):
        histogram.add(milliseconds)
    text = exposition(a_status(source='a "b"\\c'), histogram)
    samples = dict(re.findall(r"^(edgeloop_\S+(?:\{.*\})?) (\S+)$", text, re.MULTILINE))
    assert r'source="a \"b\"\\c"' in next(name for name in samples if name.startswith("edgeloop_info"))
    buckets = [int(value) for name, value in samples.items() if "_bucket" in name]
    assert buckets == sorted(buckets)
    assert (buckets[0], buckets[-1]) == (1, 5)
    assert samples["edgeloop_frame_seconds_count"] == "5"
    assert float(samples["edgeloop_frame_seconds_sum"]) == pytest.approx(5.9085)
    for field, (kind, _) in SERIES.items():
        assert f"edgeloop_{field}{'_total' if kind == 'counter' else ''}" in samples
    assert all(line.startswith(("#", "edgeloop_")) for line in text.splitlines())


def test_live_line_says_what_people_look_for() -> None:
    """Frames per second, p99, dropped, queue, disk, the model; and what is wrong, only while it is."""
    line = a_status(fps=29.96, dropped=3, spool_files=2, spool_bytes=5_000_000, disk_free_bytes=7 * 10**9).line()
    for part in (
        "30.0 FPS",
        "p99 9.0 ms",
        "dropped 3",
        "queue 2 files 5.0 MB",
        "disk 7.0 GB free",
        "model aaaaaaaaaaaa",
    ):
        assert part in line
    assert a_status(problems=("the store is away",)).line() == a_status().line() + " | the store is away"
    assert "p99 - ms" in a_status(loop_p99_ms=None).line()
