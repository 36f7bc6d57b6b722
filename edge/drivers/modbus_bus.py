"""The master of one RS-485 bus: one link, one transaction at a time, many units.

Keys are heard because every unit is polled in turn, as fast as the bus allows; a write (a lamp)
goes before the polls. A unit that doesn't answer costs the others little: it is asked more and
more rarely, and never twice before all others were asked.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Protocol

from pydantic import Field

from contract.names import DeviceId, DeviceStatus
from edge.drivers.config import Typed, port_claim
from edge.drivers.health import DeviceHealth
from edge.drivers.link import Link, Port, open_link
from edge.drivers.modbus_rtu import (
    MAX_FRAME,
    Reply,
    Request,
    decode_reply,
    encode_request,
    reply_size,
)
from edge.drivers.roles import StatusCallback

_log = logging.getLogger(__name__)

LONGEST_CYCLE_SECONDS = 0.060
"""A tap lasts 80 to 150 ms; one that falls between two polls is lost. The configuration's check
warns of a bus that is slower."""

_TURNAROUND_SECONDS = 0.001
"""What a unit takes to answer; with it the computed cycles match measured ones within 10 %."""
_BITS_PER_BYTE = 10
_SHORTEST_SILENCE_SECONDS = 0.002
_SILENCE_BYTES = 3.5
_GOODBYE_SECONDS = 1.0
_LATE_SECONDS = 0.010
"""Silence after a time-out: an answer that comes late must not run into the next request."""
_ABSENT_AFTER = 3
"""Transactions in a row without an answer."""
_FIRST_BACK_OFF_SECONDS = 0.25
_LONGEST_BACK_OFF_SECONDS = 2.0
_PROBE_GAP_SECONDS = 0.15
"""Between two questions to absent units that were asked in vain: others must be heard in time."""
_REFUSED_SECONDS = 2.0
"""What a unit answered with an exception isn't asked again for so long."""
_TELL_OF_LATE_LOOKS_SECONDS = 60.0
"""At most so often; all of them are counted."""
_WRITES_IN_A_ROW = 4
"""Then one poll, so that lamps can't deafen the keys."""
_SHORTEST_PATIENCE_SECONDS = 0.025
"""A silent unit is waited for as long as answers take of late, twice over, and at least so long:
with this pause and its neighbours' polls, a tap still lasts longer than a round."""
_LONG_PATIENCE_EVERY = 8
"""Questions in a row to a silent unit: one of so many waits as long as the neighbours' taps allow,
so that a unit much slower than they is found too."""
_SHORTEST_TAP_SECONDS = 0.080
_SHORTEST_WAIT_SECONDS = 0.001
_NEVER = float("inf")

LinkOpener = Callable[[str, int], Awaitable[Link]]


class BusConfig(Typed):
    """One ``[buses.NAME]`` table: an RS-485 line with Modbus RTU units on it."""

    port: Port = Field(
        title="Port",
        description="Serial port, best by /dev/serial/by-id, or socket://host:port of a gateway.",
    )
    baud: Annotated[int, Field(ge=1200, le=1_000_000)] = Field(
        default=115_200,
        title="Baud rate",
        description="Of the wire, also behind a gateway. All units on it must be set to it (8N1).",
    )
    timeout_ms: Annotated[int, Field(ge=10, le=1000)] = Field(
        default=60,
        title="Time-out, ms",
        description="How long a unit may take to begin its answer, beyond the time on the wire. "
        "Beside units that answer, a silent one is waited for less: no longer than a tap on their "
        "keys lasts.",
    )
    retries: Annotated[int, Field(ge=0, le=3)] = Field(
        default=1,
        title="Retries",
        description="How often a unit that answered before is asked again at once.",
    )
    poll_ms: Annotated[int, Field(ge=5, le=60)] = Field(
        default=20,
        title="Poll interval, ms",
        description="Each unit is polled at most this often; with many units the bus is slower.",
    )

    def claims(self) -> list[str]:
        return [port_claim(self.port)]


class BusUnit(Protocol):
    """A unit on a bus. All methods return at once."""

    address: int
    """1..247."""
    poll: Request
    """Asked for ever; its answers carry the keys."""

    def wish(self, at: float) -> Request | None:
        """The write that is wanted now, if any. Asked again until it was answered."""
        ...

    def next_wish(self, at: float) -> float:
        """When the unit, which has no wish now, will have one by the passing of time alone
        (a lamp blinks); infinite for never. For all else it calls ``ModbusBus.wake``."""
        ...

    def upkeep(self, at: float) -> Request | None:
        """A write that can wait: the bus does one in a round of polls, so that it doesn't keep
        the keys from being heard."""
        ...

    def goodbye(self) -> Request | None:
        """The write that leaves nothing lit behind, for a clean stop."""
        ...

    def answered(self, request: Request, reply: Reply, at: float) -> None:
        """The unit answered, perhaps with an exception."""
        ...

    def absent(self, why: str) -> None:
        """The unit doesn't answer any more, or the bus is down. Said once per change."""
        ...


