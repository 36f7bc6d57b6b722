"""Whether the demo can tell that its machine was too busy."""

import asyncio

from simulator.stalls import LOOK_SECONDS, Stalls
from tests.support.virtual_time import in_virtual_time


def test_what_is_late_by_half_a_tap_is_a_stall() -> None:
    stalls = Stalls()
    for late in (0.0, 0.039, 0.04, 0.31, 0.05):
        stalls.add(late)
    assert (stalls.count, stalls.longest_seconds) == (3, 0.31)
    assert "3 times, for up to 310 ms" in str(stalls)


@in_virtual_time
async def test_a_machine_with_processor_enough_has_none() -> None:
    stalls = Stalls()
    watching = asyncio.create_task(stalls.watch())
    await asyncio.sleep(100 * LOOK_SECONDS)
    watching.cancel()
    assert stalls.count == 0


async def test_what_keeps_the_event_loop_from_running_is_noticed() -> None:
    stalls = Stalls()
    watching = asyncio.create_task(stalls.watch())
    loop = asyncio.get_running_loop()
    for _ in range(3):
        await asyncio.sleep(2 * LOOK_SECONDS)
        until = loop.time() + 0.1
        while loop.time() < until:
            pass
    await asyncio.sleep(2 * LOOK_SECONDS)
    watching.cancel()
    assert stalls.count >= 3
    assert stalls.longest_seconds >= 0.04
