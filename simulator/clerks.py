"""A clerk at a window, who does what the screen above it asks for."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from random import Random

from simulator.habits import LOOK_AGAIN_SECONDS, PARK_SHARE, on_duty, service_seconds
from simulator.ledger import ANSWER_SECONDS
from simulator.perception import Showing, Sight
from simulator.scene import Customer, Scene

RECALLS = 2
"""Before a clerk believes that nobody comes."""
TAKE_BACK_TRIES = 8


class Clerk:
    """Works at one window, by what its screen says."""

    def __init__(self, scene: Scene, window: int, dice: Random) -> None:
        self._scene = scene
        self._window = window
        self._dice = dice
        self._eyes = scene.eyes[window]
        self._panel = scene.fittings.caller(window)
        self._serve_until: dict[str, datetime] = {}
        self._recalls: dict[str, int] = {}
        self._parked: tuple[datetime, Customer] | None = None
        """Until when somebody fills in a form, and who."""
        self._take_back_tries = 0
        self._break_at = self._in_minutes(35, 120)
        self._break_until = self._now()

    async def work(self) -> None:
        """Until cancelled."""
        does: dict[Showing, Callable[[Sight], Awaitable[None]]] = {
            Showing.CLOSED: self._closed,
            Showing.PAUSED: self._paused,
            Showing.IDLE: self._idle,
            Showing.CALLING: self._calling,
            Showing.SERVING: self._serving,
        }
        await self._sleep(2, 30)
        while True:
            sight = self._look()
            do = does.get(sight.showing)
            if do is None:  # dark, or a fault: nothing to be done but to look again
                await asyncio.sleep(LOOK_AGAIN_SECONDS)
            else:
                await do(sight)

    def _look(self) -> Sight:
        return self._scene.sight(self._window)

    def _now(self) -> datetime:
        return self._scene.hall_time()

    def _in_minutes(self, least: float, most: float) -> datetime:
        return self._now() + timedelta(minutes=self._dice.uniform(least, most))

    async def _sleep(self, least: float, most: float) -> None:
        await self._scene.clock.sleep(self._dice.uniform(least, most))

    async def _press(self, key: str) -> None:
        """Press, and look what it does before anything else."""
        before, lamps = self._look(), self._panel.lamps
        # The answer to the press before goes out first.
        await self._eyes.see(lambda: not (lamps["accepted"] or lamps["refused"]), 1.0)
        await self._scene.press(self._panel, key, self._dice)

        def changed() -> bool:
            return self._look() != before

        def answered() -> bool:
            return changed() or lamps["accepted"] or lamps["refused"]

        if await self._eyes.see(answered, ANSWER_SECONDS) and not lamps["refused"]:
            await self._eyes.see(changed, 1.0)

    # --- what the screen says, and what a clerk does then -----------------------------------------

    async def _closed(self, sight: Sight) -> None:  # noqa: ARG002
        if on_duty(self._now().time()):
            await self._press("sign_on")
        else:
            await self._sleep(30, 60)

    async def _paused(self, sight: Sight) -> None:  # noqa: ARG002
        if self._now() >= self._break_until:
            await self._press("pause")  # the same key reopens
        else:
            await self._sleep(10, 20)

    async def _idle(self, sight: Sight) -> None:
        working = on_duty(self._now().time())
        if self._parked is not None and self._now() >= self._parked[0]:
            await self._take_back(self._parked[1])
        elif not working and not sight.waiting and self._parked is None:
            await self._press("sign_on")  # the same key signs off
        elif working and self._now() >= self._break_at and self._parked is None:
            self._break_at = self._in_minutes(90, 180)
            self._break_until = self._in_minutes(6, 15)
            await self._press("pause")
        elif sight.waiting:
            await self._sleep(2, 12)
            await self._press("call_next")
        else:
            await self._eyes.see(lambda: self._look() != sight, LOOK_AGAIN_SECONDS)

    async def _calling(self, sight: Sight) -> None:
        number = sight.number or ""

        def here() -> bool:
            customer = self._scene.standing_at(self._window)
            return customer is not None and customer.number == number

        patience = self._now() + timedelta(seconds=self._dice.uniform(20, 35))
        while not here() and self._look() == sight and self._now() < patience:
            await self._eyes.see(here, 0.1)
        if self._look() != sight:
            return
        recalls = self._recalls.pop(number, 0)
        if here():
            service = timedelta(seconds=service_seconds(number[:1], self._dice))
            self._serve_until[number] = self._now() + service
            await self._press("start")
        elif recalls < RECALLS:
            self._recalls[number] = recalls + 1
            await self._press("recall")
        else:
            await self._press("no_show")

    async def _serving(self, sight: Sight) -> None:
        number = sight.number or ""
        until = self._serve_until.setdefault(number, self._in_minutes(0.5, 1))
        left = max(0.0, (until - self._now()).total_seconds())
        customer = self._scene.standing_at(self._window)
        if customer is not None and self._parked is None and self._dice.random() < PARK_SHARE:
            await self._scene.clock.sleep(left / 3)
            await self._park(customer)
            return
        await self._scene.clock.sleep(left)
        await self._press("finish")
        if self._look() != sight:
            self._serve_until.pop(number, None)
            await self._sleep(3, 10)  # goodbye

    async def _park(self, customer: Customer) -> None:
        """The customer fills in a form at the side."""
        customer.set_aside = True
        await self._press("park")
        if self._look().showing is Showing.SERVING:
            customer.set_aside = False
            return
        customer.window = None
        self._parked = (self._in_minutes(1.5, 5), customer)
        self._take_back_tries = 0

    async def _take_back(self, customer: Customer) -> None:
        self._take_back_tries += 1
        await self._press("park")  # the same key takes back
        if self._look().showing is Showing.SERVING:
            self._parked = None
            customer.set_aside = False
            customer.window = self._window
        elif self._take_back_tries < TAKE_BACK_TRIES:
            self._parked = (self._in_minutes(0.3, 0.6), customer)
        else:  # the day has ended over the form
            self._parked = None
            customer.sent_home = True
            self._eyes.blink()
