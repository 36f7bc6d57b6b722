"""Devices in memory that behave: what stations see of a keypad, a screen and a printer."""

import asyncio
from collections.abc import Mapping

from contract.names import DeviceStatus, VoidReason
from edge.drivers.roles import (
    LampPattern,
    PressCallback,
    Printed,
    PrintOutcome,
    ScreenLine,
    Slip,
)


class MemoryKeypad:
    """Keys that a test presses, lamps that a test looks at."""

    def __init__(self, name: str = "keypad") -> None:
        self.id = name
        self.history: list[tuple[str, LampPattern]] = []
        self._callback: PressCallback | None = None
        self._changed = asyncio.Event()
        self._pressed_at = 0.0

    async def run(self) -> None:
        await asyncio.Event().wait()

    def counters(self) -> Mapping[str, int]:
        return {}

    def on_press(self, callback: PressCallback) -> None:
        self._callback = callback

    def lamps(self) -> frozenset[str]:
        return frozenset({"accepted", "refused", "asking", "thanks", "ready", "no_paper"})

    def set_lamp(self, lamp: str, pattern: LampPattern) -> None:
        self.history.append((lamp, pattern))
        self._changed.set()

    def press(self, key: str, seconds_later: float = 1.0) -> None:
        """``seconds_later``: than the press before."""
        assert self._callback is not None, "nobody listens to this keypad"
        self._pressed_at += seconds_later
        self._callback(key, self._pressed_at)

    async def answer(self) -> str:
        """The lamp that answers the next press: ``accepted`` or ``refused``."""
        seen = len(self.history)
        async with asyncio.timeout(5):
            while True:
                for lamp, pattern in self.history[seen:]:
                    if pattern is LampPattern.FLASH and lamp in {"accepted", "refused"}:
                        return lamp
                self._changed.clear()
                await self._changed.wait()

    async def press_and_see(self, key: str, seconds_later: float = 1.0) -> str:
        answer = asyncio.ensure_future(self.answer())
        await asyncio.sleep(0)
        self.press(key, seconds_later)
        return await answer

    def lamp(self, name: str) -> LampPattern:
        """What a lamp was set to last, flashes aside."""
        for lamp, pattern in reversed(self.history):
            if lamp == name and pattern is not LampPattern.FLASH:
                return pattern
        return LampPattern.OFF


class MemoryScreen:
    def __init__(self, name: str = "screen") -> None:
        self.id = name
        self.shown: list[ScreenLine] = []

    async def run(self) -> None:
        await asyncio.Event().wait()

    def counters(self) -> Mapping[str, int]:
        return {}

    def show(self, line: ScreenLine) -> None:
        self.shown.append(line)

    @property
    def text(self) -> str:
        return self.shown[-1].text if self.shown else ""


class MemoryPrinter:
    """Prints at once while there is paper; without, jobs wait for paper or for their end."""

    def __init__(self, name: str = "printer") -> None:
        self.id = name
        self.status = DeviceStatus.ONLINE
        self.paper: list[Slip] = []
        self._has_paper = asyncio.Event()
        self._has_paper.set()
        self._expired = asyncio.Event()
        self.scrap_expected = False
        self.asked_for_seconds: list[float] = []
        """The time to live of each job."""

    async def run(self) -> None:
        await asyncio.Event().wait()

    def counters(self) -> Mapping[str, int]:
        return {}

    def available(self) -> DeviceStatus:
        return self.status

    def expect_scrap(self) -> None:
        self.scrap_expected = True

    async def print_slip(self, slip: Slip, time_to_live_seconds: float) -> PrintOutcome:
        self.asked_for_seconds.append(time_to_live_seconds)
        waits = [asyncio.ensure_future(event.wait()) for event in (self._has_paper, self._expired)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        if not self._has_paper.is_set():
            return PrintOutcome(Printed.FAILED, VoidReason.PAPER_OUT)
        self.paper.append(slip)
        return PrintOutcome(Printed.PRINTED)

    def paper_out(self) -> None:
        self._has_paper.clear()

    def refill(self) -> None:
        self._has_paper.set()

    def time_is_over(self) -> None:
        self._expired.set()
