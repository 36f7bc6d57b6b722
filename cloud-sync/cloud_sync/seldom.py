"""What somebody can cause without end does not fill the log."""

import logging
from collections import Counter

log = logging.getLogger(__name__)

MAX_SENDERS = 10_000
"""Of nonsense, that are remembered so that the log does not repeat it."""


class Seldom:
    """What one sender can cause without end, said at its 1st, 2nd, 4th, 8th … time."""

    def __init__(self) -> None:
        self._times: Counter[tuple[int, str]] = Counter()

    def say(self, level: int, sender: str, what: str) -> None:
        """``sender``: a hall or its topic. Each is counted on its own at each level."""
        if len(self._times) >= MAX_SENDERS:  # names that somebody makes up
            self._times.clear()
        self._times[level, sender] += 1
        times = self._times[level, sender]
        if times & (times - 1) == 0:
            log.log(level, "%s: %s%s", sender, what, f" ({times} so far)" if times > 1 else "")
