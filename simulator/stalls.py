"""Whether this machine has processor enough: for who wonders why a press was not answered."""

import asyncio

LOOK_SECONDS = 0.01
STALL_SECONDS = 0.04
"""A tap lasts 80 ms and has to be seen, asked for and answered in it."""


class Stalls:
    """The times when the virtual devices stood still because something else had the processor."""

    def __init__(self) -> None:
        self.count = 0
        self.longest_seconds = 0.0

    async def watch(self) -> None:
        """Count until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LOOK_SECONDS
            await asyncio.sleep(LOOK_SECONDS)
            self.add(loop.time() - due)

    def add(self, late_seconds: float) -> None:
        if late_seconds >= STALL_SECONDS:
            self.count += 1
            self.longest_seconds = max(self.longest_seconds, late_seconds)

    def __str__(self) -> str:
        return (
            f"this machine is too busy: the virtual devices stood still {self.count} times, for up "
            f"to {self.longest_seconds * 1000:.0f} ms; a tap lasts 80 ms, so presses may have been "
            "lost for this alone. End other programs, or choose a lower --speed"
        )
