"""From the bytes of a message to events that can be kept, or to dead letters. Pure.

Nothing that a hall sends can stop the others, nor the hall itself:

- an event whose stream and place (epoch, seq) can be read is kept, whatever else is wrong with it,
  with the fault beside it: else the gap would hold back the hall's acknowledgement for ever;
- what no database or later reader could take (half a surrogate pair, deep nesting, a time before
  the calendar) is such a fault, and so is what is larger than any event of ours;
- a type or major that this version does not know is kept without a fault: a later version that
  knows it rebuilds what it means;
- what has no readable place is a dead letter.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from pydantic import ValidationError

from contract.documents import HallReport
from contract.envelope import CloudEvent, UnknownEventType
from contract.events import EVENT_TYPES, HallEvent, TicketEvent, subject_of
from contract.names import ULID_PATTERN
from contract.topics import hall_of

MAX_BATCH_EVENTS = 1_000
"""Ours have 100."""
MAX_DEAD_LETTERS_OF_A_MESSAGE = 10
"""What else in it has no place is counted in one more: a hall's rubbish must not hold up others."""
MAX_EVENT_BYTES = 64 * 1024
"""Ours have less than 2 KiB."""
MAX_TICKET_EVENT_LETTERS = 4096
"""Likewise, of an event about a ticket: to know a ticket, all of its events are read again."""
MAX_STATE_VALUES = 10_000
"""In a state document. What is wrong with each is found out before the first is told."""
MAX_NESTING = 32
"""Lists and objects within each other, the CloudEvent itself included. Ours have three."""
MAX_DEAD_LETTER_BYTES = 4096
MAX_REASON_CHARACTERS = 500

_EPOCH = re.compile(ULID_PATTERN)
_SEQUENCE = re.compile(r"^[0-9]{20}$")
_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()
_HALF_PAIR = re.compile("[\ud800-\udfff]")
_TYPE = re.compile(r"^[\x21-\x7e]{1,200}$")


@dataclass(frozen=True, slots=True)
class Received:
    """One event with a place in its hall's stream."""

    hall: str
    epoch: str
    seq: int
    type: str
    subject: str
    body: str
    """The CloudEvent as JSON text, as it came."""
    event: HallEvent | None
    """What it says; ``None`` when it is faulty or unknown."""
    fault: str | None
    """Why it could not be read; ``None`` for a good one and for one of an unknown type."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """What came and has no place anywhere."""

    topic: str
    payload: bytes
    reason: str


@dataclass(slots=True)
class Reading:
    """What a message was."""

    events: list[Received]
    dead_letters: list[DeadLetter]


def read_events(topic: str, payload: bytes) -> Reading:
    """The events in a message on a hall's ``events`` or ``backlog`` topic."""
    hall = hall_of(topic)
    if hall is None:
        return Reading([], [dead_letter(topic, payload, "not a topic of a hall")])
    try:
        text = payload.decode()
        batch = topic.endswith("/backlog")
        documents = _elements(text) if batch else [(json.loads(text), text)]
    except (ValueError, RecursionError) as error:
        return Reading([], [dead_letter(topic, payload, f"not JSON: {error}")])
    except _NoBatch as reason:
        return Reading([], [dead_letter(topic, payload, str(reason))])
    return _read_all(topic, documents, hall)


def read_state(topic: str, payload: bytes) -> HallReport | DeadLetter:
    """A hall's state document."""
    if payload.count(b",") > MAX_STATE_VALUES:
        return dead_letter(topic, payload, f"more than {MAX_STATE_VALUES} values")
    try:
        state = HallReport.model_validate_json(payload)
    except ValidationError as error:
        return dead_letter(topic, payload, _first_error(error))
    if state.hall != hall_of(topic):
        return dead_letter(topic, payload, f"hall {state.hall} on the topic of another")
    return state


def parse_body(kind: str, body: str) -> HallEvent | None:
    """A kept event as this version understands it; ``None`` when it doesn't."""
    model = EVENT_TYPES.get(kind)
    if model is None:
        return None
    try:
        document = json.loads(body)
        event = model.model_validate(document.get("data"))
    except (ValueError, RecursionError):  # pydantic's ValidationError is a ValueError
        return None
    # It was kept by a version that did not know its type, perhaps, and looked no further.
    return event if _contradiction(document.get("subject"), event, body) is None else None


class _NoBatch(Exception):
    """Not a backlog, and why."""


def _elements(text: str) -> list[tuple[Any, str]]:
    """The values in a JSON array, each with the very text that it was read from.

    Raises ``ValueError`` or ``RecursionError`` for what is not JSON, ``_NoBatch`` for what is.
    """
    start = _behind_space(text, 0)
    if text[start : start + 1] != "[":
        json.loads(text)
        raise _NoBatch("a backlog is a JSON array of CloudEvents")
    elements: list[tuple[Any, str]] = []
    for element in _split(text, start + 1):
        if len(elements) == MAX_BATCH_EVENTS:
            raise _NoBatch(f"more than {MAX_BATCH_EVENTS} events")
        elements.append(element)
    return elements


