"""One run of the demo: put the hall up, let it live, let it come to rest, count."""

import asyncio
import os
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from simulator import chaos, layout, records, truth
from simulator.dashboard import live_document
from simulator.hall import DEVICES_NICENESS, HallOptions, VirtualHall
from simulator.records import Unreadable
from simulator.stalls import Stalls
from simulator.tasks import in_background
from simulator.truth import Evidence, Tickets, Verdict
from simulator.web import serve_pages

_T = TypeVar("_T")

SETTLE_SECONDS = 60.0
"""How long a hall may take to come to rest after the last press."""
LOOKS = 3
"""At hall and centre together: something may happen between the two."""
STILL_SECONDS = 1.0
STATUS_SECONDS = 1.0

Tell = Callable[[str], None]


class EndedEarly(Exception):
    """Somebody ended the demo before it had begun."""


@dataclass(frozen=True)
class DemoOptions:
    hall: HallOptions
    seconds: float | None = None
    """Real time; ``None``: until told to stop."""
    pages: bool = True
    port: int = 0
    """Of the virtual hall's page; 0: any that is free."""
    chaos: bool = False


async def run_demo(
    options: DemoOptions, stop: asyncio.Event, hurry: asyncio.Event, tell: Tell, status: Tell
) -> Verdict:
    """Run a whole demo. ``stop`` ends it early, ``hurry`` ends it at once.

    Raises ``ProgramFailed``, ``NoBroker`` or ``OSError`` when it can't begin, and ``EndedEarly``
    when it was ended before it had.
    """
    failures: list[str] = []
    asyncio.get_running_loop().set_exception_handler(_into(failures, tell))
    hall = VirtualHall(options.hall)
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, DEVICES_NICENESS)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(hall.stop)
        tell(f"broker: {hall.broker_plan.description}")
        await _start(hall, stop)
        tell(f"edge daemon ready: {hall.daemon.status}")
        await _show_addresses(options, hall, stack, tell)
        reporting = in_background(_report(hall, status), "the status line")
        stack.callback(reporting.cancel)
        stalls = Stalls()
        stack.callback(in_background(stalls.watch(), "the watch for stalls").cancel)
        began = asyncio.get_running_loop().time()
        await _live(options, hall, stop)
        lived = asyncio.get_running_loop().time() - began
        unrest = await _unless(hurry, _come_to_rest(hall))
        if unrest is None:
            failures.append("ended before the hall was at rest")
        else:
            failures += [f"not at rest within {SETTLE_SECONDS:g} s: {what}" for what in unrest]
        evidence = await _unless(hurry, _seen(hall)) or gather(hall)
        if evidence.live is None and unrest is not None:
            failures.append("dashboards see nothing of the hall")
        if options.chaos:
            evidence.kills_due = chaos.kills_due(lived, options.seconds)
        if hall.ledger.excused:
            tell(excused_line(hall.ledger.excused))
        if stalls.count and hall.ledger.unanswered:
            tell(str(stalls))
    ended = [failure for program in hall.programs.values() for failure in program.failures]
    evidence.failures = [*evidence.failures, *failures, *ended]
    return truth.judge(evidence)


def excused_line(presses: int) -> str:
    """Virtual people press again; whoever pressed by hand may not have: it says neither."""
    many = "1 press" if presses == 1 else f"{presses} presses"
    return f"{many} met a daemon or cable that was down: not counted as unanswered"


async def _start(hall: VirtualHall, stop: asyncio.Event) -> None:
    starting, stopping = asyncio.ensure_future(hall.start()), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            raise EndedEarly
        starting.result()
    finally:
        starting.cancel()
        stopping.cancel()
        await asyncio.gather(starting, stopping, return_exceptions=True)


async def _show_addresses(
    options: DemoOptions, hall: VirtualHall, stack: AsyncExitStack, tell: Tell
) -> None:
    if options.pages:
        address = await stack.enter_async_context(serve_pages(hall, options.port))
        tell(f"the virtual hall: {address}")
        tell(f"the centre:       {hall.centre_url}")


async def _live(options: DemoOptions, hall: VirtualHall, stop: asyncio.Event) -> None:
    """The morning, with or without chaos."""
    hall.perform({"do": "automatic", "on": True})
    striking = None
    if options.chaos:
        work = chaos.unleash(hall, options.seconds, options.hall.seed)
        striking = in_background(work, "the chaos")
    with suppress(TimeoutError):
        async with asyncio.timeout(options.seconds):
            await stop.wait()
    if striking is not None:
        striking.cancel()
        await asyncio.gather(striking, return_exceptions=True)


async def _come_to_rest(hall: VirtualHall) -> list[str]:
    """Faults are mended, people leave, what is under way ends: what is not at rest in the end."""
    loop = asyncio.get_running_loop()
    await hall.close_doors()
    until = loop.time() + SETTLE_SECONDS
    still_since, before = loop.time(), -1
    while True:
        events, unrest = await asyncio.to_thread(_unrest, hall)
        if unrest or events != before:
            still_since, before = loop.time(), events
        elif loop.time() - still_since >= STILL_SECONDS:
            return []
        if loop.time() > until:
            return unrest or ["events keep happening"]
        await asyncio.sleep(0.1)


