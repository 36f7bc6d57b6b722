"""Appends tickets' lives for ever and says which position is durable. To be killed."""

import asyncio
import sys
from pathlib import Path

from edge.journal import Journal
from tests.support.hall_events import HALL, epochs, life


async def main(path: Path) -> None:
    journal = await Journal.open(path, hall=HALL, new_epoch=epochs())
    while True:
        # A ticket's six events are three appends of one, two and three events.
        n, done = divmod(journal.position, 6)
        events = life(n)[done:]
        while events:
            group, events = events[: 1 + len(events) % 3], events[1 + len(events) % 3 :]
            position = await journal.append(group)
            sys.stdout.write(f"{position}\n")
            sys.stdout.flush()
        if n % 10 == 0:
            await journal.save_snapshot(journal.position, str(journal.position))
            await journal.save_acked(journal.head)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
