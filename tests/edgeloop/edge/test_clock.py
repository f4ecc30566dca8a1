"""A clock that somebody sets while frames come."""

from __future__ import annotations

from datetime import datetime, timezone

from hypothesis import given
from hypothesis import strategies as st

from edgeloop.edge.clock import Clock

SECOND = 10**9
START = 1_800_000_000 * SECOND


class HandClock:
    """Two clocks that a test moves: `wall` may be set, `steady` only runs."""

    def __init__(self) -> None:
        self.wall, self.steady = START, 0

    def run(self, nanoseconds: int) -> None:
        self.wall += nanoseconds
        self.steady += nanoseconds

    def clock(self) -> Clock:
        return Clock(lambda: self.wall, lambda: self.steady)


def seconds(moment: datetime) -> float:
    return moment.timestamp() - START / SECOND


def test_is_the_wall_clock() -> None:
    """While nobody touches the clock, times are the wall clock's, in UTC."""
    hands = HandClock()
    clock = hands.clock()
    for number in range(1, 5):
        hands.run(SECOND)
        moment = clock.now()
        assert seconds(moment) == number
        assert moment.tzinfo is timezone.utc
    assert clock.steps_back == 0


def test_a_small_step_back_is_made_up_for() -> None:
    """Set back by five seconds, times go on and meet the wall clock again within a minute; the step is counted."""
    hands = HandClock()
    clock = hands.clock()
    clock.now()
    hands.wall -= 5 * SECOND
    before, ahead = clock.now(), []
    for _ in range(60):
        hands.run(SECOND)
        moment = clock.now()
        assert moment > before
        before = moment
        ahead.append(moment.timestamp() - hands.wall / SECOND)
    assert ahead[0] > 4
    assert ahead[-1] == 0
    assert clock.steps_back == 1


def test_a_large_step_back_is_believed() -> None:
    """Set back by a day, the clock was wrong before: times follow at once, counted."""
    hands = HandClock()
    clock = hands.clock()
    clock.now()
    hands.wall -= 86400 * SECOND
    assert seconds(clock.now()) == -86400
    assert clock.steps_back == 1


@given(st.lists(st.tuples(st.integers(0, 2 * SECOND), st.integers(-5 * SECOND, 5 * SECOND)), max_size=12))
def test_times_of_frames_increase(moves: list[tuple[int, int]]) -> None:
    """However the clock is set by seconds, each frame is later than the one before, by the log's resolution."""
    hands = HandClock()
    clock = hands.clock()
    last = clock.now()
    for elapsed, step in moves:
        hands.run(elapsed)
        hands.wall += step
        moment = clock.now()
        assert (moment - last).total_seconds() >= 1e-6
        last = moment
