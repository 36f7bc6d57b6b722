"""All benchmarks, and the page that keeps them.

python -m bench                       everything, and writes docs/reference/benchmarks.md
python -m bench hall --quick          one part, small: prints its rows
"""

import argparse
import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from bench import commands, drain, hall, report
from bench.machine import describe
from bench.report import Row

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "benchmarks.md"


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    past_tickets: int
    seconds: float
    """Of each measurement of commands per second."""
    rounds: int
    windows: tuple[int, ...]
    presses: int
    press_seconds: float
    """At most, for the presses of one hall."""
    past_events: int
    starts: int
    backlog: int


FULL = Size(
    past_tickets=500_000,
    seconds=5.0,
    rounds=4,
    windows=(6, 40),
    presses=300,
    press_seconds=120.0,
    past_events=1_000_000,
    starts=5,
    backlog=100_000,
)
QUICK = Size(
    past_tickets=5_000,
    seconds=0.5,
    rounds=2,
    windows=(2,),
    presses=10,
    press_seconds=60.0,
    past_events=20_000,
    starts=1,
    backlog=5_000,
)
DRAIN_WITHIN_SECONDS = 180.0


async def measure_commands(disk: Path, size: Size) -> AsyncIterator[Row]:
    rates = await commands.measure_all(disk, (0, size.past_tickets), size.seconds, size.rounds)
    for row in report.command_rows(rates):
        yield row


async def measure_hall(disk: Path, size: Size) -> AsyncIterator[Row]:
    for windows in size.windows:
        figures = await hall.measure(disk, windows, size.presses, size.press_seconds)
        for row in report.hall_rows(figures):
            yield row
    for past_events in (0, size.past_events):
        yield report.start_row(await hall.measure_start(disk, past_events, size.starts))


async def measure_drain(disk: Path, size: Size) -> AsyncIterator[Row]:
    for row in report.drain_rows(await drain.measure(disk, size.backlog, DRAIN_WITHIN_SECONDS)):
        yield row


PARTS = {"commands": measure_commands, "hall": measure_hall, "drain": measure_drain}


async def run(parts: list[str], disk: Path, size: Size) -> list[Row]:
    """Measure, saying each row as it comes."""
    rows = []
    for part in parts:
        print(f"-- {part}", flush=True)
        async for row in PARTS[part](disk, size):
            print(row, flush=True)
            rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Measure what docs/reference/benchmarks.md says."
    )
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"any of: {', '.join(PARTS)} (default: all)"
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it works")
    parser.add_argument(
        "--dir", type=Path, default=Path(), help="a folder on the disk in question (default: .)"
    )
    options = parser.parse_args()
    unknown = [part for part in options.parts if part not in PARTS]
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}; there are: {', '.join(PARTS)}")
    disk = options.dir.resolve()
    machine = describe(disk)
    print(report.on(machine), flush=True)
    parts = options.parts or list(PARTS)
    rows = asyncio.run(run(parts, disk, QUICK if options.quick else FULL))
    if parts == list(PARTS) and not options.quick:
        PAGE.write_text(report.page(machine, rows), encoding="utf-8")
        print(f"written: {PAGE.relative_to(PAGE.parent.parent.parent)}")


if __name__ == "__main__":
    main()
