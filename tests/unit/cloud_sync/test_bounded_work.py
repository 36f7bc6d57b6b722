"""What one event costs the centre does not depend on what else is kept of its hall."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cloud_sync.reading import (
    MAX_TICKET_EVENT_LETTERS,
    Received,
    parse_body,
    read_events,
)
from cloud_sync.store import sqlite
from cloud_sync.store.sqlite import MAX_EVENTS_OF_A_TICKET, TICKETS_FOLDED_AT_ONCE, SqliteStore
from contract import events as ev
from contract.envelope import to_json
from tests.support.hall_day import EPOCH, OTHER_EPOCH, HallDay, ticket_id
from tests.support.work import work_of

NOW = "2026-03-02T00:00:00+00:00"
CALLED = next(each for each in HallDay(1).whole(4) if isinstance(each, ev.TicketCalled))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = await SqliteStore.open(tmp_path / "centre.db")
    yield opened
    await opened.close()


def calls(
    seqs: range, *, hall: str = "hall-a", epoch: str = EPOCH, ticket: str = CALLED.ticket
) -> list[Received]:
    """One call of this ticket after the other."""
    event = CALLED.model_copy(update={"ticket": ticket})
    return [
        read
        for seq in seqs
        for read in read_events(
            f"halls/{hall}/v1/events",
            to_json(event, hall=hall, epoch=epoch, seq=seq).encode(),
        ).events
    ]


def of_other_epochs(numbers: range) -> list[Received]:
    """One call of another ticket in each of so many epochs."""
    return [
        event
        for number in numbers
        for event in calls(range(1, 2), epoch=ticket_id(number), ticket=ticket_id(number, 1))
    ]


def of_other_tickets(seqs: range) -> list[Received]:
    return [each for n in seqs for each in calls(range(n, n + 1), ticket=ticket_id(n, 2))]


async def test_a_hall_of_many_epochs_costs_no_more_than_one_of_few(store: SqliteStore) -> None:
    await store.commit(of_other_epochs(range(10)), [], NOW)
    few = await work_of(store._db, store.commit(of_other_tickets(range(1, 101)), [], NOW))
    await store.commit(of_other_epochs(range(10, 2_000)), [], NOW)
    many = await work_of(store._db, store.commit(of_other_tickets(range(101, 201)), [], NOW))
    assert many < 1.2 * few


async def work_at_the_bound(store: SqliteStore) -> int:
    """Of one more event of a ticket that has just as many as have a meaning."""
    bound = MAX_EVENTS_OF_A_TICKET
    await store.commit(calls(range(1, bound + 1)), [], NOW)
    return await work_of(store._db, store.commit(calls(range(bound + 1, bound + 2)), [], NOW))


async def test_a_ticket_of_many_events_costs_no_more_than_one_at_its_bound(
    store: SqliteStore,
) -> None:
    bound = MAX_EVENTS_OF_A_TICKET
    at_the_bound = await work_at_the_bound(store)
    await store.commit(calls(range(bound + 2, 10 * bound)), [], NOW)
    far_beyond = await work_of(
        store._db, store.commit(calls(range(10 * bound, 10 * bound + 1)), [], NOW)
    )
    assert far_beyond < 1.2 * at_the_bound


async def test_a_ticket_of_many_events_in_many_epochs_costs_little_more_than_one_at_its_bound(
    store: SqliteStore,
) -> None:
    bound = MAX_EVENTS_OF_A_TICKET
    at_the_bound = await work_at_the_bound(store)
    for number in range(20):
        await store.commit(calls(range(1, bound), epoch=ticket_id(number)), [], NOW)
    far_beyond = await work_of(store._db, store.commit(calls(range(bound + 2, bound + 3)), [], NOW))
    assert far_beyond < 2 * at_the_bound


async def test_many_long_tickets_at_once_leave_the_others_their_turn(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Acknowledgements, heartbeats and the watchdog wait for the event loop."""
    tickets, bound = 100, MAX_EVENTS_OF_A_TICKET
    for number in range(bound):
        first = number * tickets + 1
        group = [
            each
            for n in range(tickets)
            for each in calls(range(first + n, first + n + 1), ticket=ticket_id(n, 3))
        ]
        if number < bound - 1:
            await store.commit(group, [], NOW)
    parsed, most_at_once = 0, 0

    def counted(kind: str, body: str) -> ev.HallEvent | None:
        nonlocal parsed, most_at_once
        parsed += 1
        most_at_once = max(most_at_once, parsed)
        return parse_body(kind, body)

    async def another() -> None:
        nonlocal parsed
        while True:
            parsed = 0
            await asyncio.sleep(0)

    monkeypatch.setattr(sqlite, "parse_body", counted)
    other = asyncio.create_task(another())
    await store.commit(group, [], NOW)
    other.cancel()
    assert 0 < most_at_once <= TICKETS_FOLDED_AT_ONCE * bound


def padded(event: Received, separator: str) -> Received:
    """The same event with a field that nobody needs, of 150 kB."""
    filler = f'"data":{{"x":[{separator.join(["[]"] * 50_000)}],'
    text = event.body.replace('"data":{', filler)
    return read_events("halls/hall-a/v1/events", text.encode()).events[0]


