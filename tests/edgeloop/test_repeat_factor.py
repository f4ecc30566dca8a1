"""Repeat-factor sampling as LVIS defines it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeloop.repeat_factor import class_factors, frame_factors, repeats

COMMON, RARE = frozenset({0}), frozenset({0, 1})
frames = st.lists(st.frozensets(st.integers(0, 4), max_size=3), min_size=1, max_size=60)


def test_the_papers_formula() -> None:
    """A class on a share f of the frames has sqrt(t / f), never less than 1; a frame has the rarest of its classes'."""
    shown = [COMMON] * 97 + [RARE] * 1 + [frozenset()] * 2
    assert class_factors(shown, 0.25) == {0: 1.0, 1: pytest.approx(math.sqrt(0.25 / 0.01))}
    assert frame_factors(shown, 0.25) == [1.0] * 97 + [pytest.approx(5.0)] + [1.0] * 2


@given(frames, st.floats(0.001, 1), st.integers(0, 3))
def test_rounded_up_or_down(shown: list[frozenset[int]], threshold: float, seed: int) -> None:
    """Every frame is shown at least once, and as often as its factor rounded to one of its two neighbours."""
    names = [str(number) for number in range(len(shown))]
    found = repeats(names, shown, threshold, seed)
    for count, factor in zip(found, frame_factors(shown, threshold), strict=True):
        assert count in {math.floor(factor), math.ceil(factor)}
        assert count >= 1
    turned = repeats(names[::-1], shown[::-1], threshold, seed)
    assert turned[::-1] == found


def test_on_average_the_factor_is_met() -> None:
    """Fractions are rounded up as often as they say, by other frames for another seed."""
    shown = [RARE] * 1000 + [frozenset()] * 1000
    names = [str(number) for number in range(2000)]
    one, other = repeats(names, shown, 0.98, 0), repeats(names, shown, 0.98, 1)
    assert sum(one[:1000]) / 1000 == pytest.approx(1.4, abs=0.06)
    assert set(one[1000:]) == {1}
    assert one != other
