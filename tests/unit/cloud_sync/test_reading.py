import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cloud_sync import reading
from cloud_sync.reading import (
    MAX_DEAD_LETTER_BYTES,
    DeadLetter,
    Received,
    read_events,
    read_state,
)
from contract.documents import HallReport
from contract.names import Presence
from tests.support.hall_day import EPOCH, HallDay, backlog, envelopes

TOPIC = "halls/hall-a/v1/events"
BACKLOG = "halls/hall-a/v1/backlog"
DAY = HallDay(1).whole(4)
TEXTS = envelopes(DAY, "hall-a")
AT = json.loads(TEXTS[6])["data"]["at"]


def changed(**changes: Any) -> bytes:
    document = json.loads(TEXTS[6])
    for key, value in changes.items():
        if value is None:
            document.pop(key)
        else:
            document[key] = value
    return json.dumps(document).encode()


def one(payload: bytes) -> Received:
    reading = read_events(TOPIC, payload)
    assert reading.dead_letters == []
    (event,) = reading.events
    return event


def dead(topic: str, payload: bytes) -> DeadLetter:
    reading = read_events(topic, payload)
    assert reading.events == []
    (letter,) = reading.dead_letters
    return letter


def test_every_event_of_a_day_is_read_as_it_was_written() -> None:
    live = [one(text.encode()) for text in TEXTS]
    assert [each.event for each in live] == DAY
    assert [each.seq for each in live] == list(range(1, len(DAY) + 1))
    assert {each.fault for each in live} == {None}
    batch = read_events(BACKLOG, backlog(TEXTS))
    assert [each.event for each in batch.events] == DAY


def test_an_unknown_type_and_an_unknown_major_are_kept_without_a_fault() -> None:
    for kind in ("hall.robot.danced.v1", "hall.ticket.issued.v2"):
        event = one(changed(type=kind))
        assert (event.type, event.event, event.fault) == (kind, None, None)


def test_bad_data_of_a_known_type_keeps_its_place_with_the_fault_beside_it() -> None:
    event = one(changed(data={"at": "yesterday"}))
    assert (event.epoch, event.seq, event.event) == (EPOCH, 7, None)
    assert event.fault is not None
    assert "at" in event.fault


@pytest.mark.parametrize(
    "damage",
    [{"time": "noon"}, {"type": "Ticket Issued"}, {"subject": 7}, {"specversion": "2.0"},
     {"data": []}, {"time": None}, {"subject": "ticket/another"}],
)  # fmt: skip
def test_a_bad_envelope_with_a_readable_place_occupies_it(damage: dict[str, Any]) -> None:
    event = one(changed(**damage))
    assert (event.epoch, event.seq, event.event) == (EPOCH, 7, None)
    assert event.fault


@pytest.mark.parametrize(
    ("damage", "reason"),
    [({"source": "/halls/hall-b"}, "hall-b"), ({"source": None}, "source"),
     ({"sequence": "7"}, "sequence"),
     ({"sequence": f"{2**63:020}", "id": f"{EPOCH}.{2**63}"}, "range"),
     ({"epoch": "new"}, "epoch"), ({"id": "1"}, "id")],
)  # fmt: skip
def test_what_has_no_place_in_this_halls_stream_is_a_dead_letter(
    damage: dict[str, Any], reason: str
) -> None:
    letter = dead(TOPIC, changed(**damage))
    assert reason in letter.reason
    assert letter.topic == TOPIC


def test_one_bad_event_does_not_spoil_the_batch() -> None:
    batch = backlog([TEXTS[0], '{"no": "event"}', TEXTS[1], "7"])
    reading = read_events(BACKLOG, batch)
    assert [each.seq for each in reading.events] == [1, 2]
    assert len(reading.dead_letters) == 2


def test_a_backlog_that_is_no_array_is_a_dead_letter() -> None:
    assert "array" in dead(BACKLOG, b"{}").reason


def test_a_dead_letter_is_bounded() -> None:
    letter = dead(TOPIC, b"x" * 100_000)
    assert len(letter.payload) == MAX_DEAD_LETTER_BYTES


@given(st.binary(max_size=200), st.sampled_from([TOPIC, BACKLOG, "halls/?/v1/events", "x"]))
def test_any_bytes_are_events_or_dead_letters_and_never_an_exception(
    payload: bytes, topic: str
) -> None:
    reading = read_events(topic, payload)
    assert reading.dead_letters or payload.strip() == b"[]"
    read_state(topic, payload)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(sorted(json.loads(TEXTS[6]))), json_values, min_size=1))
def test_an_envelope_with_any_fields_replaced_is_placed_or_dead(changes: dict[str, Any]) -> None:
    document = {**json.loads(TEXTS[6]), **changes}
    reading = read_events(TOPIC, json.dumps(document).encode())
    assert len(reading.events) + len(reading.dead_letters) == 1
    for event in reading.events:
        assert event.hall == "hall-a"


def test_json_that_is_not_utf_8_is_a_dead_letter() -> None:
    assert "JSON" in dead(TOPIC, TEXTS[0].encode("utf-16")).reason


def test_deep_nesting_is_a_dead_letter() -> None:
    assert "JSON" in dead(TOPIC, b"[" * 100_000).reason


def test_a_state_document_must_be_of_the_topics_hall() -> None:
    state = HallReport(hall="hall-b", presence=Presence.ONLINE)
    read = read_state("halls/hall-a/v1/state", state.model_dump_json().encode())
    assert isinstance(read, DeadLetter)
    assert read_state("halls/hall-b/v1/state", state.model_dump_json().encode()) == state


@pytest.mark.parametrize(
    "field",
    ['"windows":[' + "0," * 9_000 + "0]", '"devices":{' + '"":0,' * 200_000 + '"":0}'],
    ids=["windows", "devices"],
)
def test_what_is_wrong_with_a_state_document_is_not_found_out_thousands_of_times(
    field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One hall would keep the event loop of all for seconds, at each session."""
    described = 0

    def counted(error: ValidationError) -> str:
        nonlocal described
        described += error.error_count()
        return first_error(error)

    first_error = reading._first_error
    monkeypatch.setattr(reading, "_first_error", counted)
    payload = f'{{"hall":"hall-a","presence":"online",{field}}}'.encode()
    assert isinstance(read_state("halls/hall-a/v1/state", payload), DeadLetter)
    assert described <= 2


def test_the_first_wrong_run_of_numbers_is_told_and_no_other() -> None:
    data = {"at": AT, "business_day": "2026-03-02", "runs": [{}] * 9_000}
    event = one(changed(type="hall.numbers.left-out.v1", subject="hall", data=data))
    assert event.fault == "runs.0.prefix: Field required"
    assert len(event.body) > 10_000


def test_an_event_about_a_ticket_is_small_and_others_may_be_large() -> None:
    """A hall of hundreds of services leaves out numbers of each."""
    runs = [{"prefix": "A", "first": 1, "last": n} for n in range(1, 1_000)]
    data = {"at": AT, "business_day": "2026-03-02", "runs": runs}
    event = one(changed(type="hall.numbers.left-out.v1", subject="hall", data=data))
    assert event.fault is None
    assert event.event is not None
    ticket = json.loads(TEXTS[6])["data"] | {"more": "x" * 4096}
    event = one(changed(data=ticket))
    assert event.fault == "larger than 4096 letters, and about a ticket"