@dataclass(slots=True)
class _Seat:
    """A unit and what the bus knows of it."""

    unit: BusUnit
    due: float = 0.0
    """When it may be polled next."""
    look_at: float = 0.0
    """When it is asked for its wish next."""
    failures: int = 0
    refused_until: float = 0.0
    """Writes were refused: none before this."""
    looked_at: float | None = None
    """When its keys were looked at last, if it has answered ever since."""

    @property
    def absent(self) -> bool:
        return self.failures >= _ABSENT_AFTER


class ModbusBus:
    """A device of its own for its supervisor: ``run`` serves all units that are registered.

    ``open_link(port, baud)`` can be replaced; by default it is ``link.open_link``.
    """

    def __init__(
        self,
        bus_id: DeviceId,
        config: BusConfig,
        on_status: StatusCallback,
        *,
        open_link: LinkOpener | None = None,
    ) -> None:
        self.id = bus_id
        self._config = config
        self._open_link = open_link or _open_link
        self._health = DeviceHealth(bus_id, on_status)
        self._seats: dict[int, _Seat] = {}
        self._goodbyes: dict[int, tuple[_Seat, Request | None]] = {}
        """By unit; kept when a unit unregisters, for at a stop all do."""
        self._wake = asyncio.Event()
        self._silence = _silence_seconds(config.baud)
        self._quiet_from = 0.0
        """When the line may be used again, if nothing is heard until then."""
        self._writes_in_a_row = 0
        self._look_at = 0.0
        """The earliest ``look_at`` of all units that answer."""
        self._polls_since_upkeep = 0
        self._polls_since_silence = 0
        self._probe_from = 0.0
        """When an absent unit may be asked again."""
        self._slowest_answer = 0.0
        """Seconds beyond the time on the wire, of late."""
        self._tell_of_late_looks_from = 0.0

    def register(self, unit: BusUnit) -> None:
        """From now on the unit is served. Raises ``ValueError``: its address is taken."""
        if unit.address in self._seats:
            raise ValueError(f"bus {self.id}: unit {unit.address} is there twice")
        seat = self._seats[unit.address] = _Seat(unit)
        self._goodbyes[unit.address] = seat, unit.goodbye()
        if self._health.status is DeviceStatus.OFFLINE:
            unit.absent(f"bus {self.id} is down")
        self.wake(unit)

    def unregister(self, unit: BusUnit) -> None:
        self._seats.pop(unit.address, None)

    def wake(self, unit: BusUnit) -> None:
        """The unit may have a wish."""
        seat = self._seats.get(unit.address)
        if seat is not None:
            seat.look_at = self._look_at = 0.0
            self._wake.set()

    def counters(self) -> Mapping[str, int]:
        """``requests``, ``timeouts``, ``replies_damaged`` (time-outs with bytes),
        ``bytes_garbage``, ``exceptions``, ``opened``, ``looks_late`` (a unit that answers was not
        asked for longer than a tap lasts)."""
        return self._health.counters()

    async def run(self) -> None:
        """Open the link and serve the units. Raises ``OSError`` when the link is lost."""
        try:
            link = await self._open_link(self._config.port, self._config.baud)
            try:
                await self._serve(link)
            except asyncio.CancelledError:
                # In a task of its own: until Python 3.11.5, time-outs within one that is cancelled
                # end as cancellations.
                await asyncio.shield(asyncio.create_task(self._say_goodbye(link)))
                raise
            finally:
                link.close()
        except Exception as error:  # lost, or a bug of which the supervisor says that it is one
            self._health.report(DeviceStatus.OFFLINE, str(error))
            for seat in self._seats.values():
                seat.failures = _ABSENT_AFTER
                seat.due = 0.0  # asked at once when the link is back
                seat.looked_at = None
                seat.unit.absent(f"bus {self.id} is down: {error}")
            raise

    async def _serve(self, link: Link) -> None:
        self._health.count("opened")
        self._slowest_answer = 0.0
        self._health.report(DeviceStatus.ONLINE, self._config.port)
        while True:
            seat, request = await self._next()
            tries = 1 + (self._config.retries if seat.failures == 0 else 0)
            started = _now()
            for _ in range(tries):
                reply, heard = await self._transact(link, request, self._patience(seat))
                # A unit that is silent is no less so if asked at once, and others wait.
                if reply is not None or not heard:
                    break
            if seat.unit.address in self._seats:  # not unregistered meanwhile
                self._settle(seat, request, reply, started)

    async def _say_goodbye(self, link: Link) -> None:
        """A lamp that says "ready" must not outlive whoever would answer the press. Those that
        answered until now come first: many absent ones would use up the time."""
        self._quiet_from = _now() + _LATE_SECONDS  # an answer may be on its way
        goodbyes = sorted(self._goodbyes.values(), key=lambda each: each[0].failures)
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(_GOODBYE_SECONDS):
                for _, request in goodbyes:
                    if request is not None:
                        await self._transact(link, request, _SHORTEST_PATIENCE_SECONDS)

    def _patience(self, seat: _Seat) -> float:
        """How long the unit may take to begin its answer.

        A silent one deafens the bus for so long. What answers took of late on this line tells
        what this one would take; where nobody answers, nobody is kept waiting either.
        """
        timeout = self._config.timeout_ms / 1000
        if not self._slowest_answer or not self._answering():
            return timeout
        patience = 2 * self._slowest_answer
        if seat.failures and (seat.failures + 1) % _LONG_PATIENCE_EVERY == 0:
            patience = timeout
        if seat.failures:
            asked = [each.unit.poll for each in self._seats.values() if not each.failures]
            round_of_polls = poll_cycle_seconds(self._config.baud, [seat.unit.poll, *asked])
            patience = min(patience, _SHORTEST_TAP_SECONDS - _LATE_SECONDS - round_of_polls)
        return min(timeout, max(_SHORTEST_PATIENCE_SECONDS, patience))

    # --- whose turn it is ---------------------------------------------------------------------

    async def _next(self) -> tuple[_Seat, Request]:
        """The next transaction; waits while there is none."""
        while True:
            self._wake.clear()
            now = _now()
            work = self._write(now) or self._poll(now)
            if work is not None:
                return work
            until = min(self._look_at, *map(self._next_look, self._seats.values()), now + 1.0)
            # Not at once: a silent unit that is due may have to wait until others are.
            until = max(until, now + _SHORTEST_WAIT_SECONDS)
            timer = asyncio.get_running_loop().call_at(until, self._wake.set)
            try:
                await self._wake.wait()
            finally:
                timer.cancel()

    def _write(self, now: float) -> tuple[_Seat, Request] | None:
        if self._writes_in_a_row >= _WRITES_IN_A_ROW:
            return None
        if now >= self._look_at:
            self._look_at = _NEVER
            for seat in self._seats.values():
                if seat.look_at <= now and seat.failures == 0:
                    request = seat.unit.wish(now)
                    if request is not None:
                        self._writes_in_a_row += 1
                        self._look_at = 0.0  # to this one once more, and the others
                        return seat, request
                    seat.look_at = seat.unit.next_wish(now)
                if seat.failures == 0:
                    self._look_at = min(self._look_at, seat.look_at)
        if self._polls_since_upkeep >= self._answering():
            self._polls_since_upkeep = 0
            for seat in self._seats.values():
                if seat.failures == 0 and seat.refused_until <= now:
                    request = seat.unit.upkeep(now)
                    if request is not None:
                        self._writes_in_a_row += 1
                        return seat, request
        return None

    def _answering(self) -> int:
        return sum(seat.failures == 0 for seat in self._seats.values())

    def _poll(self, now: float) -> tuple[_Seat, Request] | None:
        self._writes_in_a_row = 0
        # After each question in vain, all units that answer come before one that did not.
        probing = self._polls_since_silence >= self._answering()
        turn: _Seat | None = None
        for seat in self._seats.values():
            if (
                seat.due <= now
                and (turn is None or seat.due < turn.due)
                and (seat.failures == 0 or (probing and now >= self._probe_from))
            ):
                turn = seat
        if turn is None:
            return None
        self._polls_since_silence += 1
        self._polls_since_upkeep += 1
        return turn, turn.unit.poll

    def _next_look(self, seat: _Seat) -> float:
        return max(seat.due, self._probe_from) if seat.failures else seat.due

    def _settle(self, seat: _Seat, request: Request, reply: Reply | None, started: float) -> None:
        """Keep the books of the unit and tell it."""
        now = _now()
        if reply is None:
            self._polls_since_silence = 0
            was_absent = seat.absent
            seat.failures += 1
            seat.looked_at = None
            seat.due = now
            if seat.absent:
                self._probe_from = now + _PROBE_GAP_SECONDS
                doublings = min(seat.failures - _ABSENT_AFTER, 10)
                seat.due += min(_FIRST_BACK_OFF_SECONDS * 2**doublings, _LONGEST_BACK_OFF_SECONDS)
                if not was_absent:
                    seat.unit.absent(f"unit {seat.unit.address} on bus {self.id} does not answer")
            return
        if seat.failures:
            seat.failures = 0
            seat.look_at = self._look_at = 0.0
        if request == seat.unit.poll:
            seat.due = started + self._config.poll_ms / 1000
            self._looked(seat, started)
        if reply.exception is not None:
            self._health.count("exceptions")
            if request == seat.unit.poll:
                seat.due = now + _REFUSED_SECONDS
            else:
                seat.refused_until = seat.look_at = now + _REFUSED_SECONDS
        seat.unit.answered(request, reply, now)

    def _looked(self, seat: _Seat, at: float) -> None:
        """Notice when the unit's keys were not looked at for longer than a tap lasts: this
        machine, or an adapter, is too slow for the bus."""
        before, seat.looked_at = seat.looked_at, at
        if before is None or at - before <= _SHORTEST_TAP_SECONDS:
            return
        self._health.count("looks_late")
        if at >= self._tell_of_late_looks_from:
            self._tell_of_late_looks_from = at + _TELL_OF_LATE_LOOKS_SECONDS
            _log.warning(
                "bus %s: the keys of unit %d were not looked at for %.0f ms; a tap can be as short "
                "as %.0f ms and would have been missed",
                *(self.id, seat.unit.address, 1000 * (at - before), 1000 * _SHORTEST_TAP_SECONDS),
            )

    # --- the line -----------------------------------------------------------------------------

    async def _transact(
        self, link: Link, request: Request, patience: float
    ) -> tuple[Reply | None, bool]:
        """Ask once. The valid answer that came in time, if any, and whether anything was heard."""
        frame = encode_request(request)
        await self._quiet(link)
        link.write(frame)
        await link.drain()
        self._health.count("requests")
        on_wire = (len(frame) + reply_size(request)) * _BITS_PER_BYTE / self._config.baud
        asked = _now()
        reply, heard = await self._receive(link, request, asked + on_wire + patience)
        now = _now()
        if reply is None:
            self._health.count("timeouts")
            self._quiet_from = now + max(self._silence, _LATE_SECONDS)
        else:
            self._quiet_from = now + self._silence
            # Forgotten slowly: by half in about 700 answers.
            self._slowest_answer = max(now - asked - on_wire, 0.999 * self._slowest_answer)
        return reply, heard > 0

    async def _quiet(self, link: Link) -> None:
        """Return when the line was silent for long enough; drop what is heard meanwhile.

        A line that never falls silent is used nevertheless after one time-out.
        """
        limit = _now() + self._config.timeout_ms / 1000
        while _now() < limit:
            data = await link.read(self._quiet_from)
            if not data:
                return
            self._health.count("bytes_garbage", len(data))
            self._quiet_from = _now() + self._silence

    async def _receive(
        self, link: Link, request: Request, deadline: float
    ) -> tuple[Reply | None, int]:
        """The reply, if it came, and how many bytes were heard."""
        buffer = b""
        heard = 0
        while heard < 4 * MAX_FRAME:
            data = await link.read(deadline)
            if not data:
                break
            heard += len(data)
            buffer += data[: 4 * MAX_FRAME]
            while buffer:
                used, reply = decode_reply(buffer, request)
                buffer = buffer[used:]
                if reply is not None:
                    if garbage := heard - _size(reply, request):
                        self._health.count("bytes_garbage", garbage)
                    return reply, heard
                if used == 0:
                    break
            if _now() >= deadline:
                break
        self._health.count("bytes_garbage", heard)
        self._health.count("replies_damaged", int(heard > 0))
        return None, heard


def poll_cycle_seconds(baud: int, polls: Iterable[Request]) -> float:
    """How long one round of these polls takes on a wire of ``baud``, when all units answer.

    More than ``LONGEST_CYCLE_SECONDS`` loses taps of keys: fewer units on a bus, or a higher baud
    rate.
    """
    silence = _silence_seconds(baud)
    return sum(
        (len(encode_request(poll)) + reply_size(poll)) * _BITS_PER_BYTE / baud
        + silence
        + _TURNAROUND_SECONDS
        for poll in polls
    )


def _size(reply: Reply, request: Request) -> int:
    return 5 if reply.exception is not None else reply_size(request)


def _silence_seconds(baud: int) -> float:
    """Between two frames (MODBUS over Serial Line V1.02, 2.5.1.1)."""
    return max(_SILENCE_BYTES * _BITS_PER_BYTE / baud, _SHORTEST_SILENCE_SECONDS)


async def _open_link(port: str, baud: int) -> Link:
    return await open_link(port, baud=baud)


def _now() -> float:
    return asyncio.get_running_loop().time()
