"""What is derived does not depend on the order of arrival."""

import asyncio
import json
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from datetime import date
from importlib import resources
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud_sync.reading import DeadLetter, Received, read_events
from cloud_sync.store import Position, sqlite
from cloud_sync.store.errors import SchemaTooNew, StoreError, StoreLocked
from cloud_sync.store.sqlite import MAX_DEAD_LETTERS, SqliteStore
from contract import events as ev
from contract.names import CancelReason, DeviceStatus, Moment, WindowState
from tests.support.hall_day import EPOCH, OPENING, OTHER_EPOCH, HallDay, envelopes

NOW = "2026-03-02T00:00:00+00:00"


def received(events: list[ev.HallEvent], hall: str = "hall-a", **where: Any) -> list[Received]:
    kept: list[Received] = []
    for text in envelopes(events, hall, **where):
        reading = read_events(f"halls/{hall}/v1/events", text.encode())
        assert not reading.dead_letters
        kept += reading.events
    return kept


def derived(path: Path) -> dict[str, list[Any]]:
    """All tables that are derived, and how far the streams are."""
    connection = sqlite3.connect(path)
    try:
        tables = ("tickets", "windows", "devices", "days", "streams")
        return {name: sorted(connection.execute(f"SELECT * FROM {name}")) for name in tables}
    finally:
        connection.close()


async def store_of(path: Path, groups: Sequence[Sequence[Received]]) -> dict[str, list[Any]]:
    store = await SqliteStore.open(path)
    try:
        for group in groups:
            await store.commit(group, [], NOW)
    finally:
        await store.close()
    return derived(path)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(1, 12))
def test_any_order_with_any_duplicates_gives_the_same_tables(
    seed: int, group_size: int, tickets: int
) -> None:
    random = Random(seed)
    events = received(HallDay(seed).whole(tickets))
    newer = received(HallDay(seed + 1).whole(tickets), epoch=OTHER_EPOCH)
    both = events + newer
    # The order in which the streams are first heard of is a fact of its own: keep it.
    shuffled = [events[0], newer[0], *random.sample(both, len(both)), *random.choices(both, k=20)]
    groups = [shuffled[at : at + group_size] for at in range(0, len(shuffled), group_size)]
    with tempfile.TemporaryDirectory() as folder:
        straight = asyncio.run(store_of(Path(folder, "a.db"), [events, newer]))
        mixed = asyncio.run(store_of(Path(folder, "b.db"), groups))
    assert mixed == straight


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32), st.data())
def test_a_rebuild_gives_the_same_tables(seed: int, data: st.DataObject) -> None:
    events = received(HallDay(seed).whole(10))
    some = data.draw(st.lists(st.sampled_from(events), unique_by=lambda each: each.seq))

    async def rebuilt(path: Path) -> tuple[dict[str, list[Any]], int]:
        before = await store_of(path, [some[:7], some[7:]])
        store = await SqliteStore.open(path)
        try:
            count = await store.rebuild()
        finally:
            await store.close()
        assert derived(path) == before
        return before, count

    with tempfile.TemporaryDirectory() as folder:
        _, count = asyncio.run(rebuilt(Path(folder, "a.db")))
    assert count == len(some)


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE tickets SET ticket = 'of no event ' || ticket",
        "UPDATE windows SET state = 'of a later event', seq = seq + 1000",
        "UPDATE devices SET status = 'of a later event', seq = seq + 1000",
        "UPDATE days SET phase = 'of a later event', seq = seq + 1000",
    ],
)
async def test_a_rebuild_leaves_nothing_of_what_was_derived_before(
    tmp_path: Path, tampering: str
) -> None:
    path = tmp_path / "centre.db"
    before = await store_of(path, [received(HallDay(1).whole(3))])
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        assert connection.execute(tampering).rowcount > 0
    store = await SqliteStore.open(path)
    try:
        await store.rebuild()
    finally:
        await store.close()
    assert derived(path) == before


