"""The Pareto front: what is on it, and what a plot makes of it."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgeloop.measures import Interval
from edgeloop.pareto import not_dominated
from edgeloop.reports.tradeoff import HEIGHT, WIDTH, Point, draw

COSTS = arrays.arrays(
    np.float64, st.tuples(st.integers(1, 14), st.integers(1, 3)), elements=st.integers(0, 6).map(float)
)


def beats(one: np.ndarray, other: np.ndarray) -> bool:
    return bool((one <= other).all() and (one < other).any())


@given(COSTS)
def test_the_front_is_what_nothing_beats(costs: np.ndarray) -> None:
    """A point is kept exactly when no point beats it, and every point left out is beaten by one on the front."""
    kept = not_dominated(costs)
    assert kept.any()
    for index, point in enumerate(costs):
        assert kept[index] == (not any(beats(other, point) for other in costs))
        assert kept[index] or any(beats(other, point) for other in costs[kept])


@given(COSTS, st.randoms())
def test_order_and_scale_change_nothing(costs: np.ndarray, random: Random) -> None:
    """The front is of the points: neither their order nor the unit of a column matters."""
    order = list(range(len(costs)))
    random.shuffle(order)
    assert (not_dominated(costs)[order] == not_dominated(costs[order])).all()
    assert (not_dominated(costs) == not_dominated(costs * 1000.0 + 1)).all()


def test_equal_points_stay_together() -> None:
    """Neither of two equal points beats the other."""
    assert not_dominated([[1.0, 1.0], [1.0, 1.0], [2.0, 1.0]]).tolist() == [True, True, False]


@pytest.mark.parametrize("costs", [[1.0, 2.0], [[1.0, float("nan")]]])
def test_what_is_no_cost_is_refused(costs: object) -> None:
    """A NaN would be beaten by nothing and beat nothing."""
    with pytest.raises(ValueError, match="finite"):
        not_dominated(costs)


def point(number: int, p50: float, value: float) -> Point:
    found = Interval(value=value, low=value - 0.02, high=value + 0.03, confidence=0.95)
    return Point(number, f"file {number}", "fp32", number == 1, p50, p50 * 1.5, found)


class TestPlot:
    POINTS = (point(1, 2.0, 0.5), point(2, 4.0, 0.6), point(3, 5.0, 0.55), point(4, 4.05, 0.601))

    def test_points_intervals_and_ticks_lie_inside(self) -> None:
        """Faster is further left, more accurate further up, and everything that is drawn is on the plot."""
        plot = draw("clean", self.POINTS, 10.0)
        first, second, *_ = plot.marks
        assert (first.x < second.x, first.y > second.y) == (True, True)
        for mark in plot.marks:
            assert 0 <= mark.x < mark.right <= WIDTH
            assert 0 <= mark.top < mark.y < mark.bottom <= HEIGHT
        assert min(len(plot.x_ticks), len(plot.y_ticks)) > 2
        assert all(0 <= place <= WIDTH for place, _ in plot.x_ticks)
        assert all(0 <= place <= HEIGHT for place, _ in plot.y_ticks)

    def test_front_goes_from_the_fastest_to_the_most_accurate(self) -> None:
        """Only points that nothing beats are on it, and it never falls."""
        plot = draw("clean", self.POINTS, 10.0)
        assert [mark.point.number for mark in plot.marks if mark.on_front] == [1, 2, 4]
        corners = [tuple(float(part) for part in corner.split(",")) for corner in plot.front.split()]
        assert corners == sorted(corners, key=lambda corner: (corner[0], -corner[1]))

    def test_budget_is_drawn_where_it_is_near(self) -> None:
        """At its place between what keeps it and what does not; one far away would squeeze the points."""
        plot = draw("clean", self.POINTS, 5.0)
        assert plot.budget is not None
        assert [mark.in_budget for mark in plot.marks] == [mark.right <= plot.budget for mark in plot.marks]
        assert [mark.in_budget for mark in plot.marks] == [True, False, False, False]
        assert draw("clean", self.POINTS, 100.0).budget is None

    def test_numbers_do_not_lie_on_each_other(self) -> None:
        """Two files that measure nearly the same can still be told apart."""
        labels = [mark.label for mark in draw("clean", self.POINTS, 10.0).marks]
        close = [
            (one, other)
            for index, one in enumerate(labels)
            for other in labels[index + 1 :]
            if abs(one[0] - other[0]) < 10 and abs(one[1] - other[1]) < 10
        ]
        assert not close

    def test_one_point_is_a_plot(self) -> None:
        """A single file has a front and axes."""
        plot = draw("clean", [point(1, 2.0, 1.0)], 33.3)
        assert (len(plot.front.split()), len(plot.marks)) == (1, 1)
