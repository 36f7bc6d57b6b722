"""Which moment of this process's time was which of hall time; the hall's runs at any speed."""

from bisect import bisect_right
from collections.abc import Sequence

STRAIGHT_SECONDS = 0.02
"""Hall time that is so near to where it was expected runs on at its speed."""


class Timeline:
    """Notes of both times; between two of them, hall time is taken to have run evenly."""

    def __init__(self) -> None:
        self._hall: list[float] = []
        self._loop: list[float] = []

    def note(self, hall: float, loop: float) -> None:
        """Both times at one moment, later than the last. Only bends are kept."""
        if self._hall and (hall <= self._hall[-1] or loop <= self._loop[-1]):
            return
        straight = len(self._hall) > 1 and abs(self.loop_time(hall) - loop) < STRAIGHT_SECONDS
        if straight:
            self._hall[-1], self._loop[-1] = hall, loop
        else:
            self._hall.append(hall)
            self._loop.append(loop)

    def loop_time(self, hall: float) -> float:
        """The event loop's time at this moment of hall time. Raises ``ValueError`` before the
        second note."""
        return _along(self._hall, self._loop, hall)

    def hall_time(self, loop: float) -> float:
        """The hall's time at this moment of the event loop's. Raises as ``loop_time``."""
        return _along(self._loop, self._hall, loop)


def _along(times: Sequence[float], others: Sequence[float], time: float) -> float:
    if len(times) < 2:
        raise ValueError("the hall's time has not been seen to run")
    after = min(max(1, bisect_right(times, time)), len(times) - 1)
    share = (time - times[after - 1]) / (times[after] - times[after - 1])
    return others[after - 1] + share * (others[after] - others[after - 1])