def _unrest(hall: VirtualHall) -> tuple[int, list[str]]:
    """How many events there are, and what is still under way."""
    unrest = [f"the {name} is not ready" for name, p in hall.programs.items() if not p.ready]
    if hall.ledger.unsettled:
        unrest.append(f"{hall.ledger.unsettled} presses may still be answered")
    try:
        here, there = hall.count_events()
        printing = Tickets(records.read_journal(hall.places.journal)).in_state("printing")
    except Unreadable as error:
        return -1, [*unrest, str(error)]
    if here != there:
        unrest.append(f"the centre has {there} of {here} events")
    if printing:
        unrest.append(f"{printing} tickets are printing")
    return here, unrest


def gather(hall: VirtualHall) -> Evidence:
    """What was seen, while everything still runs. Unreadable files are failures, no exceptions."""
    ledger = hall.ledger
    evidence = Evidence(
        presses=ledger.presses,
        tally=ledger.tally,
        unanswered=[str(press) for press in ledger.unanswered],
        papers=list(ledger.papers),
        calls=list(ledger.calls),
        two_at_once=list(ledger.two_at_once),
        misdirected=list(ledger.misdirected),
        serving=set(ledger.serving),
        blind_windows={number: hall.blind_spans(number) for number in hall.fittings.windows},
        printing_troubles=hall.printing_troubles(),
        press_to_led_seconds=list(ledger.press_to_led_seconds),
        press_to_paper_seconds=list(ledger.press_to_paper_seconds),
        ordinary_seconds=hall.ordinary_seconds,
        ordinary_hall_seconds=hall.ordinary_hall_seconds,
        daemon_rss_bytes=hall.daemon.peak_rss_bytes,
        kills={name: program.kills for name, program in hall.programs.items()},
        broker=hall.broker_plan.kind,
    )
    try:
        evidence.journal = records.read_journal(hall.places.journal)
        evidence.centre = records.read_centre(hall.places.centre_database, layout.HALL)
        evidence.happened_at = {
            record.place: hall.timeline.loop_time(records.hall_time(record))
            for record in evidence.journal
            if record.word in {"issued", "called"}
        }
    except Unreadable as error:
        evidence.failures = [f"can't be read: {error}"]
    return evidence


async def _seen(hall: VirtualHall) -> Evidence:
    """What ``gather`` finds, and what a dashboard sees of just that: a customer who rates nothing
    is an event, too, whenever the evaluator stops asking."""
    live = None
    for _ in range(LOOKS):
        evidence = gather(hall)
        live = await live_document(hall.broker_plan, layout.HALL, len(evidence.journal))
        if live is None or live.events == len(evidence.journal):
            break
    evidence.live = live
    return evidence


async def _report(hall: VirtualHall, status: Tell) -> None:
    while True:
        hall.daemon.rss_bytes()
        status(await asyncio.to_thread(_status_line, hall))
        await asyncio.sleep(STATUS_SECONDS)


def people_line(people: Mapping[str, Any]) -> str:
    """Tickets wait too, also those that nobody virtual took."""
    return f"people in the hall {people['in_hall']}, people waiting {people['waiting']}"


def _status_line(hall: VirtualHall) -> str:
    figures, people = hall.figures(), hall.people.snapshot()
    try:
        here, there = hall.count_events()
    except Unreadable:
        here = there = 0
    kills = figures["kills"]
    down = [name for name, program in hall.programs.items() if not program.ready]
    return (
        f"{hall.now():%H:%M:%S}  {people_line(people)}  "
        f"presses {figures['presses']} ({figures['presses_unanswered']} unanswered)  "
        f"papers {figures['papers']}  calls {figures['calls']}  "
        f"events {here} ({here - there} on their way)"
        + (f"  kills {sum(kills.values())}" if any(kills.values()) else "")
        + (f"  down: {', '.join(down)}" if down else "")
    )


def _into(
    failures: list[str], tell: Tell
) -> Callable[[asyncio.AbstractEventLoop, Mapping[str, Any]], None]:
    """What fails in the background fails the run, loudly."""

    def handler(loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:  # noqa: ARG001
        error = context.get("exception")
        text = f"{context.get('message')}: {error!r}" if error else str(context.get("message"))
        failures.append(text)
        tell(text)

    return handler


async def _unless(hurry: asyncio.Event, work: Coroutine[Any, Any, _T]) -> _T | None:
    """What ``work`` returns; ``None`` where it is given up, as there is a hurry."""
    working, hurrying = asyncio.ensure_future(work), asyncio.ensure_future(hurry.wait())
    try:
        await asyncio.wait((working, hurrying), return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        working.cancel()
        hurrying.cancel()
        await asyncio.gather(working, hurrying, return_exceptions=True)
