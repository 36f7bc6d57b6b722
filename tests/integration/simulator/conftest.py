"""Waiting for what a virtual device sees, without sleeping and hoping."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from simulator.devices.device import Observed

Until = Callable[[Observed, Callable[[], bool]], Awaitable[None]]


@pytest.fixture
def until() -> Until:
    async def wait(device: Observed, condition: Callable[[], bool]) -> None:
        """Return when ``condition`` holds; it is looked at whenever ``device`` changes."""
        changed = asyncio.Event()
        device.on_change(changed.set)
        async with asyncio.timeout(20):
            while not condition():
                await changed.wait()
                changed.clear()

    return wait