@pytest.fixture
async def store(tmp_path: Path) -> Any:
    opened = await SqliteStore.open(tmp_path / "centre.db")
    yield opened
    await opened.close()


async def test_the_position_is_the_end_of_what_has_no_gap(store: SqliteStore) -> None:
    events = received(HallDay(1).whole(3))
    result = await store.commit([*events[:3], *events[5:8]], [], NOW)
    assert result.positions == (Position("hall-a", EPOCH, 3, 8),)
    assert (result.inserted, result.duplicates) == (6, 0)
    result = await store.commit(events[2:5], [], NOW)
    assert result.positions == (Position("hall-a", EPOCH, 8, 8),)
    assert (result.inserted, result.duplicates) == (2, 1)


async def test_only_duplicates_are_answered_too(store: SqliteStore) -> None:
    events = received(HallDay(1).whole(3))
    await store.commit(events, [], NOW)
    again = await store.commit(events[:4], [], NOW)
    assert again.positions == (Position("hall-a", EPOCH, len(events), len(events)),)
    assert (again.inserted, again.duplicates) == (0, 4)


async def dead_letters(store: SqliteStore) -> list[tuple[str, str, bytes]]:
    query = "SELECT topic, reason, payload FROM dead_letters ORDER BY id"
    return [tuple(row) for row in await store._db.execute_fetchall(query)]


async def test_another_event_for_a_place_that_is_taken_is_kept_aside(store: SqliteStore) -> None:
    """A journal that was restored from an old copy, and worked on without a network."""
    events = received(HallDay(1).whole(5))
    await store.commit(events, [], NOW)
    before = await store.facts("hall-a")
    other = received([*HallDay(1).whole(2), *HallDay(1).close()], first_seq=1)
    changed = [each for each in other if each.body != events[each.seq - 1].body]
    assert changed
    result = await store.commit(other, [], NOW)
    assert result.conflicts == tuple(changed)
    assert (result.inserted, result.duplicates) == (0, len(other) - len(changed))
    assert result.positions == (Position("hall-a", EPOCH, len(events), len(events)),)
    assert await store.facts("hall-a") == before
    assert await dead_letters(store) == [
        (
            "halls/hall-a/v1/events",
            f"another event is kept as {EPOCH}.{each.seq}",
            each.body.encode(),
        )
        for each in changed
    ]


async def test_two_events_for_one_place_in_one_group_are_a_conflict(store: SqliteStore) -> None:
    one, other = received(HallDay(1).whole(1))[0], received(HallDay(2).whole(1))[0]
    assert one.body != other.body
    result = await store.commit([one, other, one], [], NOW)
    assert (result.inserted, result.duplicates, result.conflicts) == (1, 1, (other,))


async def test_the_same_event_in_other_letters_is_a_duplicate(store: SqliteStore) -> None:
    text = envelopes(HallDay(1).whole(1), "hall-a")[0]
    texts = [text, json.dumps(json.loads(text), indent=1, sort_keys=True)]
    first, second = (read_events("halls/hall-a/v1/events", t.encode()).events[0] for t in texts)
    await store.commit([first], [], NOW)
    result = await store.commit([second], [], NOW)
    assert (result.inserted, result.duplicates, result.conflicts) == (0, 1, ())


async def test_another_large_event_of_the_same_length_is_a_conflict(store: SqliteStore) -> None:
    """It is acknowledged with its place: taken for a duplicate, it would be lost."""
    (event,) = received(HallDay(1).whole(1)[:1])
    filler = "x" * sqlite.COMPARED_AS_JSON
    kept, *others = (
        replace(event, body=f'{event.body[:-1]}, "more": "{more}"}}')
        for more in (filler, "y" + filler[1:], filler[1:] + "y")
    )
    assert len({len(each.body) for each in (kept, *others)}) == 1
    await store.commit([kept], [], NOW)
    result = await store.commit([*others, kept], [], NOW)
    assert (result.inserted, result.duplicates, result.conflicts) == (0, 1, tuple(others))
    assert [letter[2].decode() for letter in await dead_letters(store)] == [
        each.body for each in others
    ]


