"""Events as they are kept, read from the files of hall and centre: nobody is asked for them."""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Record:
    """One event as it is kept: its place, and its CloudEvent."""

    epoch: str
    seq: int
    body: Mapping[str, Any] = field(compare=False)

    @property
    def place(self) -> tuple[str, int]:
        return (self.epoch, self.seq)

    @property
    def word(self) -> str:
        """``called`` of ``hall.ticket.called.v1``."""
        parts = str(self.body.get("type", "")).split(".")
        return parts[2] if len(parts) == 4 and parts[1] == "ticket" else ""

    @property
    def kind(self) -> str:
        """``ticket.called`` of ``hall.ticket.called.v1``."""
        return ".".join(str(self.body.get("type", "")).split(".")[1:-1])

    @property
    def ticket(self) -> str:
        return str(self.body.get("data", {}).get("ticket", ""))


class Unreadable(Exception):
    """A database that can't be read now, or holds no events; the message names it and why."""


def read_journal(path: Path) -> list[Record]:
    """All events of a hall's journal, in order. Raises ``Unreadable``."""
    with _reading(path) as database:
        rows = database.execute("SELECT body FROM events ORDER BY position")
        bodies = [_body(text) for (text,) in rows]
        return [Record(str(body["epoch"]), int(body["sequence"]), body) for body in bodies]


def hall_time(record: Record) -> float:
    """When it happened, in seconds of Unix time. Raises ``Unreadable``."""
    try:
        return datetime.fromisoformat(record.body["time"]).timestamp()
    except (KeyError, TypeError, ValueError) as error:
        raise Unreadable(f"the time of {record.epoch}.{record.seq}: {error!r}") from error


def progress(journal: Path, centre: Path, hall: str) -> tuple[int, int]:
    """How many events the hall's journal and the centre's database have. Raises
    ``Unreadable``."""
    with _reading(journal) as database:
        (here,) = database.execute("SELECT coalesce(max(position), 0) FROM events").fetchone()
    with _reading(centre) as database:
        (there,) = database.execute(
            "SELECT coalesce(sum(s.events), 0) FROM streams s "
            "JOIN halls h ON h.id = s.hall WHERE h.name = ?",
            (hall,),
        ).fetchone()
    return int(here), int(there)


def read_centre(path: Path, hall: str) -> list[Record]:
    """All events of a hall that the centre keeps. Raises ``Unreadable``."""
    with _reading(path) as database:
        rows = database.execute(
            "SELECT s.epoch, e.seq, e.body FROM events e JOIN streams s ON s.id = e.stream "
            "JOIN halls h ON h.id = s.hall WHERE h.name = ? ORDER BY s.id, e.seq",
            (hall,),
        )
        return [Record(epoch, seq, _body(text)) for epoch, seq, text in rows]


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Whatever is wrong with the file, or with what stands in it, is ``Unreadable``."""
    address = f"{path.resolve().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=10)) as database:
            yield database
    except (sqlite3.Error, ValueError, KeyError, TypeError) as error:
        raise Unreadable(f"{path.name}: {error!r}") from error


def _body(text: str) -> Mapping[str, Any]:
    body = json.loads(text)
    if not isinstance(body, dict) or not isinstance(body.get("data", {}), dict):
        raise ValueError(f"{text[:100]!r} is no event")
    return body
