"""Power cuts, loose cables and empty paper rolls, at moments that a seed decides.

Programs die by SIGKILL, sometimes two at once; cables come out and go back in; the printer has no
paper or no power for a while. Whatever happens, a run has to end with nothing lost.
"""

import asyncio
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any

from simulator.habits import dice_of
from simulator.hall import BadAction, VirtualHall
from simulator.truth import PROGRAMS

SECONDS_PER_KILL = 20.0
"""Of each program, on average."""
SEVERAL = 2
"""Each program is killed so often at least, in a run that is long enough."""
LONG_ENOUGH_SECONDS = 30.0
ALIVE_WITHIN_SECONDS = 6.0
"""One that is down is started again within its back-off; a kill waits for that, else it would hit
nobody. A broker that is held down stays down."""
SECONDS_PER_CABLE = 8.0
SECONDS_PER_PRINTER_FAULT = 40.0
PRINTER_FAULTS = ("paper_out", "printer_off")
FAULT_SECONDS = (0.5, 6.0)
TOGETHER_SHARE = 0.3
ROUND_SECONDS = 120.0
"""Of a chaos without end, which is planned round by round."""
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
    """What goes wrong within so many seconds, in order: each program dies at least once in
    ``SECONDS_PER_KILL``, at least once however short the time, and in a run that is long enough
    several times and once more: one of them may hit nobody."""
    begin, end = _span(seconds)
    moments: list[tuple[float, tuple[Action, ...]]] = []
    for program in PROGRAMS:
        for at in _spread(begin, end, _kills_of_each(seconds), dice):
            others = [other for other in PROGRAMS if other != program]
            together = [dice.choice(others)] if dice.random() < TOGETHER_SHARE else []
            moments.append(
                (at, tuple({"do": "kill", "program": name} for name in (program, *together)))
            )
    faults: list[tuple[float, Action]] = [
        (at, {"do": "unplug", "cable": dice.choice(cables)})
        for at in _spread(begin, end, round(seconds / SECONDS_PER_CABLE), dice)
    ]
    faults += [
        (at, {"do": dice.choice(PRINTER_FAULTS)})
        for at in _spread(begin, end, round(seconds / SECONDS_PER_PRINTER_FAULT), dice)
    ]
    for at, fault in faults:
        moments.append((at, ({**fault, "on": True},)))
        moments.append((at + dice.uniform(*FAULT_SECONDS), ({**fault, "on": False},)))
    return sorted(Strike(at, number, actions) for number, (at, actions) in enumerate(moments))


def kills_due(lived: float, planned: float | None) -> int:
    """How often each program must have been killed at least, in a run of ``planned`` seconds that
    lived for so many."""
    seconds = planned or ROUND_SECONDS
    begin, end = _span(seconds)
    times = _kills_of_each(seconds)
    if lived < seconds and begin < end:  # ended early
        times = min(times, int((lived - begin) * times / (end - begin)))
    return max(0, min(SEVERAL, times - 1))


def _span(seconds: float) -> tuple[float, float]:
    """From when to when there is chaos."""
    begin = min(CALM_SECONDS[0], seconds / 4)
    return begin, max(begin, seconds - CALM_SECONDS[1])


def _kills_of_each(seconds: float) -> int:
    least = SEVERAL + 1 if seconds >= LONG_ENOUGH_SECONDS else 1
    return max(least, math.ceil(seconds / SECONDS_PER_KILL))


def _spread(begin: float, end: float, count: int, dice: Random) -> Iterable[float]:
    """So many moments, one somewhere in each of as many equal parts of the span."""
    part = (end - begin) / max(1, count)
    return [begin + part * (index + dice.random()) for index in range(count)]


async def unleash(hall: VirtualHall, seconds: float | None, seed: int) -> None:
    """Strike until ``seconds`` are over; for ever, one round's plan after another, for ``None``.

    Faults that it leaves behind are ended by ``VirtualHall.close_doors``.
    """
    dice = dice_of(seed * 31 + 5)
    loop = asyncio.get_running_loop()
    while True:
        began = loop.time()
        for strike in plan(seconds or ROUND_SECONDS, hall.fittings.cables, dice):
            await asyncio.sleep(max(0.0, began + strike.at - loop.time()))
            for action in strike.actions:
                if action["do"] == "kill":
                    await hall.programs[action["program"]].lives(ALIVE_WITHIN_SECONDS)
                with suppress(BadAction):  # a cable of a printer that is off
                    hall.perform(action)
        if seconds is not None:
            return
