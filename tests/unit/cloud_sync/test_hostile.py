"""Whatever a hall sends, the centre goes on for all halls: reading, commit and rebuild together."""

import asyncio
import json
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cloud_sync.reading import MAX_EVENT_BYTES, MAX_NESTING, Received, parse_body, read_events
from cloud_sync.store import sqlite
from cloud_sync.store.sqlite import SqliteStore
from contract import events as ev
from contract import topics
from contract.documents import Ack
from contract.envelope import to_json
from contract.events import EVENT_TYPES
from tests.support.hall_day import EPOCH, HallDay, backlog, envelopes

NOW = "2026-03-02T00:00:00+00:00"
TOPIC = "halls/hall-a/v1/events"
BACKLOG = "halls/hall-a/v1/backlog"
DAY = HallDay(1).whole(4)
DOCUMENTS = [json.loads(text) for text in envelopes(DAY, "hall-a")]


def nested(depth: int) -> str:
    """Stands for so many lists within each other, which Python could not write itself."""
    return f"@{depth}@"


def written(document: Any) -> str:
    """As JSON."""
    return re.sub(
        '"@([0-9]+)@"',
        lambda found: "[" * int(found[1]) + "]" * int(found[1]),
        json.dumps(document),
    )


def with_data(number: int, **data: Any) -> str:
    """The event of that seq, with more or other data."""
    document = DOCUMENTS[number - 1]
    return written({**document, "data": {**document["data"], **data}})


def of_type(kind: type[ev.HallEvent]) -> int:
    """The seq of the day's first event of this type."""
    return next(seq for seq, event in enumerate(DAY, start=1) if isinstance(event, kind))


def one(text: str) -> Received:
    (event,) = read_events(TOPIC, text.encode()).events
    return event


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (with_data(of_type(ev.DeviceChanged), detail="\ud800"), "surrogate pair"),
        (with_data(of_type(ev.DeviceChanged), **{"x\udfff": 1}), "surrogate pair"),
        (with_data(of_type(ev.TicketIssued), more=nested(MAX_NESTING)), "nested"),
        (with_data(of_type(ev.TicketIssued), more=nested(500)), "nested"),
        (with_data(of_type(ev.DeviceChanged), more="x" * MAX_EVENT_BYTES), "larger"),
        (
            with_data(
                of_type(ev.DayOpened),
                at={"wall": "0001-01-01T00:00:00+14:00", "monotonic": 1.0, "boot": "b"},
            ),
            "no such time",
        ),
    ],
)
def test_what_nobody_could_deal_with_later_occupies_its_place_as_a_fault(
    text: str, fault: str
) -> None:
    event = one(text)
    assert (event.epoch, event.event, event.body) == (EPOCH, None, text)
    assert event.fault is not None
    assert fault in event.fault


@pytest.mark.parametrize("field", ["epoch", "sequence", "type"])
def test_a_line_feed_behind_a_right_value_is_no_right_value(field: str) -> None:
    """``$`` of a regular expression matches before it."""
    document = json.loads(with_data(of_type(ev.DayOpened)))
    document[field] += "\n"
    document["id"] = f"{document['epoch']}.{int(document['sequence'])}"
    reading = read_events("halls/hall-a/v1/events", json.dumps(document).encode())
    for event in reading.events:
        Ack(epoch=event.epoch, seq=event.seq)
        assert "\n" not in event.type
    assert len(reading.events) + len(reading.dead_letters) == 1
    assert topics.hall_of("halls/hall-a\n/v1/events") is None


def test_what_is_within_the_bounds_is_no_fault() -> None:
    pair = one(with_data(of_type(ev.DeviceChanged), detail="\U0001f600"))
    assert pair.fault is None
    assert isinstance(pair.event, ev.DeviceChanged)
    deep = one(with_data(of_type(ev.TicketIssued), more=nested(MAX_NESTING - 2)))
    assert deep.fault is None
    assert deep.event is not None


def test_a_batch_is_kept_letter_by_letter() -> None:
    odd = '{ "a": "\\u4E2D" , "a":1.0}'
    texts = [with_data(1), odd, with_data(2)]
    payload = (" [ " + " ,\n".join(texts) + " ] ").encode()
    reading = read_events(BACKLOG, payload)
    assert [each.body for each in reading.events] == [texts[0], texts[2]]
    assert [each.payload for each in reading.dead_letters] == [odd.encode()]


@pytest.mark.parametrize("text", ["[1", "[1,", "[1,]", "[1 2]", "[1]]", "[,1]", "[", "", "[1]x"])
def test_half_a_batch_is_no_batch(text: str) -> None:
    reading = read_events(BACKLOG, text.encode())
    assert reading.events == []
    (letter,) = reading.dead_letters
    assert "JSON" in letter.reason


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
), st.sampled_from([None, 1]))  # fmt: skip
def test_a_batch_is_split_as_json_says(value: Any, indent: int | None) -> None:
    text = json.dumps(value, indent=indent)
    reading = read_events(BACKLOG, text.encode())
    if isinstance(value, list):
        assert [json.loads(each.payload) for each in reading.dead_letters] == value
    else:
        (letter,) = reading.dead_letters
        assert "array" in letter.reason


