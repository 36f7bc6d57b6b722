"""CloudEvents 1.0 in structured JSON around an event of a hall.

Standard attributes: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md ;
``sequence`` is the documented extension: a string that orders lexicographically, here the
gap-free ``seq`` of the hall's journal in 20 digits. ``epoch`` is our own extension.
"""

import json
from typing import Annotated, Any, Literal, Self

import pydantic_core
from pydantic import AwareDatetime, StringConstraints, model_validator

from contract.events import EVENT_TYPES, HallEvent, subject_of
from contract.names import Epoch, HallId, Seq, Tolerant

SEQUENCE_DIGITS = 20


class CloudEvent(Tolerant):
    """One event on the wire. ``id`` is unique within ``source``: epoch and seq."""

    specversion: Literal["1.0"] = "1.0"
    id: Annotated[str, StringConstraints(max_length=64)]
    """Epoch and seq, joined by a dot."""
    source: Annotated[str, StringConstraints(pattern=r"^/halls/[a-z0-9][a-z0-9_-]{0,47}$")]
    """The hall."""
    type: Annotated[str, StringConstraints(pattern=r"^hall\.[a-z-]+\.[a-z-]+\.v[0-9]+$")]
    """Which event; the number at its end is the major version of its meaning."""
    subject: Annotated[str, StringConstraints(max_length=64)]
    """What it is about: ``ticket/…``, ``window/…``, ``device/…`` or ``hall``."""
    time: AwareDatetime
    """The hall's wall time, a label: ``data.at`` has the clock that durations come from."""
    datacontenttype: Literal["application/json"] = "application/json"
    sequence: Annotated[str, StringConstraints(pattern=r"^[0-9]{20}$")]
    """seq in 20 digits."""
    epoch: Epoch
    data: dict[str, Any]
    """The event's own fields."""

    @model_validator(mode="after")
    def _id_matches(self) -> Self:
        if self.id != f"{self.epoch}.{self.seq}":
            raise ValueError("id is not epoch.seq")
        if self.seq < 1 or self.seq >= 2**63:
            raise ValueError("sequence is out of range")
        return self

    @property
    def seq(self) -> int:
        return int(self.sequence)

    @property
    def hall(self) -> str:
        return self.source.removeprefix("/halls/")

    def event(self) -> HallEvent:
        """The typed event.

        Raises ``UnknownEventType`` for a type or major that this version does not know, and
        ``pydantic.ValidationError`` for data that does not fit its type.
        """
        model = EVENT_TYPES.get(self.type)
        if model is None:
            raise UnknownEventType(self.type)
        return model.model_validate(self.data)


class UnknownEventType(ValueError):
    """An event of a type, or of a major version, that this version does not know."""


def to_json(event: HallEvent, *, hall: HallId, epoch: Epoch, seq: Seq) -> str:
    """The event as the JSON text of its CloudEvent: what is journaled is what is sent."""
    return _text(
        {
            "specversion": "1.0",
            "source": f"/halls/{hall}",
            "type": event.type,
            "subject": subject_of(event),
            "time": event.at.wall,
            "datacontenttype": "application/json",
            **_numbered(epoch, seq),
            "data": event,
        }
    )


def renumber(text: str, *, epoch: Epoch, seq: Seq) -> str:
    """What ``to_json`` wrote, under another number: for a journal that begins a new epoch."""
    return _text(json.loads(text) | _numbered(epoch, seq))


def _numbered(epoch: Epoch, seq: Seq) -> dict[str, str]:
    return {"id": f"{epoch}.{seq}", "sequence": f"{seq:0{SEQUENCE_DIGITS}}", "epoch": epoch}


def _text(event: dict[str, Any]) -> str:
    return pydantic_core.to_json(event).decode()
