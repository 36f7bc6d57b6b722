"""A journal whose process is killed with SIGKILL: what was acknowledged is there, without a gap."""

import asyncio
import random
import sys
from pathlib import Path

from edge.journal import Journal
from edge.journal.database import check_all
from tests.support.hall_events import HALL, epochs, life

ROOT = Path(__file__).parents[3]
KILLS = 12


async def test_a_killed_process_loses_nothing_that_it_said_was_durable(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    chance = random.Random(7)
    epoch = None
    for _ in range(KILLS):
        acknowledged = await _append_until_killed(path, lines=chance.randrange(1, 120))
        journal = await Journal.open(path, hall=HALL, new_epoch=epochs())
        try:
            assert journal.head >= acknowledged > 0
            assert epoch in {None, journal.epoch}
            epoch = journal.epoch
            events = [event async for _, event in journal.events_since(0)]
            assert len(events) == journal.head
            for position, event in enumerate(events):
                assert event == life(position // 6)[position % 6]
            snapshot = await journal.load_snapshot()
            assert snapshot is None or str(snapshot.position) == snapshot.state
        finally:
            await journal.close()
    assert check_all(path) == []


async def _append_until_killed(path: Path, lines: int) -> int:
    """Run the child until it has acknowledged some more; returns the last that it told of."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.integration.edge.journal_child",
        str(path),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stdout is not None
    acknowledged = 0
    try:
        async with asyncio.timeout(60):
            for _ in range(lines):
                acknowledged = int(await child.stdout.readline())
    finally:
        child.kill()
        rest, _ = await child.communicate()
    told = rest.split(b"\n")[:-1]  # what it had said before it died; a cut line was not said
    return int(told[-1]) if told else acknowledged