async def test_large_events_are_not_parsed_by_who_sends_small_ones_to_their_places(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small message must not make the centre read large ones, however often it is sent."""
    small = calls(range(1, 21))
    large = [padded(each, ",") for each in small]
    in_other_letters = [padded(each, ", ") for each in small]
    await store.commit(large, [], NOW)

    class Unused:
        @staticmethod
        def loads(text: str) -> Any:
            raise AssertionError(f"{len(text)} letters were read")

    monkeypatch.setattr(sqlite, "json", Unused)
    again = await store.commit(large, [], NOW)
    assert not again.conflicts, "the same letters are the same event"
    for group in (small, small, in_other_letters):
        committed = await store.commit(group, [], NOW)
        assert len(committed.conflicts) == len(group)


async def test_large_events_of_a_ticket_have_no_meaning_and_are_not_read_again(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those that an earlier version kept as good ones."""
    large = [
        event
        for each in calls(range(1, 6))
        for event in read_events(
            "halls/hall-a/v1/events",
            each.body.replace('"data":{', f'"data":{{"x":"{"x" * 5_000}",').encode(),
        ).events
    ]
    assert all("larger than 4096 letters" in str(each.fault) for each in large)
    await store.commit(large, [], NOW)
    assert await store._all("SELECT calls FROM tickets") == []
    await store._db.execute("UPDATE events SET fault = NULL")
    longest = 0

    def measured(kind: str, body: str) -> ev.HallEvent | None:
        nonlocal longest
        longest = max(longest, len(body))
        return parse_body(kind, body)

    with monkeypatch.context() as patch:
        patch.setattr(sqlite, "parse_body", measured)
        await store.commit(calls(range(6, 8)), [], NOW)
    assert longest <= MAX_TICKET_EVENT_LETTERS
    assert await store._all("SELECT calls FROM tickets") == [(2,)]
    await store.rebuild()
    assert await store._all("SELECT calls FROM tickets") == [(2,)]


async def test_what_waits_behind_a_gap_costs_nothing_until_the_gap_is_filled(
    store: SqliteStore,
) -> None:
    def with_place(seq: int) -> list[Received]:
        return calls(range(seq, seq + 1), ticket=ticket_id(seq, 2))

    await store.commit([each for n in range(3, 23) for each in with_place(n)], [], NOW)
    few = await work_of(store._db, store.commit(with_place(23), [], NOW))
    await store.commit([each for n in range(24, 2_024) for each in with_place(n)], [], NOW)
    many = await work_of(store._db, store.commit(with_place(2_024), [], NOW))
    assert many < few + 10
    filled = await store.commit([*with_place(1), *with_place(2)], [], NOW)
    assert [each.contiguous for each in filled.positions] == [2_024]


async def test_what_another_hall_says_of_a_ticket_of_the_same_id_costs_this_one_nothing(
    store: SqliteStore,
) -> None:
    await store.commit(calls(range(1, 11), hall="hall-b"), [], NOW)
    few = await work_of(store._db, store.commit(calls(range(1, 2)), [], NOW))
    await store.commit(calls(range(11, 3_000), hall="hall-b"), [], NOW)
    many = await work_of(store._db, store.commit(calls(range(2, 3)), [], NOW))
    assert many < few + 10


async def test_what_another_hall_says_of_a_ticket_of_the_same_id_fills_no_bound_of_this_one(
    store: SqliteStore,
) -> None:
    bound = MAX_EVENTS_OF_A_TICKET
    await store.commit(calls(range(1, bound + 1), hall="hall-b"), [], NOW)
    await store.commit(calls(range(1, bound + 1), hall="hall-b", epoch=OTHER_EPOCH), [], NOW)
    await store.commit(calls(range(1, 11)), [], NOW)
    await store.commit(calls(range(1, 11), epoch=OTHER_EPOCH), [], NOW)
    query = "SELECT name, calls FROM tickets JOIN halls ON halls.id = hall ORDER BY name"
    assert await store._all(query) == [("hall-a", 20), ("hall-b", bound)]


async def test_of_a_ticket_in_two_epochs_the_first_events_of_both_together_have_a_meaning(
    store: SqliteStore,
) -> None:
    bound = MAX_EVENTS_OF_A_TICKET
    first = calls(range(1, bound - 19))
    second = calls(range(1, bound), epoch=OTHER_EPOCH)
    await store.commit(first, [], NOW)
    await store.commit(second[:10], [], NOW)
    assert await store._all("SELECT calls FROM tickets") == [(bound - 10,)]
    await store.commit(second[10:], [], NOW)
    assert await store._all("SELECT calls FROM tickets") == [(bound,)]


async def test_faulty_events_of_a_ticket_fill_its_bound_too(store: SqliteStore) -> None:
    bound = MAX_EVENTS_OF_A_TICKET
    good = calls(range(1, bound + 1))
    bad = [
        read_events(
            "halls/hall-a/v1/events", each.body.replace('"monotonic":', '"monotone":').encode()
        ).events[0]
        for each in good[: bound - 10]
    ]
    assert all(each.fault and each.subject == good[0].subject for each in bad)
    await store.commit([*bad, *good[bound - 10 :]], [], NOW)
    assert await store._all("SELECT calls FROM tickets") == [(10,)]
    await store.commit(calls(range(bound + 1, bound + 20)), [], NOW)
    assert await store._all("SELECT calls FROM tickets") == [(10,)]
