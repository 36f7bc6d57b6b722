"""The rows of docs/reference/benchmarks.md, and the page around them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.commands import Rates
from bench.drain import Drain
from bench.hall import HallFigures, StartFigures
from bench.machine import Machine


@dataclass(frozen=True)
class Row:
    what: str
    where: str
    """Under which circumstances."""
    figure: str
    limit: str = ""
    met: bool | None = None
    """``None``: there is no limit."""

    def __str__(self) -> str:
        met = "" if self.met is None else "yes" if self.met else "**no**"
        return f"| {self.what} | {self.where} | {self.figure} | {self.limit} | {met} |"


def command_rows(rates: Rates) -> Iterable[Row]:
    found = rates.found
    fewest = min(throughput.past_tickets for throughput in found)
    first = {each.callers: each.per_second for each in found if each.past_tickets == fewest}
    for each in found:
        yield Row(
            "durable commands/s",
            f"{_callers(each.callers)}, {each.past_tickets:,} past tickets",
            f"{each.per_second:,.0f}",
            "≥ 2,000",
            each.per_second >= 2_000,
        )
    yield Row(
        "commits/s of SQLite alone",
        "one thread, one event in each",
        f"{rates.bare_per_second:,.0f}",
    )
    for each in found:
        yield Row(
            "the same, against SQLite alone",
            f"{_callers(each.callers)}, {each.past_tickets:,} past tickets",
            f"{each.per_second / rates.bare_per_second:.0%}",
        )
    for each in found:
        if each.past_tickets > fewest:
            change = each.per_second / first[each.callers] - 1
            yield Row(
                "the same, against no past",
                f"{_callers(each.callers)}, {each.past_tickets:,} past tickets",
                f"{change:+.0%}",
                "within 20 %",
                change >= -0.2,
            )


def hall_rows(figures: HallFigures) -> Iterable[Row]:
    latencies = figures.latencies
    windows = f"{figures.windows} windows"
    buses = "1 bus" if figures.buses == 1 else f"{figures.buses} buses"
    without_bus = f"{windows}, {len(latencies.led)} presses"
    worst = percentile(latencies.led_without_bus, 0.99)
    yield Row(
        "press → LED bytes, bus wait out",
        without_bus,
        _milliseconds(latencies.led_without_bus),
        "p99 ≤ 20 ms",
        worst <= 0.020,
    )
    yield Row("press → LED bytes", f"{windows} on {buses}", _milliseconds(latencies.led))
    yield Row(
        "press → last ticket byte",
        f"{windows}, {len(latencies.paper)} presses",
        _milliseconds(latencies.paper),
    )
    yield Row(
        "presses that were not answered", windows, str(latencies.unanswered), "0",
        latencies.unanswered == 0,
    )  # fmt: skip
    yield Row(
        "resident memory of the controller",
        f"{windows}, after that",
        f"{figures.rss_bytes / 1e6:.0f} MB",
        "≤ 60 MB",
        figures.rss_bytes <= 60e6,
    )


def start_row(figures: StartFigures) -> Row:
    past = f"{figures.past_events:,} past events" if figures.past_events else "empty journal"
    limit = 1.0 if figures.past_events else 2.0
    return Row(
        "start, exec → ready",
        f"6 windows, {past}",
        f"{figures.seconds:.2f} s",
        f"≤ {limit:g} s",
        figures.seconds <= limit,
    )


def drain_rows(drain: Drain) -> Iterable[Row]:
    yield Row(
        "drain of a backlog to the centre",
        f"{drain.events:,} events, {drain.broker}",
        f"{drain.per_second:,.0f} events/s",
        "≥ 3,000 events/s",
        drain.per_second >= 3_000,
    )
    if drain.live_seconds:
        yield Row(
            "press → the centre's table, past that backlog",
            f"{len(drain.live_seconds)} presses, {drain.backlog_left:,} events left at the last",
            f"p50 {drain.live_median_seconds * 1000:.0f} ms, "
            f"worst {max(drain.live_seconds) * 1000:.0f} ms",
        )


def percentile(seconds: Sequence[float], share: float) -> float:
    """By nearest rank; infinite where there is nothing: no press was ever answered."""
    if not seconds:
        return float("inf")
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def _milliseconds(seconds: Sequence[float]) -> str:
    p50, p99 = (percentile(seconds, share) * 1000 for share in (0.5, 0.99))
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms"


def _callers(count: int) -> str:
    return "1 caller" if count == 1 else f"{count} callers"


HEAD = "| what | where | figure | limit | met |\n|---|---|---|---|---|"

PEERS = """\
| queue manager | tickets/s | calls/s | two clerks who call together | screens learn of a call |
|---|---|---|---|---|
| Now Serving | see above: one press is one durable command | | each ticket called once | pushed |
| open queue manager 1 | 430 | 405, not durable | 80 of 100 tickets called twice | polled, 2 s |
| open queue manager 2 | 34 | 127 | | polled, 3 s |"""

NOTES = """\
- All of it ran on one machine: controller, broker, centre, and the program that simulates every
  device and takes the times. What they take of each other's processor is in the figures.
- *Durable*: SQLite in WAL with `synchronous=FULL`; a command is answered when `fdatasync` has
  returned. One caller waits for that and for the way to the database's thread and back; 32 callers
  share both. The best of several rounds is shown: whatever else the machine does slows it down.
- *One caller* is bound by latency, and that by how fast the machine is in that minute: on a shared
  virtual machine of two cores the same code gave 920 to 2,480 commands/s within a week. What such a
  disk allows at most stands beside it: *SQLite alone*, one thread that commits one event after the
  other and does nothing else. The rest is the way to the database's thread and back, and deciding.
  Another event loop (uvloop) was tried and changes little; with all of it on one core, which saves
  the waking of another, one caller does about a seventh more, and a busy core would hold both up.
  32 callers share all of it, and show the throughput.
- *Press → LED* runs from the level change of a caller's key to the last byte of the frame that
  shows the number; *bus wait out*, from the answer to the poll in which the key was seen. The
  RS-485 lines are ptys paced to 115,200 baud, six windows (twelve units) on each; a poll cycle
  there is longer than on a real wire, because timers of the simulation round up to milliseconds.
- *Press → last ticket byte* contains the 20 ms for which a button must be stable. Paper moves
  endlessly fast here; a real printer adds its own time.
- A press that is not answered is one of which nothing came within five seconds.
- *Drain* counts from the centre's first ack to its last; all events are in its table by then.
- The figures of the two queue managers were measured on a machine of this size, not in this run."""


def on(machine: Machine) -> str:
    """The machine, in a sentence."""
    return f"""\
{machine.cpu}, {machine.cores} cores, {machine.memory_gib:.0f} GiB of memory; `fdatasync` of a page
takes {machine.fdatasync_ms:.2f} ms (p99 {machine.fdatasync_p99_ms:.2f} ms); {machine.system},
Python {machine.python}; {machine.date}; load average {machine.load:.1f} before the start."""


def page(machine: Machine, rows: Sequence[Row]) -> str:
    table = "\n".join(str(row) for row in rows)
    return f"""\
# Benchmarks

Made by `make bench`. What each figure means, and what it does not say, stands below the tables.

{on(machine)}

{HEAD}
{table}

## Beside others

{PEERS}

## Notes

{NOTES}
"""
