"""A wall clock for live frames that does not run backwards when somebody sets the device's clock back a little."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

Nanoseconds = Callable[[], int]

SLEW_LIMIT = 60 * 10**9  # a step back of up to a minute is made up for; a longer one is believed
SLEW_SHARE = 10  # while it is made up for, time runs a tenth slower: a minute takes ten
TICK = 1000  # two frames are at least a microsecond apart: the log's resolution
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class Clock:
    """Times of one camera's frames.

    Attributes:
        steps_back: how often the device's clock was set back by more than a tenth of a second.
    """

    def __init__(self, wall: Nanoseconds = time.time_ns, steady: Nanoseconds = time.monotonic_ns) -> None:
        self._wall, self._steady = wall, steady
        self._last_wall, self._last_steady = wall(), steady()
        self._time = self._last_wall
        self.steps_back = 0

    def now(self) -> datetime:
        """The time, UTC; later than that of the last call, unless the clock was set back by more than a minute."""
        wall, steady = self._wall(), self._steady()
        elapsed = steady - self._last_steady
        if wall - self._last_wall < elapsed - 10**8:
            self.steps_back += 1
        self._last_wall, self._last_steady = wall, steady
        earliest = self._time + max(TICK, elapsed - elapsed // SLEW_SHARE)
        self._time = wall if wall >= earliest or earliest - wall > SLEW_LIMIT else earliest
        return EPOCH + timedelta(microseconds=self._time // 1000)
