"""The hall's state as text, and back: what a start reads instead of the whole past.

The lines are not stored, because the tickets tell them. The journal keeps a checksum beside the
text; what is checked here is that the text means a state of this version.
"""

from dataclasses import dataclass, replace
from typing import Final, Literal

from pydantic import TypeAdapter, ValidationError

from edge.queue.state import HallState, Window, lines_of

VERSION: Final = 2
"""A snapshot of another version is not read: the events are replayed instead."""


class SnapshotUnreadable(ValueError):
    """The text is no snapshot of this version. What it is instead stands in the message."""


@dataclass(frozen=True, slots=True)
class _Head:
    version: int


@dataclass(frozen=True, slots=True)
class _Snapshot:
    version: Literal[2]
    state: HallState


_HEAD = TypeAdapter(_Head)
_SNAPSHOT = TypeAdapter(_Snapshot)


def to_json(state: HallState) -> str:
    """One line of JSON."""
    text = _SNAPSHOT.dump_json(_Snapshot(VERSION, state), exclude={"state": {"lines"}})
    return text.decode()


def from_json(text: str) -> HallState:
    """The state that ``to_json`` was given. Raises ``SnapshotUnreadable``."""
    try:
        version = _HEAD.validate_json(text).version
        if version != VERSION:
            raise SnapshotUnreadable(f"snapshot of version {version}, this is version {VERSION}")
        stored = _SNAPSHOT.validate_json(text).state
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SnapshotUnreadable(f"damaged snapshot: {where}: {first['msg']}") from error
    for window in stored.windows.values():
        _check(stored, window)
    return replace(stored, lines=lines_of(stored.tickets))


def _check(state: HallState, window: Window) -> None:
    """A window names only tickets that are there: no rule of the queue expects anything else."""
    for ticket in (window.ticket, window.asking):
        if ticket is not None and ticket not in state.tickets:
            raise SnapshotUnreadable(
                f"damaged snapshot: window {window.number} names ticket {ticket}, which is missing"
            )