async def test_a_new_epoch_begins_at_one_and_the_old_events_stay(store: SqliteStore) -> None:
    old, new = HallDay(1).whole(5), HallDay(2).whole(2)
    await store.commit(received(old), [], NOW)
    result = await store.commit(received(new, epoch=OTHER_EPOCH), [], NOW)
    assert result.positions == (Position("hall-a", OTHER_EPOCH, len(new), len(new)),)
    assert await store.positions() == result.positions
    assert (await store.totals())[0] == len(old) + len(new)


async def test_a_faulty_event_occupies_its_place_and_means_nothing(store: SqliteStore) -> None:
    events = received(HallDay(1).whole(1))
    text = envelopes(HallDay(1).whole(1), "hall-a")[1].replace("2026-03-02", "someday")
    (faulty,) = read_events("halls/hall-a/v1/events", text.encode()).events
    assert faulty.fault
    result = await store.commit([events[0], faulty, *events[2:]], [], NOW)
    assert result.positions[0].contiguous == len(events)
    assert (await store.facts("hall-a")).day is None  # it was the one that opened the day
    await store.rebuild()
    assert (await store.facts("hall-a")).day is None


async def test_half_a_surrogate_pair_is_kept_like_anything_else(store: SqliteStore) -> None:
    text = '{"a": "\\ud800", "\\udfff": 1}'
    for topic, payload in (
        ("halls/hall-a/v1/events", envelopes(HallDay(1).whole(1), "hall-a")[0]),
        ("halls/hall-a/v1/backlog", f"[{envelopes(HallDay(1).whole(1), 'hall-a')[1]}, {text}]"),
    ):
        reading = read_events(topic, payload.replace('"version":"1"', f'"version":{text}').encode())
        await store.commit(reading.events, reading.dead_letters, NOW)
    assert await store.totals() == (2, 1)


async def test_one_halls_ticket_is_no_other_halls_ticket(store: SqliteStore) -> None:
    events = HallDay(1).whole(6)
    await store.commit(received(events, "hall-a"), [], NOW)
    before = await store.facts("hall-a")
    forged = [each for each in events if not isinstance(each, ev.TicketRated)]
    await store.commit(received(forged[:12], "hall-b"), [], NOW)
    assert await store.facts("hall-a") == before


async def test_a_called_ticket_that_is_cancelled_frees_its_window(store: SqliteStore) -> None:
    day = HallDay(1)
    at = Moment(wall=OPENING, monotonic=1e6, boot="boot")
    events = [*day.open(windows=1)]
    life = next(each for each in ([*day.ticket(windows=1)] for _ in range(100)) if len(each) > 4)
    called = life[2]
    assert isinstance(called, ev.TicketCalled)
    await store.commit(received([*events, *life[:3]]), [], NOW)
    (window,) = (await store.facts("hall-a")).windows
    assert (window.state, window.number) == (WindowState.CALLING, called.number)
    head = called.model_dump(include={"ticket", "number", "business_day", "service", "tier"})
    gone = ev.TicketCancelled(at=at, **head, reason=CancelReason.DAY_CLOSED)
    await store.commit(received([*events, *life[:3], gone]), [], NOW)
    (window,) = (await store.facts("hall-a")).windows
    assert (window.state, window.number) == (WindowState.IDLE, None)