def _split(text: str, at: int) -> Iterator[tuple[Any, str]]:
    """From behind the opening bracket to the end of the text."""
    at = _behind_space(text, at)
    closed = text[at : at + 1] == "]"
    while not closed:
        value, end = _DECODER.raw_decode(text, at)
        yield value, text[at:end]
        at = _behind_space(text, end)
        closed = text[at : at + 1] == "]"
        if not closed:
            if text[at : at + 1] != ",":
                raise json.JSONDecodeError("no comma between two events", text, at)
            at = _behind_space(text, at + 1)
    end = _behind_space(text, at + 1)
    if end != len(text):
        raise json.JSONDecodeError("more behind the array", text, end)


def _behind_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    assert match is not None  # it matches nothing, too
    return match.end()


def _read_all(topic: str, documents: list[tuple[Any, str]], hall: str) -> Reading:
    reading = Reading([], [])
    lost = 0
    for document, body in documents:
        try:
            reading.events.append(_read(hall, document, body))
        except _NoPlace as reason:
            lost += 1
            if lost <= MAX_DEAD_LETTERS_OF_A_MESSAGE:
                reading.dead_letters.append(dead_letter(topic, body.encode(), str(reason)))
    if lost > MAX_DEAD_LETTERS_OF_A_MESSAGE:
        more = f"{lost - MAX_DEAD_LETTERS_OF_A_MESSAGE} more without a place in the same message"
        reading.dead_letters.append(dead_letter(topic, b"", more))
    return reading


class _NoPlace(Exception):
    """Not to be placed in this hall's streams, and why."""


def _read(hall: str, document: Any, body: str) -> Received:
    unfit = _unfit(document, body)
    if unfit is not None:
        return _salvage(hall, document, body, unfit)
    try:
        envelope = CloudEvent.model_validate(document)
    except ValidationError as error:
        return _salvage(hall, document, body, _first_error(error))
    if envelope.hall != hall:
        raise _NoPlace(f"source {envelope.source} on the topic of {hall}")
    event: HallEvent | None = None
    fault: str | None = None
    try:
        event = envelope.event()
    except UnknownEventType:
        pass  # kept for a version that knows it
    except ValidationError as error:
        fault = _first_error(error)
    if event is not None:
        fault = _contradiction(envelope.subject, event, body)
        event = event if fault is None else None
    return Received(
        hall, envelope.epoch, envelope.seq, envelope.type, envelope.subject, body, event, fault
    )


def _contradiction(subject: object, event: HallEvent, body: str) -> str | None:
    """What is wrong with an event whose fields are all right one by one."""
    if isinstance(event, TicketEvent) and len(body) > MAX_TICKET_EVENT_LETTERS:
        return f"larger than {MAX_TICKET_EVENT_LETTERS} letters, and about a ticket"
    if subject_of(event) != subject:
        return f"subject {subject!a} is not the event's {subject_of(event)}"
    try:
        event.at.wall.astimezone(UTC)
    except OverflowError:
        return f"no such time in UTC: {event.at.wall.isoformat()}"
    return None


def _unfit(document: Any, body: str) -> str | None:
    """Why this can't be dealt with as an event, whatever it says; ``None`` when it can."""
    if len(body.encode()) > MAX_EVENT_BYTES:
        return f"larger than {MAX_EVENT_BYTES} bytes"
    level = [document]
    for _ in range(MAX_NESTING):
        deeper: list[Any] = []
        for value in level:
            if isinstance(value, str):
                if not value.isascii() and _HALF_PAIR.search(value):
                    return "half a surrogate pair"
            elif isinstance(value, dict):
                deeper += value
                deeper += value.values()
            elif isinstance(value, list):
                deeper += value
        if not deeper:
            return None
        level = deeper
    return f"nested more than {MAX_NESTING} deep"


def _salvage(hall: str, document: Any, body: str, fault: str) -> Received:
    """A bad envelope: is its place readable at least?"""
    if not isinstance(document, dict):
        raise _NoPlace(f"not a CloudEvent: {fault}")
    if document.get("source") != f"/halls/{hall}":
        raise _NoPlace(f"no source of {hall}: {fault}")
    epoch, sequence = document.get("epoch"), document.get("sequence")
    if not (isinstance(epoch, str) and _EPOCH.fullmatch(epoch)):
        raise _NoPlace(fault)
    if not (isinstance(sequence, str) and _SEQUENCE.fullmatch(sequence)):
        raise _NoPlace(fault)
    seq = int(sequence)
    if not 1 <= seq < 2**63 or document.get("id") != f"{epoch}.{seq}":
        raise _NoPlace(fault)
    kind = document.get("type")
    known = isinstance(kind, str) and _TYPE.fullmatch(kind) is not None
    return Received(hall, epoch, seq, str(kind) if known else "unreadable", "", body, None, fault)


def _first_error(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return _plain(f"{where or 'document'}: {first['msg']}")


def _plain(reason: str) -> str:
    """Fit for a log and a database, whatever was quoted in it."""
    return reason.encode("ascii", "backslashreplace").decode()[:MAX_REASON_CHARACTERS]


def dead_letter(topic: str, payload: bytes, reason: str) -> DeadLetter:
    """Cut to what is kept of one."""
    return DeadLetter(topic[:200], payload[:MAX_DEAD_LETTER_BYTES], _plain(reason))
