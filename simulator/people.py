"""Virtual customers and clerks, who know only what they see: paper, screens, lamps, each other.

They live in hall time (a service takes minutes, a walk takes seconds) with hands of real time (a
press takes a tenth of a second, whatever the demo's speed). Seeded; what they do depends also on
what the hall shows them.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from edge.clock import Clock
from simulator import layout
from simulator.fittings import Fittings
from simulator.ledger import ANSWER_LAMPS, ANSWER_SECONDS, Ledger
from simulator.panels import Panel
from simulator.perception import Showing, Sight, TicketPaper, read_screen
from simulator.tasks import in_background

CLERKS_COME_AT = time(8, 25)
DOORS_OPEN_AT = time(8, 30)
EARLY_BIRDS_PER_WINDOW = 0.8
"""Who wait at the door when it opens."""
DOORS_CLOSE_AT = time(17, 30)
MAX_IN_HALL = 120

ARRIVALS: tuple[tuple[time, float], ...] = (
    (DOORS_OPEN_AT, 1.1),
    (time(9, 0), 1.0),
    (time(9, 30), 1.25),
    (time(10, 45), 0.95),
    (time(11, 30), 0.6),
    (time(13, 30), 0.85),
    (time(16, 0), 0.6),
    (DOORS_CLOSE_AT, 0.0),
)
"""From when on, and how busy: 1.0 is as many customers as the windows can just serve."""
BUSIEST = max(load for _, load in ARRIVALS)
MINUTES_BETWEEN = 1.2
"""Calling, walking and saying goodbye, beside the service itself."""

HANDS_SECONDS = 1.5
"""Of real time: the presses of one customer's service."""

PRIORITY_SHARE = 0.08
GONE_SHARE = 0.04
"""Left without a word: they never come."""
SLOW_SHARE = 0.04
"""Look up only at the second call."""
LEANING_SHARE = 0.004
IMPATIENT_SHARE = 0.006
"""Press five times."""
PARK_SHARE = 0.04
PATIENCE_MINUTES = 100.0

RATINGS = (("very_satisfied", 0.46), ("satisfied", 0.39), ("neutral", 0.1), ("dissatisfied", 0.05))
SILENT_SHARE = 0.35
LATE_SHARE = 0.05
FIVE_TIMES_SHARE = 0.05

PRESS_SECONDS = (0.14, 0.3)
"""How long a finger stays on a key; real time."""
MAX_ATTEMPTS = 6
"""At the dispenser, before a customer goes home."""
PAPER_SECONDS = 12.0
"""How long somebody whose press was accepted waits for the paper; real time."""
BLINK_SECONDS = 1.2
"""A screen that is dark for so long is off."""
LOOK_AGAIN_SECONDS = 0.5


def dice_of(seed: int) -> Random:
    """Chance that can be repeated."""
    return Random(seed)  # noqa: S311 - people are no secret


def load_at(moment: time) -> float:
    """How busy the hall is at this time of the day."""
    load = 0.0
    for since, value in ARRIVALS:
        if moment >= since:
            load = value
    return load


def customers_per_hour(windows: int, speed: float = 1.0) -> float:
    """As many as so many windows can just serve. Hands are no faster when hall time is."""
    minutes = sum(service.minutes * service.share for service in layout.SERVICES)
    return windows * 60 / (minutes + MINUTES_BETWEEN + HANDS_SECONDS * speed / 60)


def service_seconds(prefix: str, dice: Random) -> float:
    """A service time: log-normal around the service's usual minutes."""
    minutes = next((s.minutes for s in layout.SERVICES if s.prefix == prefix), 4.0)
    sigma = 0.5
    mu = math.log(minutes * 60) - sigma**2 / 2
    return min(dice.lognormvariate(mu, sigma), 4 * minutes * 60)


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