async def test_the_facts_of_a_hall_are_those_of_its_newest_day(store: SqliteStore) -> None:
    events = HallDay(3).whole(40)
    await store.commit(received(events), [], NOW)
    facts = await store.facts("hall-a")
    of_type = [type(each) for each in events]
    assert facts.issued == of_type.count(ev.TicketIssued)
    assert facts.finished == of_type.count(ev.TicketFinished)
    assert sum(facts.ratings.values()) == of_type.count(ev.TicketRated)
    assert facts.devices == {"printer": DeviceStatus.ONLINE}
    called = [each for each in events if isinstance(each, ev.TicketCalled) and each.first_call]
    for service in facts.services:
        waits = [e.wait_seconds for e in called if e.service == service.service]
        known = sorted(each for each in waits if each is not None)
        assert service.called == len(waits)
        assert service.wait_p50_seconds == nearest_rank(known, 50)
        assert service.wait_p90_seconds == nearest_rank(known, 90)
    services = [each.service_seconds for each in events if isinstance(each, ev.TicketFinished)]
    known = sorted(each for each in services if each is not None)
    assert facts.service_p50_seconds == nearest_rank(known, 50) is not None
    waiting: dict[str, str] = {}
    for each in events:
        if isinstance(each, ev.TicketPrinted | ev.TicketRejoined):
            waiting[each.ticket] = each.service
        elif isinstance(each, ev.TicketCalled | ev.TicketCancelled):
            waiting.pop(each.ticket, None)
    by_service = Counter(waiting.values())
    assert len(by_service) == 2
    assert {each.service: each.waiting for each in facts.services} == by_service
    assert facts.no_shows == of_type.count(ev.TicketNoShow) > 0
    tomorrow = HallDay(4, hall=1, day=date(2026, 3, 3))
    await store.commit(received([*tomorrow.open()], first_seq=len(events) + 1), [], NOW)
    facts = await store.facts("hall-a")
    assert facts.issued == 0
    assert facts.day is not None
    assert facts.day.business_day == "2026-03-03"


def nearest_rank(ordered: Sequence[float], percent: int) -> float | None:
    """The smallest value that at least so many percent of all do not exceed."""
    enough = [n for n in ordered if sum(m <= n for m in ordered) * 100 >= percent * len(ordered)]
    return enough[0] if enough else None


@pytest.mark.parametrize("tickets", range(12))
async def test_of_a_few_waits_the_middle_one_and_the_long_ones_are_told(
    store: SqliteStore, tickets: int
) -> None:
    events = HallDay(3).whole(tickets)
    await store.commit(received(events), [], NOW)
    facts = await store.facts("hall-a")
    for service in facts.services:
        known = sorted(
            each.wait_seconds
            for each in events
            if isinstance(each, ev.TicketCalled)
            and each.service == service.service
            and each.wait_seconds is not None
        )
        assert service.wait_p50_seconds == nearest_rank(known, 50)
        assert service.wait_p90_seconds == nearest_rank(known, 90)


