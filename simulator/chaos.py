"""Power cuts and loose cables, at moments that a seed decides.

Programs die by SIGKILL, sometimes two at once; cables come out and go back in. Whatever happens,
a run has to end with nothing lost.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from simulator.hall import VirtualHall
from simulator.people import dice_of

PROGRAMS = ("daemon", "broker", "centre")
SECONDS_PER_KILL = 30.0
"""Of each program, on average."""
SECONDS_PER_CABLE = 8.0
CABLE_OUT_SECONDS = (0.5, 6.0)
TOGETHER_SHARE = 0.3
CALM_SECONDS = (3.0, 5.0)
"""At the beginning, so that there is something to break, and at the end."""

Action = Mapping[str, Any]


@dataclass(frozen=True, order=True)
class Strike:
    at: float
    """Seconds since the start of the chaos."""
    number: int
    actions: tuple[Action, ...]


def plan(seconds: float, cables: Sequence[str], dice: Random) -> list[Strike]:
    """What goes wrong within so many seconds, in order: each program dies at least three times
    in two minutes, and at least once however short the time."""
    begin = min(CALM_SECONDS[0], seconds / 4)
    end = max(begin, seconds - CALM_SECONDS[1])
    moments: list[tuple[float, tuple[Action, ...]]] = []
    for program in PROGRAMS:
        for at in _spread(begin, end, max(1, round(seconds / SECONDS_PER_KILL)), dice):
            others = [other for other in PROGRAMS if other != program]
            together = [dice.choice(others)] if dice.random() < TOGETHER_SHARE else []
            moments.append(
                (at, tuple({"do": "kill", "program": name} for name in (program, *together)))
            )
    for at in _spread(begin, end, round(seconds / SECONDS_PER_CABLE), dice):
        unplug = {"do": "unplug", "cable": dice.choice(cables), "on": True}
        moments.append((at, (unplug,)))
        moments.append((at + dice.uniform(*CABLE_OUT_SECONDS), ({**unplug, "on": False},)))
    return sorted(Strike(at, number, actions) for number, (at, actions) in enumerate(moments))


def _spread(begin: float, end: float, count: int, dice: Random) -> Iterable[float]:
    """So many moments, one somewhere in each of as many equal parts of the span."""
    part = (end - begin) / max(1, count)
    return [begin + part * (index + dice.random()) for index in range(count)]


async def unleash(hall: VirtualHall, seconds: float | None, seed: int) -> None:
    """Strike until ``seconds`` are over; for ever, two minutes' plan after another, for ``None``.

    However it ends, cables are in again.
    """
    dice = dice_of(seed * 31 + 5)
    cables = hall.fittings.cables
    loop = asyncio.get_running_loop()
    try:
        while True:
            began = loop.time()
            for strike in plan(seconds or 120.0, cables, dice):
                await asyncio.sleep(max(0.0, began + strike.at - loop.time()))
                for action in strike.actions:
                    hall.perform(action)
            if seconds is not None:
                return
    finally:
        for cable in cables:
            if not hall.fittings.plugged(cable):
                hall.fittings.plug(cable, True)
