"""The hall as people live in it: who is there, what can be seen, and how a finger gets on a key."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

from edge.clock import Clock
from simulator import layout
from simulator.fittings import Fittings
from simulator.habits import LOOK_AGAIN_SECONDS, PRESS_SECONDS
from simulator.ledger import ANSWER_LAMPS
from simulator.panels import Panel
from simulator.perception import Showing, Sight, TicketPaper, read_screen
from simulator.tasks import in_background

DARK_SECONDS = 1.2
"""A screen that is dark for so long is off; for less, its text blinks."""
CLOCK_EVERY_SECONDS = 5.0
"""How often somebody who waits looks at the clock; real time."""


@dataclass(eq=False)
class Customer:
    """Somebody in the hall."""

    name: int
    dice: Random
    key: str
    """Of the dispenser: what they came for."""
    doing: str = "at the dispenser"
    paper: TicketPaper | None = None
    window: int | None = None
    set_aside: bool = False
    """The clerk has parked them."""
    sent_home: bool = False
    """The clerk can't take them back."""

    @property
    def number(self) -> str | None:
        return self.paper.number if self.paper else None


class Eyes:
    """Wakes whoever waits for something to be seen at one place."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()

    def blink(self) -> None:
        """Something may look different."""
        for waiter in self._waiting:
            _wake(waiter)
        self._waiting.clear()

    async def see(self, what: Callable[[], bool], within_seconds: float) -> bool:
        """Whether ``what`` is true within so many real seconds."""
        loop = asyncio.get_running_loop()
        until = loop.time() + within_seconds
        while not what():
            left = until - loop.time()
            if left <= 0:
                return False
            waiter = loop.create_future()
            self._waiting.add(waiter)
            again = loop.call_later(min(left, LOOK_AGAIN_SECONDS), _wake, waiter)
            try:
                await waiter
            finally:
                again.cancel()
                self._waiting.discard(waiter)
        return True


def _wake(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)


class Scene:
    """What customers and clerks share."""

    def __init__(self, fittings: Fittings, clock: Clock) -> None:
        self.fittings = fittings
        self.clock = clock
        self.customers: set[Customer] = set()
        self.machine = asyncio.Lock()
        """Whoever holds it stands at the dispenser."""
        self.hand: Callable[[TicketPaper], None] | None = None
        """Takes the paper that comes out."""
        self.answers: list[str] = []
        """The lamps ``accepted`` and ``refused`` of the dispenser, whenever one went on."""
        self.eyes: dict[int, Eyes] = {number: Eyes() for number in fittings.windows}
        """At each window."""
        self.eyes_at_machine = Eyes()
        self._called: dict[str, asyncio.Future[int]] = {}
        self._read: dict[int, tuple[Sight, float]] = {}
        self._presses: set[asyncio.Task[None]] = set()
        self._watch()

    def hall_time(self) -> datetime:
        return self.clock.now().wall.astimezone(ZoneInfo(layout.TIME_ZONE))

    # --- eyes -------------------------------------------------------------------------------------

    def sight(self, window: int) -> Sight:
        """What a person reads there; a text that blinks is there in its dark moments too."""
        sight = read_screen(self.fittings.screens[window].text)
        now = asyncio.get_running_loop().time()
        if sight.showing is not Showing.DARK:
            self._read[window] = (sight, now)
        elif window in self._read and now - self._read[window][1] < DARK_SECONDS:
            return self._read[window][0]
        return sight

    def standing_at(self, window: int) -> Customer | None:
        return next((c for c in self.customers if c.window == window), None)

    async def called(self, number: str, patience: timedelta) -> int | None:
        """The window that calls this number, from now on; ``None``: none did for so long."""
        called: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._called[number] = called
        until = self.hall_time() + patience
        try:
            while not called.done() and self.hall_time() < until:
                await asyncio.wait({called}, timeout=CLOCK_EVERY_SECONDS)
            return called.result() if called.done() else None
        finally:
            if self._called.get(number) is called:
                del self._called[number]

    def calling(self, number: str) -> int | None:
        """The window that calls this number at this moment."""
        for window in self.fittings.windows:
            sight = self.sight(window)
            if sight.showing is Showing.CALLING and sight.number == number:
                return sight.window
        return None

    def screen_changed(self, window: int, sight: Sight) -> None:
        if sight.showing is Showing.CALLING and sight.number is not None:
            waiting = self._called.get(sight.number)
            if waiting is not None and not waiting.done():
                waiting.set_result(sight.window or window)
        self.sight(window)
        self.eyes[window].blink()

    def paper_came(self, paper: TicketPaper | None) -> None:
        """A piece of paper has come out of the dispenser; who holds that ticket leaves it there."""
        held = {customer.paper.ticket for customer in self.customers if customer.paper}
        if paper is not None and paper.ticket not in held and self.hand is not None:
            self.hand(paper)
        self.eyes_at_machine.blink()

    def _watch(self) -> None:
        def at_machine(panel: Panel, lamp: str, lit: bool, at: float) -> None:  # noqa: ARG001
            if lit and lamp in ANSWER_LAMPS:
                self.answers.append(lamp)
            self.eyes_at_machine.blink()

        self.fittings.dispenser.on_lamp(at_machine)
        for number, eyes in self.eyes.items():
            for panel in (self.fittings.caller(number), self.fittings.evaluator(number)):
                panel.on_lamp(lambda *_, eyes=eyes: eyes.blink())

    # --- hands ------------------------------------------------------------------------------------

    async def press(self, panel: Panel, key: str, dice: Random) -> None:
        """A whole press, also when whoever pressed is sent home meanwhile."""
        task = in_background(panel.press(key, dice.uniform(*PRESS_SECONDS)), f"press of {key}")
        self._presses.add(task)
        task.add_done_callback(self._presses.discard)
        await asyncio.shield(task)

    async def lean(self, panel: Panel, dice: Random) -> None:
        """On all keys at once."""
        await asyncio.gather(*(self.press(panel, key, dice) for key in panel.keys))

    async def fingers_off(self) -> None:
        """Return when every press that has begun is over."""
        await asyncio.gather(*self._presses, return_exceptions=True)
