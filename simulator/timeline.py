"""Which moment of this process's time was which of hall time; the hall's runs at any speed."""

from bisect import bisect_right

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
        if len(self._hall) < 2:
            raise ValueError("the hall's time has not been seen to run")
        after = min(max(1, bisect_right(self._hall, hall)), len(self._hall) - 1)
        begin, end = self._hall[after - 1], self._hall[after]
        share = (hall - begin) / (end - begin)
        return self._loop[after - 1] + share * (self._loop[after] - self._loop[after - 1])
