"""What can't have happened to a ticket is found in a journal, and in no journal of a real hall."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings

from contract.commands import Finish, NoShow, Park, Rate, Recall, Rejoin, Resume, Start, Transfer
from contract.envelope import to_json
from contract.events import HallEvent, TicketIssued
from contract.names import Rating
from simulator.lives import impossible_lives
from simulator.records import Record
from tests.support.hall import Hall, make_plan
from tests.support.walks import histories

EPOCH = "01JNAB00000000000000000000"


def records(events: Sequence[HallEvent]) -> list[Record]:
    return [
        Record(EPOCH, seq, json.loads(to_json(event, hall="h", epoch=EPOCH, seq=seq)))
        for seq, event in enumerate(events, start=1)
    ]


def saying(record: Record, **data: Any) -> Record:
    """The same event, with something else in it."""
    return Record(
        record.epoch, record.seq, {**record.body, "data": {**record.body["data"], **data}}
    )


def eventful() -> list[Record]:
    """A001 is recalled, served and rated at window 1; A002 doesn't come, rejoins, is handed on to
    service B and served at window 2, parked there and taken back."""
    hall = Hall(make_plan({1: "a", 2: "ba"}))
    first, second = hall.take_number(), hall.take_number()
    hall.sign_on(1, 2)
    assert hall.call_next(1) == first
    hall.do(Recall(window=1))
    hall.do(Start(window=1))
    hall.do(Finish(window=1))
    hall.do(Rate(window=1, rating=Rating.NEUTRAL))
    assert hall.call_next(1) == second
    hall.do(Recall(window=1))
    hall.pass_time(3600)
    hall.do(NoShow(window=1))
    hall.do(Rejoin(ticket=second))
    assert hall.call_next(1) == second
    hall.do(Start(window=1))
    hall.do(Transfer(window=1, to_service="b"))
    assert hall.call_next(2) == second
    hall.do(Start(window=2))
    hall.do(Park(window=2))
    hall.do(Resume(window=2))
    hall.do(Finish(window=2))
    return records(hall.events)


def place(history: Sequence[Record], word: str, nth: int = 0) -> int:
    return [at for at, record in enumerate(history) if record.word == word][nth]


@settings(max_examples=50)
@given(histories())
def test_whatever_happens_in_a_hall_can_happen(events: list[HallEvent]) -> None:
    issued: set[str] = set()
    for at, event in enumerate(events):
        if isinstance(event, TicketIssued):
            if event.ticket in issued:  # random walks use an id again, and no hall does
                del events[at:]
                break
            issued.add(event.ticket)
    assert impossible_lives(records(events)) == []


def test_a_life_with_everything_in_it_can_be_lived() -> None:
    assert impossible_lives(eventful()) == []


@pytest.mark.parametrize(
    ("missing", "nth", "told"),
    [
        ("issued", 0, "A001: wait-estimated, and never issued"),
        ("printed", 0, "A001: called after issued"),
        ("called", 0, "A001: recalled after printed"),
        ("started", 0, "A001: finished after called"),
        ("finished", 0, "A001: rated after started"),
        ("no-show", 0, "A002: rejoined after called"),
        ("rejoined", 0, "A002: called after no-show"),
        ("transferred", 0, "A002: called after started"),
        ("parked", 0, "A002: resumed after started"),
        ("resumed", 0, "A002: finished after parked"),
    ],
)
def test_what_can_not_come_next_is_found(missing: str, nth: int, told: str) -> None:
    history = eventful()
    del history[place(history, missing, nth)]
    assert impossible_lives(history)[0] == told


@pytest.mark.parametrize(
    ("word", "nth", "otherwise", "told"),
    [
        ("called", 0, {"number": "A009"}, "A009: called with number A009, and it was A001"),
        ("rated", 0, {"business_day": "2026-03-03"}, "A001: rated with business_day 2026-03-03"),
        ("printed", 0, {"tier": "priority"}, "A001: printed with tier priority, and it was normal"),
        ("called", 2, {"service": "b"}, "A002: called with service b, and it was a"),
        ("called", 3, {"service": "a"}, "A002: called with service a, and it was b"),
        ("transferred", 0, {"from_service": "b"}, "A002: transferred with service b, and it was a"),
        ("recalled", 0, {"window": 2}, "A001: recalled at window 2 by clerk-1, and it was at 1"),
        ("started", 0, {"clerk": "clerk-2"}, "A001: started at window 1 by clerk-2, and it was at"),
        ("finished", 0, {"window": 2}, "A001: finished at window 2"),
        ("rated", 0, {"clerk": "clerk-2"}, "A001: rated at window 1 by clerk-2"),
        ("transferred", 0, {"window": 2}, "A002: transferred at window 2"),
        ("called", 0, {"clerk": "clerk-2"}, "A001: called at window 1 by clerk-2, where clerk-1"),
    ],
)
def test_what_a_ticket_was_not_issued_as_or_called_to_is_found(
    word: str, nth: int, otherwise: dict[str, Any], told: str
) -> None:
    history = eventful()
    at = place(history, word, nth)
    history[at] = saying(history[at], **otherwise)
    assert impossible_lives(history)[0].startswith(told)


def test_a_rating_of_another_customers_ticket_is_found() -> None:
    history = eventful()
    at, others = place(history, "rated"), history[place(history, "printed", 1)]
    history[at] = saying(history[at], ticket=others.ticket, number="A002")
    assert impossible_lives(history)[0] == "A002: rated after printed"


def test_a_call_from_a_window_that_nobody_is_at_is_found() -> None:
    history = eventful()
    opened = next(record for record in history if record.kind == "window.opened")
    closed = Record(EPOCH, 0, {**opened.body, "type": "hall.window.closed.v1"})
    history.insert(place(history, "called"), closed)
    told = "A001: called at window 1 by clerk-1, where nobody is"
    assert impossible_lives(history)[0] == told
