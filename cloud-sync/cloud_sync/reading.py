"""From the bytes of a message to events that can be kept, or to dead letters. Pure.

Nothing that a hall sends can stop the others, nor the hall itself:

- an event whose stream and place (epoch, seq) can be read is kept, whatever else is wrong with it,
  with the fault beside it: else the gap would hold back the hall's acknowledgement for ever;
- a type or major that this version does not know is kept without a fault: a later version that
  knows it rebuilds what it means;
- what has no readable place is a dead letter.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from contract.documents import HallState
from contract.envelope import CloudEvent, UnknownEventType
from contract.events import EVENT_TYPES, HallEvent, subject_of
from contract.names import ULID_PATTERN
from contract.topics import hall_of

MAX_BATCH_EVENTS = 10_000
MAX_DEAD_LETTER_BYTES = 4096
MAX_REASON_CHARACTERS = 500

_EPOCH = re.compile(ULID_PATTERN)
_SEQUENCE = re.compile(r"^[0-9]{20}$")
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
    """The CloudEvent as JSON text."""
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
        return Reading([], [_dead(topic, payload, "not a topic of a hall")])
    try:
        text = payload.decode()
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        return Reading([], [_dead(topic, payload, f"not JSON: {error}")])
    if not topic.endswith("/backlog"):
        return _read_all(topic, [(document, text)], hall)
    if not isinstance(document, list):
        return Reading([], [_dead(topic, payload, "a backlog is a JSON array of CloudEvents")])
    if len(document) > MAX_BATCH_EVENTS:
        return Reading([], [_dead(topic, payload, f"more than {MAX_BATCH_EVENTS} events")])
    # ASCII, because JSON may escape what no database takes as text (half a surrogate pair).
    return _read_all(topic, [(each, json.dumps(each)) for each in document], hall)


def read_state(topic: str, payload: bytes) -> HallState | DeadLetter:
    """A hall's state document."""
    try:
        state = HallState.model_validate_json(payload)
    except ValidationError as error:
        return _dead(topic, payload, _first_error(error))
    if state.hall != hall_of(topic):
        return _dead(topic, payload, f"hall {state.hall} on the topic of another")
    return state


def parse_event(kind: str, data: Any) -> HallEvent | None:
    """A kept event's data as this version understands it; ``None`` when it doesn't."""
    model = EVENT_TYPES.get(kind)
    if model is None:
        return None
    try:
        return model.model_validate(data)
    except ValidationError:
        return None


def _read_all(topic: str, documents: list[tuple[Any, str]], hall: str) -> Reading:
    reading = Reading([], [])
    for document, body in documents:
        try:
            reading.events.append(_read(hall, document, body))
        except _NoPlace as reason:
            reading.dead_letters.append(_dead(topic, body.encode(), str(reason)))
    return reading


class _NoPlace(Exception):
    """Not to be placed in this hall's streams, and why."""


def _read(hall: str, document: Any, body: str) -> Received:
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
    if event is not None and subject_of(event) != envelope.subject:
        fault = f"subject {envelope.subject} is not the event's {subject_of(event)}"
        event = None
    return Received(
        hall, envelope.epoch, envelope.seq, envelope.type, envelope.subject, body, event, fault
    )


def _salvage(hall: str, document: Any, body: str, fault: str) -> Received:
    """A bad envelope: is its place readable at least?"""
    if not isinstance(document, dict):
        raise _NoPlace(f"not a CloudEvent: {fault}")
    if document.get("source") != f"/halls/{hall}":
        raise _NoPlace(f"no source of {hall}: {fault}")
    epoch, sequence = document.get("epoch"), document.get("sequence")
    if not (isinstance(epoch, str) and _EPOCH.match(epoch)):
        raise _NoPlace(fault)
    if not (isinstance(sequence, str) and _SEQUENCE.match(sequence)):
        raise _NoPlace(fault)
    seq = int(sequence)
    if not 1 <= seq < 2**63 or document.get("id") != f"{epoch}.{seq}":
        raise _NoPlace(fault)
    kind = document.get("type")
    known = isinstance(kind, str) and _TYPE.match(kind) is not None
    return Received(hall, epoch, seq, str(kind) if known else "unreadable", "", body, None, fault)


def _first_error(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    reason = f"{where or 'document'}: {first['msg']}"[:MAX_REASON_CHARACTERS]
    return reason.encode("ascii", "backslashreplace").decode()


def _dead(topic: str, payload: bytes, reason: str) -> DeadLetter:
    return DeadLetter(topic[:200], payload[:MAX_DEAD_LETTER_BYTES], reason[:MAX_REASON_CHARACTERS])