class Eyes:
    """Wakes whoever waits for something to be seen."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()

    def blink(self) -> None:
        """Something may look different."""
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)
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
            handle = loop.call_later(min(left, LOOK_AGAIN_SECONDS), _wake, waiter)
            try:
                await waiter
            finally:
                handle.cancel()
                self._waiting.discard(waiter)
        return True


def _wake(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)


class People:
    """Everybody who is in the hall by themselves."""

    def __init__(
        self,
        fittings: Fittings,
        clock: Clock,
        ledger: Ledger,
        *,
        seed: int,
        speed: float,
        say: Callable[[str], None],
    ) -> None:
        self._fittings = fittings
        self._clock = clock
        self._ledger = ledger
        self._seed = seed
        self._say = say
        self._dice = dice_of(seed)
        self.speed = speed
        self.automatic = False
        self.came = 0
        self.gave_up = 0
        """Went home without a ticket."""
        self._customers: set[Customer] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._presses: set[asyncio.Task[None]] = set()
        self._machine = asyncio.Lock()
        self._hand: Callable[[TicketPaper], None] | None = None
        """Whoever stands at the dispenser takes what comes out."""
        self._called: dict[str, asyncio.Future[int]] = {}
        """By number: resolved with the window, when a screen calls it."""
        self._eyes: dict[int, Eyes] = {number: Eyes() for number in fittings.windows}
        self._eyes_at_machine = Eyes()
        self._read: dict[int, tuple[Sight, float]] = {}
        """The last text of each screen and when it was seen."""
        self._answers_at_machine: list[str] = []
        """The lamps accepted and refused, whenever one of them went on."""
        self._watch()

    # --- switched on and off ----------------------------------------------------------------------

    def set_automatic(self, on: bool) -> None:
        """Let people come and clerks work, or leave the hall to whoever is at the page.

        Switched off, nobody new comes and nobody acts any more; presses that have begun end.
        """
        if on == self.automatic:
            return
        self.automatic = on
        if on:
            self._spawn(self._arrivals())
            for number in self._fittings.windows:
                self._spawn(self._clerk(number))
            self._say("customers and clerks are here")
        else:
            for task in self._tasks:
                task.cancel()
            self._say("customers and clerks have gone: the hall is yours")

    async def stop(self) -> None:
        """Everybody leaves; fingers come off the keys in their own time."""
        if self.automatic:
            self.set_automatic(False)
        await asyncio.gather(*self._tasks, *self._presses, return_exceptions=True)

    def snapshot(self) -> dict[str, Any]:
        standing = {number: self._standing_at(number) for number in self._fittings.windows}
        return {
            "automatic": self.automatic,
            "came": self.came,
            "gave_up": self.gave_up,
            "in_hall": len(self._customers),
            "at_dispenser": sum(c.paper is None for c in self._customers),
            "waiting": sum(c.doing == "waiting" for c in self._customers),
            "at_windows": {
                str(number): {
                    "number": customer.paper.number if customer.paper else None,
                    "doing": customer.doing,
                }
                for number, customer in standing.items()
                if customer is not None
            },
            "customers": [
                {
                    "name": customer.name,
                    "key": customer.key,
                    "number": customer.paper.number if customer.paper else None,
                    "doing": customer.doing,
                    "window": customer.window,
                }
                for customer in sorted(self._customers, key=lambda each: each.name)
            ],
        }

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = in_background(work, "a virtual person")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- seeing -----------------------------------------------------------------------------------

    def _watch(self) -> None:
        def at_machine(panel: Panel, lamp: str, lit: bool, at: float) -> None:  # noqa: ARG001
            if lit and lamp in ANSWER_LAMPS:
                self._answers_at_machine.append(lamp)
            self._eyes_at_machine.blink()

        self._fittings.dispenser.on_lamp(at_machine)
        for number in self._fittings.windows:
            eyes = self._eyes[number]
            for panel in (self._fittings.caller(number), self._fittings.evaluator(number)):
                panel.on_lamp(lambda *_, eyes=eyes: eyes.blink())

    def see_screen(self, window: int, sight: Sight) -> None:
        """A screen has changed."""
        if sight.showing is Showing.CALLING and sight.number is not None:
            waiting = self._called.get(sight.number)
            if waiting is not None and not waiting.done():
                waiting.set_result(sight.window or window)
        self._sight(window)
        self._eyes[window].blink()

    def see_paper(self, paper: TicketPaper | None) -> None:
        """A piece of paper has come out of the dispenser."""
        held = {customer.paper.ticket for customer in self._customers if customer.paper}
        if paper is not None and paper.ticket not in held and self._hand is not None:
            self._hand(paper)
        self._eyes_at_machine.blink()

    def _sight(self, window: int) -> Sight:
        """What a person reads there; a text that blinks is there in its dark moments too."""
        sight = read_screen(self._fittings.screens[window].text)
        now = asyncio.get_running_loop().time()
        if sight.showing is not Showing.DARK:
            self._read[window] = (sight, now)
        elif window in self._read and now - self._read[window][1] < BLINK_SECONDS:
            return self._read[window][0]
        return sight

    def _standing_at(self, window: int) -> Customer | None:
        return next((c for c in self._customers if c.window == window), None)

    # --- hands ------------------------------------------------------------------------------------

    async def _press(self, panel: Panel, key: str, dice: Random) -> None:
        """A whole press, also when whoever pressed is sent home meanwhile."""
        task = asyncio.create_task(panel.press(key, dice.uniform(*PRESS_SECONDS)))
        self._presses.add(task)
        task.add_done_callback(self._presses.discard)
        await asyncio.shield(task)

    async def _lean(self, panel: Panel, dice: Random) -> None:
        """On all keys at once."""
        await asyncio.gather(*(self._press(panel, key, dice) for key in panel.keys))

    # --- customers --------------------------------------------------------------------------------

    def _hall_time(self) -> datetime:
        return self._clock.now().wall.astimezone(ZoneInfo(layout.TIME_ZONE))

    async def _arrivals(self) -> None:
        """A Poisson process whose rate follows the day."""
        if self._hall_time().time() <= DOORS_OPEN_AT:
            await self._doors_open()
        while True:
            often = customers_per_hour(len(self._fittings.windows), self.speed) * BUSIEST
            mean = 3600 / often
            await self._clock.sleep(self._dice.expovariate(1 / mean))
            busy = load_at(self._hall_time().time())
            if self._dice.random() * BUSIEST < busy and len(self._customers) < MAX_IN_HALL:
                self._spawn(self._customer())

    async def _doors_open(self) -> None:
        opening = datetime.combine(self._hall_time(), DOORS_OPEN_AT, self._hall_time().tzinfo)
        await self._clock.sleep((opening - self._hall_time()).total_seconds())
        for _ in range(round(EARLY_BIRDS_PER_WINDOW * len(self._fittings.windows))):
            self._spawn(self._customer())
            await self._clock.sleep(self._dice.uniform(2, 10))

    def _new_customer(self) -> Customer:
        self.came += 1
        dice = dice_of(self._seed * 1_000_003 + self.came)
        if dice.random() < PRIORITY_SHARE:
            key = layout.PRIORITY_KEY
        else:
            shares = [service.share for service in layout.SERVICES]
            key = dice.choices([service.id for service in layout.SERVICES], shares)[0]
        return Customer(self.came, dice, key)

    async def _customer(self) -> None:
        """From the door to the door."""
        customer = self._new_customer()
        self._customers.add(customer)
        try:
            async with self._machine:
                customer.paper = await self._take_number(customer)
            if customer.paper is None:
                self.gave_up += 1
                return
            window = await self._wait_for_call(customer, customer.paper.number)
            if window is not None and await self._walk_to(customer, window):
                await self._be_served(customer, window)
        finally:
            self._customers.discard(customer)

    async def _take_number(self, customer: Customer) -> TicketPaper | None:
        """Press until there is a paper in the hand; ``None``: gone home."""
        taken: list[TicketPaper] = []
        self._hand = taken.append
        try:
            for _ in range(MAX_ATTEMPTS):
                presses = await self._press_for_number(customer)
                if await self._paper_comes(taken, presses):
                    return taken[0]
                await asyncio.sleep(customer.dice.uniform(0.5, 1.5))
            return taken[0] if taken else None
        finally:
            self._hand = None

    async def _press_for_number(self, customer: Customer) -> int:
        """How often a key was pressed."""
        dice, panel = customer.dice, self._fittings.dispenser
        # The answer to somebody else goes out first.
        lamps = panel.lamps
        await self._eyes_at_machine.see(lambda: not (lamps["accepted"] or lamps["refused"]), 1.0)
        self._answers_at_machine.clear()
        manner = dice.random()
        if manner < LEANING_SHARE:
            await self._lean(panel, dice)
            return len(panel.keys)
        times = 5 if manner < LEANING_SHARE + IMPATIENT_SHARE else 1
        for _ in range(times):
            await self._press(panel, customer.key, dice)
            if times > 1:
                await asyncio.sleep(0.15)
        return times

    async def _paper_comes(self, taken: list[TicketPaper], presses: int) -> bool:
        """Look at the slot and the lamps, as long as there is hope."""
        answers = self._answers_at_machine

        def anything() -> bool:
            return bool(taken or answers)

        def all_of_it() -> bool:
            # Who pressed five times waits for five papers, but not for ever.
            return len(taken) >= presses or "refused" in answers

        if await self._eyes_at_machine.see(anything, ANSWER_SECONDS + 0.5):
            seconds = PAPER_SECONDS if not taken else PAPER_SECONDS / 3
            await self._eyes_at_machine.see(all_of_it, seconds)
        return bool(taken)

    async def _wait_for_call(self, customer: Customer, number: str) -> int | None:
        """The window that calls us; ``None``: we are not here any more when it does."""
        customer.doing = "waiting"
        gone = customer.dice.random() < GONE_SHARE
        slow = customer.dice.random() < SLOW_SHARE
        came_at = self._hall_time()
        window = await self._next_call(number)
        if slow:
            window = await self._next_call(number)
        waited = self._hall_time() - came_at
        if gone or waited > timedelta(minutes=PATIENCE_MINUTES):
            return None
        return window

    async def _next_call(self, number: str) -> int:
        called: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._called[number] = called
        try:
            return await called
        finally:
            if self._called.get(number) is called:
                del self._called[number]

    async def _walk_to(self, customer: Customer, window: int) -> bool:
        """Whether we are still called when we get there."""
        customer.doing = "walking"
        await self._clock.sleep(customer.dice.uniform(4, 18))
        assert customer.paper is not None
        sight = self._sight(window)
        return sight == Sight(Showing.CALLING, customer.paper.number, window)

    async def _be_served(self, customer: Customer, window: int) -> None:
        assert customer.paper is not None
        customer.doing, customer.window = "at the window", window
        number, eyes = customer.paper.number, self._eyes[window]
        eyes.blink()

        def mine() -> bool:
            return self._sight(window).number == number

        def served() -> bool:
            return self._sight(window) == Sight(Showing.SERVING, number)

        while not await eyes.see(served, 10):
            if not mine():
                return
        while True:
            customer.doing = "served"
            await eyes.see(lambda: not served(), math.inf)
            if not customer.set_aside:
                break
            customer.doing = "filling in a form"
            await eyes.see(served, math.inf)
        await self._rate(customer, window)

    async def _rate(self, customer: Customer, window: int) -> None:
        """The evaluator asks; not everybody answers, and not everybody in time."""
        dice, panel = customer.dice, self._fittings.evaluator(window)
        customer.doing = "rating"
        if dice.random() < SILENT_SHARE:
            return
        eyes = self._eyes[window]
        # The lamp blinks: half a second on, half a second off.
        if not await eyes.see(lambda: panel.lamps["asking"], 1.5):
            return
        late = dice.random() < LATE_SHARE
        if late:
            await self._clock.sleep(60)
        else:
            await self._clock.sleep(dice.uniform(1, 4))
        manner = dice.random()
        key = dice.choices([key for key, _ in RATINGS], [share for _, share in RATINGS])[0]
        if manner < LEANING_SHARE:
            await self._lean(panel, dice)
            return
        for _ in range(5 if manner < FIVE_TIMES_SHARE else 1):
            await self._press(panel, key, dice)
            await asyncio.sleep(0.1)

    # --- clerks -----------------------------------------------------------------------------------

    async def _clerk(self, window: int) -> None:
        clerk = Clerk(self, window, dice_of(self._seed * 7919 + window))
        await clerk.work()


class Clerk:
    """Works at one window, by what its screen says."""

    def __init__(self, people: People, window: int, dice: Random) -> None:
        self._people = people
        self._window = window
        self._dice = dice
        self._eyes = people._eyes[window]
        self._panel = people._fittings.caller(window)
        self._clock = people._clock
        self._serve_until: dict[str, datetime] = {}
        self._recalls: dict[str, int] = {}
        self._parked: list[tuple[datetime, Customer]] = []
        self._break_at = people._hall_time() + timedelta(minutes=dice.uniform(35, 120))
        self._break_until: datetime | None = None

    async def work(self) -> None:
        does: dict[Showing, Callable[[Sight], Awaitable[None]]] = {
            Showing.CLOSED: self._closed,
            Showing.PAUSED: self._paused,
            Showing.IDLE: self._idle,
            Showing.CALLING: self._calling,
            Showing.SERVING: self._serving,
        }
        await self._clock.sleep(self._dice.uniform(2, 30))
        while True:
            sight = self._look()
            do = does.get(sight.showing)
            if do is None:  # dark, or a fault: nothing to be done but to look again
                await asyncio.sleep(LOOK_AGAIN_SECONDS)
            else:
                await do(sight)

    def _look(self) -> Sight:
        return self._people._sight(self._window)

    def _now(self) -> datetime:
        return self._people._hall_time()

    def _on_duty(self) -> bool:
        now = self._now().time()
        return CLERKS_COME_AT <= now < DOORS_CLOSE_AT

    async def _press(self, key: str) -> None:
        """Press, and look what it does before anything else."""
        before = self._look()
        lamps = self._panel.lamps
        # The answer to the press before goes out first.
        await self._eyes.see(lambda: not (lamps["accepted"] or lamps["refused"]), 1.0)
        await self._people._press(self._panel, key, self._dice)

        def changed() -> bool:
            return self._look() != before

        def answered() -> bool:
            return changed() or lamps["accepted"] or lamps["refused"]

        if await self._eyes.see(answered, ANSWER_SECONDS) and not lamps["refused"]:
            await self._eyes.see(changed, 1.0)

    # --- what the screen says, and what a clerk does then -----------------------------------------

    async def _closed(self, sight: Sight) -> None:  # noqa: ARG002
        if self._on_duty():
            await self._press("sign_on")
        else:
            await self._clock.sleep(60)

    async def _paused(self, sight: Sight) -> None:  # noqa: ARG002
        if self._break_until is None or self._now() >= self._break_until:
            self._break_until = None
            await self._press("pause")
        else:
            await self._clock.sleep(20)

    async def _idle(self, sight: Sight) -> None:
        now = self._now()
        if self._parked and now >= self._parked[0][0]:
            await self._take_back()
        elif not self._on_duty() and not sight.waiting:
            await self._press("sign_on")  # the same key signs off
        elif now >= self._break_at and self._on_duty():
            self._break_at = now + timedelta(minutes=self._dice.uniform(90, 180))
            self._break_until = now + timedelta(minutes=self._dice.uniform(6, 15))
            await self._press("pause")
        elif sight.waiting:
            await self._clock.sleep(self._dice.uniform(2, 12))
            await self._press("call_next")
        else:
            await self._eyes.see(lambda: self._look() != sight, LOOK_AGAIN_SECONDS)

    async def _calling(self, sight: Sight) -> None:
        number = sight.number or ""

        def here() -> bool:
            customer = self._people._standing_at(self._window)
            held = customer.paper.number if customer and customer.paper else None
            return held == number or self._look() != sight

        patience = self._now() + timedelta(seconds=self._dice.uniform(20, 35))
        while not here() and self._now() < patience:
            await self._eyes.see(here, 0.1)
        if self._look() != sight:
            return
        if here():
            self._recalls.pop(number, None)
            self._serve_until[number] = self._now() + timedelta(
                seconds=service_seconds(number[:1], self._dice)
            )
            await self._press("start")
        elif self._recalls.get(number, 0) < 2:
            self._recalls[number] = self._recalls.get(number, 0) + 1
            await self._press("recall")
        else:
            self._recalls.pop(number, None)
            await self._press("no_show")

    async def _serving(self, sight: Sight) -> None:
        number = sight.number or ""
        until = self._serve_until.setdefault(number, self._now() + timedelta(seconds=30))
        left = (until - self._now()).total_seconds()
        customer = self._people._standing_at(self._window)
        park = self._dice.random() < PARK_SHARE and customer is not None and not self._parked
        if park and customer is not None:
            await self._clock.sleep(left / 3)
            await self._park(customer)
            return
        if left > 0:
            await self._clock.sleep(left)
        await self._press("finish")
        if self._look() != sight:
            self._serve_until.pop(number, None)
            await self._clock.sleep(self._dice.uniform(3, 10))  # goodbye

    async def _park(self, customer: Customer) -> None:
        """The customer fills in a form at the side."""
        customer.set_aside = True
        await self._press("park")
        if self._look().showing is Showing.SERVING:
            customer.set_aside = False
            return
        customer.window = None
        back_at = self._now() + timedelta(seconds=self._dice.uniform(90, 300))
        self._parked.append((back_at, customer))

    async def _take_back(self) -> None:
        _, customer = self._parked[0]
        await self._press("park")  # the same key takes back
        if self._look().showing is Showing.SERVING:
            self._parked.pop(0)
            customer.set_aside = False
            customer.window = self._window
        elif self._panel.lamps["refused"] or self._look().showing is Showing.IDLE:
            back_at = self._now() + timedelta(seconds=30)
            self._parked[0] = (back_at, customer)
