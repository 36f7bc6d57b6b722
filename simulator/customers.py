"""A customer's visit, from the door to the door."""

import asyncio
import math
from datetime import timedelta

from simulator.habits import (
    FIVE_TIMES_SHARE,
    GONE_SHARE,
    IMPATIENT_SHARE,
    LATE_SHARE,
    LEANING_SHARE,
    MAX_ATTEMPTS,
    PAPER_SECONDS,
    PATIENCE_MINUTES,
    RATINGS,
    SILENT_SHARE,
    SLOW_SHARE,
)
from simulator.layout import RATING_SECONDS
from simulator.ledger import ANSWER_SECONDS
from simulator.perception import Showing, Sight, TicketPaper
from simulator.scene import Customer, Scene


async def visit(scene: Scene, customer: Customer) -> None:
    """Take a number, wait for it, be served, rate. Who gets no number goes home without."""
    scene.customers.add(customer)
    try:
        async with scene.machine:
            customer.paper = await _take_number(scene, customer)
        if customer.paper is None:
            return
        window = await _wait_for_call(scene, customer, customer.paper.number)
        if window is None:
            return
        customer.doing = "walking"
        await scene.clock.sleep(customer.dice.uniform(4, 18))
        if scene.sight(window) == Sight(Showing.CALLING, customer.paper.number, window):
            await _be_served(scene, customer, customer.paper.number, window)
            await _rate(scene, customer, window)
    finally:
        scene.customers.discard(customer)


# --- the dispenser --------------------------------------------------------------------------------


async def _take_number(scene: Scene, customer: Customer) -> TicketPaper | None:
    """Press until there is a paper in the hand; ``None``: gone home."""
    taken: list[TicketPaper] = []
    scene.hand = taken.append
    try:
        for _ in range(MAX_ATTEMPTS):
            presses = await _press_for_number(scene, customer)
            await _look_for_paper(scene, taken, presses)
            if taken:
                return taken[0]
            await asyncio.sleep(customer.dice.uniform(0.5, 1.5))
        return taken[0] if taken else None
    finally:
        scene.hand = None


async def _press_for_number(scene: Scene, customer: Customer) -> int:
    """How often a key was pressed."""
    dice, panel = customer.dice, scene.fittings.dispenser
    # The answer to somebody else goes out first.
    lamps = panel.lamps
    await scene.eyes_at_machine.see(lambda: not (lamps["accepted"] or lamps["refused"]), 1.0)
    scene.answers.clear()
    manner = dice.random()
    if manner < LEANING_SHARE:
        await scene.lean(panel, dice)
        return len(panel.keys)
    times = 5 if manner < LEANING_SHARE + IMPATIENT_SHARE else 1
    for _ in range(times):
        await scene.press(panel, customer.key, dice)
        if times > 1:
            await asyncio.sleep(0.15)
    return times


async def _look_for_paper(scene: Scene, taken: list[TicketPaper], presses: int) -> None:
    """Look at the slot and the lamps, as long as there is hope."""
    answers = scene.answers

    def anything() -> bool:
        return bool(taken or answers)

    def all_of_it() -> bool:
        return len(taken) >= presses or "refused" in answers

    if await scene.eyes_at_machine.see(anything, ANSWER_SECONDS + 0.5):
        # Who pressed five times waits for five papers, but not for ever.
        await scene.eyes_at_machine.see(all_of_it, PAPER_SECONDS / 3 if taken else PAPER_SECONDS)


# --- waiting --------------------------------------------------------------------------------------


async def _wait_for_call(scene: Scene, customer: Customer, number: str) -> int | None:
    """The window that calls us; ``None``: we are not here, or too late."""
    customer.doing = "waiting"
    gone = customer.dice.random() < GONE_SHARE
    slow = customer.dice.random() < SLOW_SHARE
    window = await scene.called(number, timedelta(minutes=PATIENCE_MINUTES))
    if gone:
        return None
    if slow and window is not None:
        await scene.clock.sleep(customer.dice.uniform(25, 50))
        window = scene.calling(number)
    return window


# --- the window -----------------------------------------------------------------------------------


async def _be_served(scene: Scene, customer: Customer, number: str, window: int) -> None:
    """Stand at the window until the clerk has finished, or somebody else is called."""
    customer.doing, customer.window = "at the window", window
    eyes = scene.eyes[window]
    eyes.blink()

    def served() -> bool:
        return scene.sight(window) == Sight(Showing.SERVING, number)

    def noticed() -> bool:
        return served() or scene.sight(window).number != number

    await eyes.see(noticed, math.inf)
    while served():
        customer.doing = "served"
        await eyes.see(lambda: not served(), math.inf)
        if customer.set_aside:
            customer.doing = "filling in a form"
            await eyes.see(lambda: served() or customer.sent_home, math.inf)


async def _rate(scene: Scene, customer: Customer, window: int) -> None:
    """The evaluator asks; not everybody answers, and not everybody in time."""
    dice, panel = customer.dice, scene.fittings.evaluator(window)
    customer.doing = "rating"
    # The lamp blinks: half a second on, half a second off.
    asked = await scene.eyes[window].see(lambda: panel.lamps["asking"], 1.5)
    if not asked or dice.random() < SILENT_SHARE:
        return
    late = dice.random() < LATE_SHARE
    await scene.clock.sleep(RATING_SECONDS + 20 if late else dice.uniform(1, 4))
    manner = dice.random()
    if manner < LEANING_SHARE:
        await scene.lean(panel, dice)
        return
    key = dice.choices([key for key, _ in RATINGS], [share for _, share in RATINGS])[0]
    for _ in range(5 if manner < FIVE_TIMES_SHARE else 1):
        await scene.press(panel, key, dice)
        await asyncio.sleep(0.1)