# --- together ---------------------------------------------------------------------------------

nasty = (
    st.text(st.characters(), max_size=5)
    | st.sampled_from(["\ud800", "x\udfffy", "\x00", "", "9999-12-31T23:59:59-14:00"])
    | st.integers(1, 2000).map(nested)
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.none()
    | st.dictionaries(st.text(max_size=3), st.integers(), max_size=2)
)
moments = st.fixed_dictionaries(
    {
        "wall": st.sampled_from(
            ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-03-02T00:00:00Z"]
        ),
        "monotonic": st.sampled_from([0.0, 1e308]),
        "boot": st.just("b"),
    }
)


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """An event of the day with some of it replaced."""
    document = dict(draw(st.sampled_from(DOCUMENTS)))
    data = dict(document["data"])
    for key in draw(st.lists(st.sampled_from([*sorted(data), "more"]), max_size=2)):
        data[key] = draw(moments if key == "at" else nasty)
    document["data"] = data
    for key in draw(st.lists(st.sampled_from(sorted(document)), max_size=1)):
        if draw(st.integers(0, 3)) == 0:
            document[key] = draw(nasty)
    return written(document)


async def take_all(path: Path, groups: list[list[str]]) -> None:
    store = await SqliteStore.open(path)
    try:
        for group in groups:
            reading = read_events(BACKLOG, backlog(group))
            for text in group:
                live = read_events(TOPIC, text.encode())
                reading.events += live.events
            await store.commit(reading.events, reading.dead_letters, NOW)
        # More of every ticket, so that what is kept of it is read again.
        good = read_events(BACKLOG, backlog([json.dumps(each) for each in DOCUMENTS]))
        (position,) = (await store.commit(good.events, [], NOW)).positions
        assert position.contiguous == len(DOCUMENTS)
        await store.rebuild()
        await store.facts("hall-a")
    finally:
        await store.close()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(damaged(), min_size=1, max_size=4), min_size=1, max_size=3))
@example([[with_data(of_type(ev.DeviceChanged), detail="\ud800")]])
@example([[with_data(of_type(ev.TicketIssued), more=nested(960))]])
def test_nothing_that_can_be_read_chokes_the_store(groups: list[list[str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(take_all(Path(folder, "centre.db"), groups))


def test_a_batch_of_rubbish_is_a_few_dead_letters_and_a_number() -> None:
    letters = read_events(BACKLOG, backlog(["{}"] * 1_000)).dead_letters
    assert len(letters) == 11
    assert letters[-1].reason == "990 more without a place in the same message"
    (letter,) = read_events(BACKLOG, backlog(["{}"] * 1_001)).dead_letters
    assert letter.reason == "more than 1000 events"


async def test_an_event_of_a_type_that_was_unknown_when_it_came_is_looked_over_by_a_rebuild(
    tmp_path: Path,
) -> None:
    issued = next(each for each in DAY if isinstance(each, ev.TicketIssued))
    text = to_json(issued, hall="hall-a", epoch=EPOCH, seq=1)
    of_no_time = text.replace(issued.at.wall.isoformat().replace("+00:00", "Z"), NO_TIME_IN_UTC)
    assert of_no_time != text
    of_another = to_json(issued, hall="hall-a", epoch=EPOCH, seq=2)
    of_another = of_another.replace(f"ticket/{issued.ticket}", "ticket/another")
    path = tmp_path / "centre.db"
    store = await SqliteStore.open(path)
    try:
        known = dict(EVENT_TYPES)
        del EVENT_TYPES[issued.type]
        try:
            for each in (of_no_time, of_another):
                await store.commit(read_events(BACKLOG, backlog([each])).events, [], NOW)
        finally:
            EVENT_TYPES.clear()
            EVENT_TYPES.update(known)  # in their order: documents are made of them
        assert await store.rebuild() == 2
        assert await store._all("SELECT * FROM tickets") == []
    finally:
        await store.close()


NO_TIME_IN_UTC = "0001-01-01T00:00:00+14:00"


async def test_a_ticket_without_end_does_not_make_commits_slower_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = 0

    def counted(kind: str, body: str) -> Any:
        nonlocal read
        read += 1
        return parse_body(kind, body)

    monkeypatch.setattr(sqlite, "parse_body", counted)
    store = await SqliteStore.open(tmp_path / "centre.db")
    try:
        recall = next(each for each in DAY if isinstance(each, ev.TicketCalled))
        for group in range(4):
            texts = [
                to_json(recall, hall="hall-a", epoch=EPOCH, seq=group * 400 + n)
                for n in range(1, 401)
            ]
            await store.commit(read_events(BACKLOG, backlog(texts)).events, [], NOW)
        read = 0
        text = to_json(recall, hall="hall-a", epoch=EPOCH, seq=1_601)
        await store.commit(read_events(BACKLOG, backlog([text])).events, [], NOW)
    finally:
        await store.close()
    assert read <= sqlite.MAX_EVENTS_OF_A_TICKET
