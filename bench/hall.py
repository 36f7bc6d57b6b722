"""From a press to light and paper, in the real controller process with all its devices.

Times are taken at the devices, in the process that simulates them: from the level change of the
key to the last byte of the answer. The journal is on a real disk, and nothing is shown before it
is durable; broker, centre and uplink work beside it as in a hall.
"""

import asyncio
import re
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench.past import EVENTS_A_DAY, fill
from bench.stage import Stage, staged, start_seconds
from contract.names import Language
from edge import words
from simulator import layout
from simulator.devices import Paper
from simulator.devices.bx_screen import ScreenUpdate
from simulator.panels import Panel

TICKETS_PER_SECOND = 4.0
"""Far more than 40 windows serve; the line never runs dry, and nothing queues up behind the
printer."""
TAP_SECONDS = 0.15
AHEAD = 12
"""Tickets that wait before the first is called."""
ANSWER_WITHIN_SECONDS = 5.0
LOOK_SECONDS = 0.1
READ_INPUTS = 2
_NUMBER = re.compile(r"[A-Z]\d{3}")


@dataclass
class Latencies:
    """Seconds, of each press."""

    led: list[float] = field(default_factory=list)
    led_without_bus: list[float] = field(default_factory=list)
    """From the poll's answer in which the key was seen."""
    paper: list[float] = field(default_factory=list)
    unanswered: int = 0

    def enough(self, presses: int) -> bool:
        return min(len(self.led), len(self.paper)) >= presses


@dataclass(frozen=True)
class HallFigures:
    windows: int
    buses: int
    latencies: Latencies
    rss_bytes: int
    """Of the controller, after all that."""


async def measure(disk: Path, windows: int, presses: int, within_seconds: float) -> HallFigures:
    """At least so many presses of the caller's and of the dispenser's keys, or as many as there
    is time for. Raises ``ProgramFailed``."""
    async with staged(disk, windows) as stage:
        for program in (stage.broker, stage.centre, stage.daemon):
            await program.start()
        latencies = Latencies()
        tickets: asyncio.Queue[None] = asyncio.Queue()
        desks = [_Desk(stage, number, latencies) for number in stage.fittings.windows]
        async with asyncio.TaskGroup() as tasks:
            work = [tasks.create_task(_customers(stage, latencies, tickets))]
            work += [tasks.create_task(desk.work(tickets)) for desk in desks]
            end = asyncio.get_running_loop().time() + within_seconds
            while not latencies.enough(presses) and asyncio.get_running_loop().time() < end:
                await asyncio.sleep(LOOK_SECONDS)
            for task in work:
                task.cancel()
        return HallFigures(windows, len(stage.fittings.buses), latencies, stage.daemon.rss_bytes())


@dataclass(frozen=True)
class StartFigures:
    past_events: int
    seconds: float
    """Median, from before exec to READY=1."""


async def measure_start(disk: Path, past_events: int, starts: int) -> StartFigures:
    """Six windows, with about so many events in the journal. Raises ``ProgramFailed``."""
    async with staged(disk, windows=6) as stage:
        events = 0
        if past_events:
            days = -(-past_events // EVENTS_A_DAY)
            events = await asyncio.to_thread(
                fill, stage.places.journal, layout.HALL, days=days, acked=True
            )
        seconds = []
        for _ in range(starts):
            if not past_events:
                stage.remove_journal()
            seconds.append(await start_seconds(stage.daemon))
            await stage.daemon.stop()
        return StartFigures(events, statistics.median(seconds))


async def _customers(stage: Stage, latencies: Latencies, tickets: "asyncio.Queue[None]") -> None:
    """Press for a ticket, one after the other; each that is out may be called a little later."""
    loop = asyncio.get_running_loop()
    papers: asyncio.Queue[Paper] = asyncio.Queue()
    stage.fittings.printer.on_paper(papers.put_nowait)
    touched = _LastTouch(stage.fittings.dispenser)
    issued = 0
    while True:
        begun = loop.time()
        await stage.fittings.dispenser.press("payment", TAP_SECONDS)
        try:
            async with asyncio.timeout(ANSWER_WITHIN_SECONDS):
                paper = await papers.get()
        except TimeoutError:
            latencies.unanswered += 1
            continue
        latencies.paper.append(paper.finished_at - touched.at)
        issued += 1
        if issued > AHEAD:
            tickets.put_nowait(None)
        await asyncio.sleep(begun + 1 / TICKETS_PER_SECOND - loop.time())


class _LastTouch:
    """When the finger came down on a key of a panel: a hand pauses between two touches."""

    def __init__(self, panel: Panel) -> None:
        self.at = 0.0
        panel.on_press(self._touched)

    def _touched(self, panel: Panel, key: str, at: float) -> None:  # noqa: ARG002 - PressWatcher
        self.at = at


class _Desk:
    """A clerk at a window: calls whoever is next, starts, and calls again."""

    def __init__(self, stage: Stage, number: int, latencies: Latencies) -> None:
        window = stage.fittings.windows[number]
        self._latencies = latencies
        self._caller = stage.fittings.caller(number)
        self._touched = _LastTouch(self._caller)
        self._screen = stage.fittings.screens[number]
        self._unit = window.caller_unit
        self._call_bit = 1 << layout.CALLER_KEYS["call_next"]
        self._called = words.call("", number, Language.ZH).strip()
        self._serving = words.serving("", Language.ZH).strip()
        self._closed = words.closed(Language.ZH)
        self._polled_at: float | None = None
        """When the first answer to a poll had the pressed key in it."""
        self._shown: asyncio.Future[ScreenUpdate] | None = None
        self._screen.on_update(self._updated)
        stage.fittings.buses[window.bus].on_answer(self._answered)

    async def work(self, tickets: "asyncio.Queue[None]") -> None:
        while self._closed in self._screen.text or not self._screen.text:
            await self._tap("sign_on", lambda text: self._closed not in text and text != "")
        while True:
            await tickets.get()
            await self._call()
            await self._tap("start", lambda text: self._serving in text)

    async def _call(self) -> None:
        self._polled_at = None
        update = await self._tap(
            "call_next", lambda text: self._called in text and _NUMBER.search(text) is not None
        )
        if update is None or self._polled_at is None:
            self._latencies.unanswered += 1
            return
        self._latencies.led.append(update.received_at - self._touched.at)
        self._latencies.led_without_bus.append(update.received_at - self._polled_at)

    async def _tap(self, key: str, expected: Callable[[str], bool]) -> ScreenUpdate | None:
        """Press; the update of the screen that was waited for, ``None`` if it did not come."""
        self._expected = expected
        self._shown = asyncio.get_running_loop().create_future()
        await self._caller.press(key, TAP_SECONDS)
        try:
            async with asyncio.timeout(ANSWER_WITHIN_SECONDS):
                update = await self._shown
        except TimeoutError:
            return None
        finally:
            self._shown = None
        await asyncio.sleep(TAP_SECONDS)  # so that the bus sees the key released
        return update

    def _updated(self, update: ScreenUpdate) -> None:
        if self._shown is not None and not self._shown.done() and self._expected(update.text):
            self._shown.set_result(update)

    def _answered(self, unit: int, pdu: bytes) -> None:
        if (
            unit == self._unit
            and self._polled_at is None
            and pdu[0] == READ_INPUTS
            and pdu[-1] & self._call_bit
        ):
            self._polled_at = asyncio.get_running_loop().time()
