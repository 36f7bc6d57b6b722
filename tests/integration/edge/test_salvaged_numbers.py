"""A hall that goes on with a salvaged journal: no number of the day comes twice."""

import asyncio
import sqlite3
import tempfile
from collections.abc import Sequence
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from contract.commands import CloseDay, IssueTicket, OpenDay
from contract.events import NumberRun, NumbersLeftOut, TicketIssued
from contract.names import HallPhase
from edge import snapshot
from edge.bootstrap import restore
from edge.journal import Journal
from edge.journal.journal import snapshot_sum
from edge.journal.salvage import Salvage, salvage
from edge.queue.apply import apply
from edge.queue.day import due
from edge.queue.state import HallState
from tests.support.hall import MONDAY, Hall, make_plan, ulid
from tests.support.hall_events import HALL, epochs

PLAN = make_plan({1: "ab"})
Numbers = set[tuple[date, str]]


def a_day(services: str) -> Hall:
    """A hall on Monday, and its customers by their services; ``|`` is a night."""
    hall = Hall(PLAN)
    for service in services:
        if service == "|":
            hall.pass_time(86_400)
            hall.do(CloseDay())
            hall.do(OpenDay(business_day=hall.now.wall.date()))
        else:
            hall.take_number(service)
    return hall


def numbers_of(hall: Hall) -> Numbers:
    return {
        (event.business_day, event.number)
        for event in hall.events
        if isinstance(event, TicketIssued)
    }


async def written(path: Path, hall: Hall, saved: bool = False) -> None:
    journal = await Journal.open(path, hall=HALL, new_epoch=epochs())
    try:
        await journal.append(hall.events)
        if saved:
            await journal.save_snapshot(journal.position, snapshot.to_json(hall.state))
    finally:
        await journal.close()


def damage(path: Path, lost: Sequence[int], *, guard_too: bool) -> None:
    """Events are lost by their positions, and perhaps what the guard knew of their numbers."""
    with closing(sqlite3.connect(path)) as database, database:
        database.executemany("DELETE FROM events WHERE position = ?", [(n,) for n in lost])
        if guard_too:
            database.execute("DROP TABLE numbers")


def rescued(path: Path) -> Salvage:
    result = salvage(path, path.with_name("new.db"), new_epoch=lambda: ulid(2001))
    path.with_name("new.db").rename(path)
    return result


async def going_on(path: Path, hall: Hall) -> None:
    """The same hall, with what is known after a start."""
    journal = await Journal.open(path, hall=HALL, new_epoch=epochs())
    try:
        hall.state, _ = await restore(journal)
    finally:
        await journal.close()
    hall.events = []
    for command in due(hall.plan, hall.state, hall.now):
        hall.do(command)
    assert hall.state.phase is HallPhase.OPEN


async def append_new(path: Path, hall: Hall) -> None:
    """The guard lets all of it pass."""
    journal = await Journal.open(path, hall=HALL, new_epoch=epochs())
    try:
        await journal.append(hall.events)
    finally:
        await journal.close()


def position_of(hall: Hall, number: str, kind: str) -> int:
    (position,) = (
        place
        for place, event in enumerate(hall.events, start=1)
        if event.type == f"hall.ticket.{kind}.v1" and getattr(event, "number", "") == number
    )
    return position


async def test_a_lost_event_brings_no_number_back(tmp_path: Path) -> None:
    path, hall = tmp_path / "journal.db", a_day("aaa")
    await written(path, hall)
    damage(path, [position_of(hall, "A002", "printed")], guard_too=False)
    result = rescued(path)
    assert not result.continues
    assert result.left_out is None
    assert "Every number that was issued is known" in str(result)
    await going_on(path, hall)
    assert hall.ticket(hall.take_number("a")).number == "A004"
    await append_new(path, hall)


async def test_numbers_that_an_old_copy_left_out_are_not_given_after_a_salvage(
    tmp_path: Path,
) -> None:
    path, hall = tmp_path / "journal.db", a_day("a")
    day = hall.state.business_day
    assert day is not None
    runs = (NumberRun(prefix="A", first=2, last=351),)
    hall.events.append(NumbersLeftOut(at=hall.now, business_day=day, runs=runs))
    hall.state = apply(hall.state, hall.events[-1])
    await written(path, hall)
    damage(path, [position_of(hall, "A001", "printed")], guard_too=False)
    assert not rescued(path).continues, "the state is not known, and the events are not replayed"
    await going_on(path, hall)
    assert hall.ticket(hall.take_number("a")).number == "A352"


async def test_where_the_guard_is_damaged_too_numbers_that_may_be_out_are_left_out(
    tmp_path: Path,
) -> None:
    path, hall = tmp_path / "journal.db", a_day("aaab")
    await written(path, hall)
    first = position_of(hall, "A003", "issued")
    damage(path, range(first, len(hall.events) + 1), guard_too=True)
    result = rescued(path)
    assert result.left_out is not None
    assert "On 2026-03-02 and 2026-03-03 the 50 numbers behind each" in str(result)
    assert "give the service more numbers" in str(result)
    await going_on(path, hall)
    assert hall.ticket(hall.take_number("a")).number == "A053"
    await append_new(path, hall)


