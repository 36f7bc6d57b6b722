"""Presses of one keypad: each is answered by a lamp, whatever happens behind it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from contract.commands import Refusal, RefusalReason
from edge.stations.presses import MAX_WAITING, Handler, Outcome, Presses
from tests.support.devices import MemoryKeypad


@asynccontextmanager
async def answering(handler: Handler) -> AsyncIterator[tuple[MemoryKeypad, Presses]]:
    keypad = MemoryKeypad()
    presses = Presses(keypad, handler)
    running = asyncio.create_task(presses.run())
    try:
        async with asyncio.timeout(20):
            yield keypad, presses
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_bug_is_answered_by_refused_and_the_next_press_is_served(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def handler(key: str) -> Outcome:
        if key == "broken":
            raise ZeroDivisionError("a bug")
        return ()

    async with answering(handler) as (keypad, presses):
        assert await keypad.press_and_see("broken") == "refused"
        assert await keypad.press_and_see("whole") == "accepted"
        assert (presses.pressed, presses.refused) == (2, 1)
    assert "the press of broken failed" in caplog.text


async def test_what_the_rules_refuse_is_counted_and_answered_by_refused() -> None:
    async def handler(key: str) -> Outcome:
        return Refusal(reason=RefusalReason.NOBODY_WAITING, command=key)

    async with answering(handler) as (keypad, presses):
        assert await keypad.press_and_see("call_next") == "refused"
        assert presses.refused == 1


async def test_presses_beyond_the_bound_are_refused_at_once_and_the_others_in_their_turn() -> None:
    gate = asyncio.Event()
    served: list[str] = []

    async def handler(key: str) -> Outcome:
        await gate.wait()
        served.append(key)
        return ()

    async with answering(handler) as (keypad, presses):
        keypad.press("first")
        await asyncio.sleep(0)  # it is being served, and waits no more
        keys = [str(n) for n in range(MAX_WAITING + 3)]
        for key in keys:
            keypad.press(key)
        assert presses.refused == 3
        gate.set()
        while len(served) < 1 + MAX_WAITING:
            await asyncio.sleep(0)
        assert served == ["first", *keys[:MAX_WAITING]]
