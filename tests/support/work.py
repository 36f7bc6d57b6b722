"""How much SQLite does for something: a number that is the same on every machine."""

from collections.abc import Awaitable

import aiosqlite

_STEPS = 100


async def work_of(connection: aiosqlite.Connection, what: Awaitable[object]) -> int:
    """Steps of SQLite's own machine on this connection, in hundreds, until ``what`` is done."""
    count = 0

    def step() -> int:
        nonlocal count
        count += 1
        return 0

    await connection.set_progress_handler(step, _STEPS)
    try:
        await what
    finally:
        await connection.set_progress_handler(step, 0)  # 0: no more
    return count