async def test_as_many_numbers_are_left_out_as_lost_events_may_have_spent(tmp_path: Path) -> None:
    path, hall = tmp_path / "journal.db", a_day("a" * 201 + "b")
    await written(path, hall)
    first, behind = (position_of(hall, number, "issued") for number in ("A002", "B001"))
    damage(path, range(first, behind), guard_too=True)
    result = rescued(path)
    assert result.left_out is not None
    assert result.left_out.count == 50 + 200 * 3 // 2
    await going_on(path, hall)
    assert hall.ticket(hall.take_number("a")).number == "A352"


async def test_a_guard_that_does_not_know_what_was_found_is_not_trusted(tmp_path: Path) -> None:
    path, hall = tmp_path / "journal.db", a_day("aaa")
    await written(path, hall)
    damage(
        path, [position_of(hall, "A003", kind) for kind in ("issued", "printed")], guard_too=False
    )
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("DELETE FROM numbers")
    assert rescued(path).left_out is not None
    await going_on(path, hall)
    assert hall.ticket(hall.take_number("a")).number > "A003"


async def test_a_gap_of_long_ago_costs_todays_numbers_no_more_than_the_tail(
    tmp_path: Path,
) -> None:
    path, hall = tmp_path / "journal.db", a_day("a" * 100 + "|aa")
    await written(path, hall)
    damage(path, range(10, 302), guard_too=True)  # nearly all of Monday
    result = rescued(path)
    assert result.left_out is not None
    assert result.left_out.count == 50
    await going_on(path, hall)
    assert hall.ticket(hall.take_number("a")).number == "A053"


async def test_a_snapshot_of_an_older_version_does_not_lead_back_over_the_hole(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, hall = tmp_path / "journal.db", a_day("aaa")
    await written(path, hall)
    damage(path, [position_of(hall, "A002", "printed")], guard_too=False)
    rescued(path)
    await going_on(path, hall)
    for _ in range(3):
        hall.take_number("a")
        journal = await Journal.open(path, hall=HALL, new_epoch=epochs())
        try:
            position = await journal.append(hall.events)
            await journal.save_snapshot(position, snapshot.to_json(hall.state))
        finally:
            await journal.close()
        hall.events = []
    with closing(sqlite3.connect(path)) as database:
        states = database.execute("SELECT state FROM snapshots ORDER BY position").fetchall()
        assert [bool(state) for (state,) in states] == [False, True, True]
    with closing(sqlite3.connect(path)) as database, database:
        for position, state in database.execute(
            "SELECT position, state FROM snapshots WHERE state <> ''"
        ).fetchall():
            older = state.replace('"version":2', '"version":1')
            database.execute(
                "UPDATE snapshots SET state = ?, sha256 = ? WHERE position = ?",
                (older, snapshot_sum(position, older), position),
            )
    before = hall.state
    await going_on(path, hall)
    assert "snapshot of version 1" in caplog.text
    assert hall.state == before


@settings(max_examples=60, deadline=None)
@given(
    services=st.lists(st.sampled_from("aaab|"), min_size=1, max_size=25).map("".join),
    data=st.data(),
    nights=st.integers(0, 1),
)
def test_whatever_is_lost_no_number_comes_twice_on_a_day(
    services: str, data: st.DataObject, nights: int
) -> None:
    first = a_day("ab|")  # what prefixes there are must be known
    hall = a_day("ab|" + services)
    places = range(len(first.events) + 1, len(hall.events) + 1)
    if not places:
        return
    lost = data.draw(st.sets(st.sampled_from(places), max_size=12), label="lost")
    if data.draw(st.booleans(), label="the tail too"):
        lost |= set(range(data.draw(st.sampled_from(places), label="tail"), places.stop))
    days = [getattr(event, "business_day", MONDAY) for event in hall.events]
    found = [day for place, day in enumerate(days, start=1) if place not in lost]
    assume(max(found) >= max(days) - timedelta(days=1))  # of the days behind nothing is known
    guard_too, saved = data.draw(st.booleans()), data.draw(st.booleans())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.db"
        asyncio.run(_write_and_damage(path, hall, sorted(lost), guard_too, saved))
        hall.pass_time(nights * 86_400)
        asyncio.run(_nothing_comes_twice(path, hall))


async def _write_and_damage(
    path: Path, hall: Hall, lost: Sequence[int], guard_too: bool, saved: bool
) -> None:
    await written(path, hall, saved)
    damage(path, lost, guard_too=guard_too)
    rescued(path)


async def _nothing_comes_twice(path: Path, hall: Hall) -> None:
    before = numbers_of(hall)
    await going_on(path, hall)
    for service in "abab":
        hall.do(IssueTicket(ticket=ulid(1000 + len(hall.events)), service=service))
    assert not before & numbers_of(hall)
    await append_new(path, hall)


def test_what_is_known_of_other_days_is_kept() -> None:
    state = HallState().with_spent(MONDAY + timedelta(days=1), {"A": ((1, 2),)})
    assert snapshot.from_json(snapshot.to_json(state)) == state