async def test_of_a_hall_that_makes_names_up_some_are_told(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The document would be larger than what a broker takes, and others' wait for it."""
    monkeypatch.setattr("cloud_sync.store.facts.MAX_SHOWN", 3)
    at = Moment(wall=OPENING, monotonic=1e6, boot="boot")
    devices: list[ev.HallEvent] = [
        ev.DeviceChanged(at=at, device=f"device-{n}", status=DeviceStatus.ONLINE) for n in range(9)
    ]
    issued = next(each for each in HallDay(3).whole(4) if isinstance(each, ev.TicketIssued))
    tickets: list[ev.HallEvent] = [
        issued.model_copy(update={"ticket": f"{n:026}", "service": f"service-{n}"})
        for n in range(9)
    ]
    await store.commit(received([*HallDay(3).open(), *devices, *tickets]), [], NOW)
    facts = await store.facts("hall-a")
    assert [*facts.devices] == ["device-0", "device-1", "device-2"]
    assert [each.service for each in facts.services] == ["service-0", "service-1", "service-2"]
    assert facts.issued == 9


async def test_an_unknown_hall_has_no_facts(store: SqliteStore) -> None:
    facts = await store.facts("nowhere")
    assert (facts.day, facts.events, facts.position, facts.services) == (None, 0, None, ())


async def test_dead_letters_are_kept_and_bounded(store: SqliteStore) -> None:
    letters = [DeadLetter("halls/x/v1/events", b"%d" % n, "bad") for n in range(600)]
    await store.commit([], letters, NOW)
    assert await store.totals() == (0, 600)
    await store.commit([], letters, NOW)
    assert await store.totals() == (0, MAX_DEAD_LETTERS)
    assert (await dead_letters(store))[-1] == ("halls/x/v1/events", "bad", b"599")


async def test_rubbish_pushes_out_neither_another_halls_letters_nor_events_of_a_conflict(
    store: SqliteStore,
) -> None:
    await store.commit([], [DeadLetter("halls/hall-b/v1/events", b"b", "bad")], NOW)
    events = received(HallDay(1).whole(2))
    await store.commit(events, [], NOW)
    other = received([*HallDay(1).whole(1), *HallDay(1).close()])
    conflicts = (await store.commit(other, [], NOW)).conflicts
    assert conflicts
    rubbish = [DeadLetter("halls/hall-a/v1/events", b"{}", "bad")] * 500
    for _ in range(5):
        await store.commit([], rubbish, NOW)
    kept = [payload for _, _, payload in await dead_letters(store)]
    assert b"b" in kept
    assert {each.body.encode() for each in conflicts} <= set(kept)
    assert kept.count(b"{}") == MAX_DEAD_LETTERS


async def test_a_hall_that_has_one_more_letter_loses_none_to_the_rubbish_of_another(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound is looked after when something is kept of that hall, not before."""
    monkeypatch.setattr(sqlite, "MAX_DEAD_LETTERS", 3)
    for hall, payload in (("b", b"1"), *[("a", b"{}")] * 10, ("b", b"2"), ("b", b"3")):
        await store.commit([], [DeadLetter(f"halls/hall-{hall}/v1/events", payload, "bad")], NOW)
    kept = [payload for _, _, payload in await dead_letters(store)]
    assert kept == [b"1", *[b"{}"] * 3, b"2", b"3"]


async def test_neither_rubbish_nor_conflicts_take_up_the_room_of_the_other(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "MAX_DEAD_LETTERS", 3)
    monkeypatch.setattr(sqlite, "MAX_CONFLICTS", 3)
    first, *others = [received(HallDay(seed).whole(1))[0] for seed in range(1, 5)]
    rubbish = [DeadLetter("halls/hall-a/v1/events", b"%d" % n, "bad") for n in range(3)]
    await store.commit([first], [], NOW)
    await store.commit(others[:2], [], NOW)
    await store.commit([], rubbish[:2], NOW)
    await store.commit(others[2:], [], NOW)
    await store.commit([], rubbish[2:], NOW)
    kept = {payload for _, _, payload in await dead_letters(store)}
    assert kept == {each.body.encode() for each in others} | {each.payload for each in rubbish}


async def test_a_conflict_that_is_sent_again_and_again_pushes_out_no_other(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "MAX_CONFLICTS", 3)
    first, *others = [received(HallDay(seed).whole(1))[0] for seed in range(1, 6)]
    await store.commit([first], [], NOW)
    for each in [*others, *[others[-1]] * 10]:
        assert (await store.commit([each, each], [], NOW)).conflicts == (each, each)
    assert [letter[2].decode() for letter in await dead_letters(store)] == [
        each.body for each in others[-3:]
    ]


async def test_all_of_a_conflict_is_kept(store: SqliteStore) -> None:
    (event,) = received(HallDay(1).whole(1)[:1])
    long = replace(event, body=event.body[:-1] + f', "more": "{"x" * 20_000}"}}')
    await store.commit([event, long], [], NOW)
    assert [letter[2].decode() for letter in await dead_letters(store)] == [long.body]


async def test_conflicts_of_older_versions_are_told_apart_and_have_their_hall(
    tmp_path: Path,
) -> None:
    path = tmp_path / "centre.db"
    schema = resources.files("cloud_sync") / "schema"
    conflict = f"another event is kept as {EPOCH}.7"
    old_letters = [
        ("halls/hall-x/v1/events", conflict, b"once"),
        ("halls/hall-x/v1/events", conflict, b"once"),
        ("halls/hall-x/v1/events", conflict, b"another"),
        ("halls/hall-x/v1/backlog", "not JSON", b"once"),
        ("halls/hall-y/v1/state", "not JSON", b"once"),
        ("somewhere/else", "not a topic of a hall", b"once"),
    ]
    with closing(sqlite3.connect(path, isolation_level=None)) as old:
        for number in (1, 2, 3):
            old.executescript((schema / f"{number:04}.sql").read_text(encoding="utf-8"))
        old.execute("PRAGMA user_version = 3")
        old.executemany(
            "INSERT INTO dead_letters (received_at, topic, reason, payload)"
            " VALUES ('then', ?, ?, ?)",
            old_letters,
        )
    await (await SqliteStore.open(path)).close()
    with closing(sqlite3.connect(path)) as new:
        kept = new.execute("SELECT hall, conflict, payload FROM dead_letters ORDER BY id")
        assert kept.fetchall() == [
            ("hall-x", 1, b"once"),
            ("hall-x", 1, b"another"),
            ("hall-x", 0, b"once"),
            ("hall-y", 0, b"once"),
            ("", 0, b"once"),
        ]


async def test_a_file_of_version_2_opens_with_its_dead_letters(tmp_path: Path) -> None:
    path = tmp_path / "centre.db"
    schema = resources.files("cloud_sync") / "schema"
    with closing(sqlite3.connect(path, isolation_level=None)) as old:
        for number in (1, 2):
            old.executescript((schema / f"{number:04}.sql").read_text(encoding="utf-8"))
        old.execute("PRAGMA user_version = 2")
        old.execute(
            "INSERT INTO dead_letters (received_at, topic, reason, payload)"
            " VALUES ('then', 'halls/x/v1/events', 'bad', x'00')"
        )
    store = await SqliteStore.open(path)
    try:
        await store.commit([], [DeadLetter("halls/x/v1/events", b"now", "bad")], NOW)
        assert [payload for _, _, payload in await dead_letters(store)] == [b"\0", b"now"]
    finally:
        await store.close()


async def test_a_failed_commit_leaves_nothing_and_the_next_one_works(tmp_path: Path) -> None:
    path = tmp_path / "centre.db"
    store = await SqliteStore.open(path)
    events = received(HallDay(1).whole(3))
    blocker = sqlite3.connect(path)
    try:
        blocker.execute(
            "CREATE TRIGGER t BEFORE INSERT ON tickets BEGIN SELECT RAISE(ABORT, 'x'); END"
        )
        with pytest.raises(sqlite3.IntegrityError):
            await store.commit(events, [], NOW)
        assert await store.positions() == ()
        blocker.execute("DROP TRIGGER t")
        assert (await store.commit(events, [], NOW)).inserted == len(events)
    finally:
        blocker.close()
        await store.close()


async def test_a_file_of_a_later_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "centre.db"
    await (await SqliteStore.open(path)).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(SchemaTooNew, match="99"):
        await SqliteStore.open(path)


async def test_every_commit_is_on_disk_when_it_returns(store: SqliteStore) -> None:
    async with store._db.execute("PRAGMA synchronous") as cursor:
        assert await cursor.fetchone() == (2,)
    async with store._db.execute("PRAGMA journal_mode") as cursor:
        assert await cursor.fetchone() == ("wal",)


async def test_a_file_is_one_file_by_whatever_link_it_is_opened(tmp_path: Path) -> None:
    link = tmp_path / "by-another-name.db"
    link.symlink_to(tmp_path / "centre.db")
    store = await SqliteStore.open(tmp_path / "centre.db")
    try:
        with pytest.raises(StoreLocked, match="is open in another process"):
            await SqliteStore.open(link)
    finally:
        await store.close()
    (tmp_path / "circle.db").symlink_to("circle.db")
    with pytest.raises(StoreError, match="can't be opened"):
        await SqliteStore.open(tmp_path / "circle.db")
