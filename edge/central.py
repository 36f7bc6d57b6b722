"""Commands from the centre: looked at as what a stranger sent, and answered one by one."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from contract.commands import (
    CentralCommand,
    CentralReply,
    Command,
    ConfirmPrint,
    FailPrint,
    IssueTicket,
    Refusal,
    RefusalReason,
)
from contract.events import HallEvent
from contract.names import ULID_PATTERN, Moment
from edge.clock import Clock

Submit = Callable[[Command], Awaitable[Sequence[HallEvent] | Refusal]]
"""Hands a command to the hall's one writer."""

MAX_COMMAND_BYTES = 16 * 1024
MAX_LIFE = timedelta(hours=1)
"""A command that would be good for longer is refused: it would have to be remembered as long."""
MAX_REMEMBERED = 10_000
"""Commands that are remembered at once, so that none is taken twice."""
CLOCKS_MAY_DIFFER = timedelta(seconds=30)
"""Both are set by the network. For so long after a start no command is taken: one that the
controller took before, from a centre whose clock is ahead, would look new."""


ONLY_DEVICES_SAY = (IssueTicket, ConfirmPrint, FailPrint)
"""A ticket without paper is a ghost in the line, and only the printer knows of paper."""


@dataclass(slots=True)
class _Taken:
    """What is remembered of a command while it is good."""

    expires_at: datetime
    detail: str = "this id was taken before, and is being done"
    led_to: tuple[str, ...] = ()
    """Types of the events."""


class CentralCommands:
    """Takes each command of the centre once, while it is good.

    One that comes again is refused as replayed, and told what it led to the first time: the reply
    may have been lost with its connection. A restart forgets which were taken, hence those issued
    before it are refused.
    """

    def __init__(self, submit: Submit, clock: Clock) -> None:
        self.accepted = 0
        self.refused = 0
        self._submit = submit
        self._clock = clock
        self._started = clock.now()
        self._taken: dict[str, _Taken] = {}
        self._doing: set[asyncio.Task[CentralReply]] = set()

    async def answer(
        self, command_id: str, payload: bytes, *, retained: bool
    ) -> CentralReply | None:
        """What became of the command in ``payload``, sent as ``command_id``.

        ``None`` where there is nobody to answer: the id is none.
        """
        if re.fullmatch(ULID_PATTERN, command_id) is None:
            self.refused += 1
            return None
        command = _parse(command_id, payload)
        if isinstance(command, Refusal):
            reply = _refused(command_id, command)
        elif refusal := self._refusal(command, retained):
            reply = _refused(command_id, refusal)
            if command.id in self._taken:
                reply = reply.model_copy(update={"event_types": self._taken[command.id].led_to})
        else:
            reply = await self._take(command)
        self.accepted += reply.accepted
        self.refused += not reply.accepted
        return reply

    async def _take(self, command: CentralCommand) -> CentralReply:
        """In a task of its own: the connection may be lost before the answer, and with it whoever
        waits here, but what became of the command is to be known."""
        taken = self._taken[command.id] = _Taken(command.expires_at)
        doing = asyncio.create_task(self._do(command, taken), name=f"command {command.id}")
        self._doing.add(doing)
        doing.add_done_callback(self._doing.discard)
        return await asyncio.shield(doing)

    async def _do(self, command: CentralCommand, taken: "_Taken") -> CentralReply:
        outcome = await self._submit(command.body)
        if isinstance(outcome, Refusal):
            taken.detail = f"this id was taken before: {outcome}"
            return _refused(command.id, outcome)
        taken.led_to = tuple(event.type for event in outcome)
        taken.detail = "this id was taken before, and done"
        return CentralReply(id=command.id, accepted=True, event_types=taken.led_to)

    def _refusal(self, command: CentralCommand, retained: bool) -> Refusal | None:
        now = self._clock.now()
        why = self._why_not(command, now, retained)
        if why is None:
            return None
        reason, detail = why
        return Refusal(reason=reason, command=command.body.command, detail=detail)

    def _why_not(
        self, command: CentralCommand, now: Moment, retained: bool
    ) -> tuple[RefusalReason, str] | None:
        if retained:
            return RefusalReason.REPLAYED, "a command must not be retained by the broker"
        if command.id in self._taken:
            return RefusalReason.REPLAYED, self._taken[command.id].detail
        if isinstance(command.body, ONLY_DEVICES_SAY):
            return RefusalReason.NOT_FOR_CENTRAL, "paper is the business of the hall's devices"
        if not now.synced:
            return RefusalReason.EXPIRED, "the hall's clock is not set, nobody can tell"
        if command.expires_at <= now.wall:
            return RefusalReason.EXPIRED, f"good until {command.expires_at.isoformat()}"
        from_then_on = self._started_by(now) + CLOCKS_MAY_DIFFER
        if command.issued_at <= from_then_on:
            return RefusalReason.EXPIRED, (
                f"issued before {from_then_on.isoformat(timespec='seconds')}: it may have been "
                "taken before this controller started"
            )
        if command.issued_at > now.wall + CLOCKS_MAY_DIFFER:
            return RefusalReason.MALFORMED, "issued in the future"
        if command.expires_at - command.issued_at > MAX_LIFE:
            return RefusalReason.MALFORMED, f"good for longer than {MAX_LIFE}"
        self._forget_expired(now.wall)
        if len(self._taken) >= MAX_REMEMBERED:
            return RefusalReason.OVERLOADED, "too many commands to tell a new one from a replay"
        return None

    def _started_by(self, now: Moment) -> datetime:
        """When this controller started, by the clock as it is set now."""
        return now.wall - timedelta(seconds=max(0.0, now.monotonic - self._started.monotonic))

    def _forget_expired(self, now: datetime) -> None:
        if len(self._taken) >= MAX_REMEMBERED:
            self._taken = {
                each: taken for each, taken in self._taken.items() if taken.expires_at > now
            }


class Malformed(ValueError):
    """What was sent is not what it should be; the message says where and how."""


_Document = TypeVar("_Document", bound=BaseModel)


def read_document(model: type[_Document], payload: bytes, at_most_bytes: int) -> _Document:
    """What the centre sent, as a document of ours. Raises ``Malformed``."""
    if len(payload) > at_most_bytes:
        raise Malformed(f"longer than {at_most_bytes} bytes")
    try:
        return model.model_validate_json(payload)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        what = f"{where}: {first['msg']}" if where else first["msg"]  # no place: all of it is wrong
        raise Malformed(what[:200]) from error


def _parse(command_id: str, payload: bytes) -> CentralCommand | Refusal:
    try:
        command = read_document(CentralCommand, payload, MAX_COMMAND_BYTES)
    except Malformed as malformed:
        return _malformed(str(malformed))
    if command.id != command_id:
        return _malformed("its id is not the one in its topic")
    return command


def _refused(command_id: str, refusal: Refusal) -> CentralReply:
    return CentralReply(id=command_id, accepted=False, refusal=refusal)


def _malformed(detail: str) -> Refusal:
    return Refusal(reason=RefusalReason.MALFORMED, command="central", detail=detail)
