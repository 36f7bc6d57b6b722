"""Virtual customers and clerks, who know only what they see: paper, screens, lamps, each other.

They live in hall time (a service takes minutes, a walk takes seconds) with hands of real time (a
press takes a tenth of a second, whatever the demo's speed). Seeded; what they do depends also on
what the hall shows them.
"""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any

from edge.clock import Clock
from simulator import layout
from simulator.clerks import Clerk
from simulator.customers import visit
from simulator.fittings import Fittings
from simulator.habits import (
    BUSIEST,
    DOORS_OPEN_AT,
    EARLY_BIRDS_PER_WINDOW,
    MAX_IN_HALL,
    PRIORITY_SHARE,
    customers_per_hour,
    dice_of,
    load_at,
)
from simulator.perception import Sight, TicketPaper
from simulator.scene import Customer, Scene
from simulator.tasks import in_background


class People:
    """Everybody who is in the hall by themselves."""

    def __init__(
        self,
        fittings: Fittings,
        clock: Clock,
        *,
        seed: int,
        speed: float,
        say: Callable[[str], None],
    ) -> None:
        self.speed = speed
        self.automatic = False
        self.came = 0
        self.gave_up = 0
        """Went home without a ticket."""
        self._scene = Scene(fittings, clock)
        self._windows = list(fittings.windows)
        self._seed = seed
        self._say = say
        self._dice = dice_of(seed)
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def in_hall(self) -> int:
        return len(self._scene.customers)

    def set_automatic(self, on: bool) -> None:
        """Let people come and clerks work, or leave the hall to whoever is at the page.

        Switched off, nobody new comes and nobody acts any more; presses that have begun end.
        """
        if on == self.automatic:
            return
        self.automatic = on
        if on:
            self._spawn(self._arrivals())
            for number in self._windows:
                clerk = Clerk(self._scene, number, dice_of(self._seed * 7919 + number))
                self._spawn(clerk.work())
            self._say("customers and clerks are here")
        else:
            for task in self._tasks:
                task.cancel()
            self._say("customers and clerks have gone: the hall is yours")

    async def stop(self) -> None:
        """Everybody leaves; fingers come off the keys in their own time."""
        if self.automatic:
            self.set_automatic(False)
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._scene.fingers_off()

    def see_screen(self, window: int, sight: Sight) -> None:
        """A screen has changed."""
        self._scene.screen_changed(window, sight)

    def see_paper(self, paper: TicketPaper | None) -> None:
        """A piece of paper has come out of the dispenser; ``None``: no ticket."""
        self._scene.paper_came(paper)

    def snapshot(self) -> dict[str, Any]:
        customers = self._scene.customers
        standing = {number: self._scene.standing_at(number) for number in self._windows}
        return {
            "automatic": self.automatic,
            "came": self.came,
            "gave_up": self.gave_up,
            "in_hall": self.in_hall,
            "at_dispenser": sum(c.paper is None for c in customers),
            "waiting": sum(c.doing == "waiting" for c in customers),
            "at_windows": {
                str(number): {"number": customer.number, "doing": customer.doing}
                for number, customer in standing.items()
                if customer is not None
            },
            "customers": [
                {
                    "name": customer.name,
                    "key": customer.key,
                    "number": customer.number,
                    "doing": customer.doing,
                    "window": customer.window,
                }
                for customer in sorted(customers, key=lambda each: each.name)
            ],
        }

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = in_background(work, "a virtual person")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- the door ---------------------------------------------------------------------------------

    async def _arrivals(self) -> None:
        """A Poisson process whose rate follows the day."""
        scene = self._scene
        while True:
            if scene.hall_time().time() < DOORS_OPEN_AT:
                await self._doors_open()
            often = customers_per_hour(len(self._windows), self.speed) * BUSIEST
            await scene.clock.sleep(self._dice.expovariate(often / 3600))
            busy = load_at(scene.hall_time().time())
            if self._dice.random() * BUSIEST < busy and len(scene.customers) < MAX_IN_HALL:
                self._spawn(self._visit())

    async def _doors_open(self) -> None:
        now = self._scene.hall_time()
        opening = datetime.combine(now, DOORS_OPEN_AT, now.tzinfo)
        await self._scene.clock.sleep((opening - now).total_seconds())
        for _ in range(round(EARLY_BIRDS_PER_WINDOW * len(self._windows))):
            self._spawn(self._visit())
            await self._scene.clock.sleep(self._dice.uniform(2, 10))

    async def _visit(self) -> None:
        self.came += 1
        dice = dice_of(self._seed * 1_000_003 + self.came)
        services = [service.id for service in layout.SERVICES]
        key = dice.choices(services, [service.share for service in layout.SERVICES])[0]
        if dice.random() < PRIORITY_SHARE:
            key = layout.PRIORITY_KEY
        customer = Customer(self.came, dice, key)
        await visit(self._scene, customer)
        if customer.paper is None:
            self.gave_up += 1
