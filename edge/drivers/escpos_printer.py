"""The driver of an ESC/POS ticket printer, which tells the truth about each ticket."""

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

from pydantic import Field

from contract.names import DeviceId, DeviceStatus, VoidReason
from edge.drivers.config import DeviceConfig, Role, port_claim
from edge.drivers.escpos import (
    ASK_STATUS,
    AUTOMATIC_STATUS,
    BARRIER,
    CLEAR_BUFFERS,
    INITIALISE,
    MAX_REPLY_BYTES,
    AutomaticStatus,
    BarrierReached,
    BuffersCleared,
    Cut,
    RealTimeStatus,
    Reply,
    TicketLayout,
    decode,
    encode_scrap,
    encode_ticket,
    qr_fits,
    status_of_answers,
)
from edge.drivers.framing import Discarded, Reassembler
from edge.drivers.health import DeviceHealth
from edge.drivers.link import Link, Port, open_link
from edge.drivers.roles import Printed, PrintOutcome, Slip, StatusCallback
from edge.drivers.supervisor import run_together

_log = logging.getLogger(__name__)


class EscposConfig(DeviceConfig):
    """An ESC/POS ticket printer, 58 or 80 mm, on a serial port, USB or TCP (port 9100)."""

    roles: ClassVar[frozenset[Role]] = frozenset({Role.PRINTER})

    driver: Literal["escpos"] = Field(title="Driver", description="ESC/POS ticket printer.")
    port: Port = Field(
        title="Port",
        description="'/dev/serial/by-id/…', '/dev/usb/lp0' or 'socket://host:9100'.",
    )
    baud: int = Field(
        default=9600, ge=1200, le=4_000_000, title="Baud rate", description="Serial ports only."
    )
    paper_mm: Literal[58, 80] = Field(
        default=80, title="Paper width", description="Millimetres: 58 or 80."
    )
    cut: Cut = Field(
        default="partial",
        title="Cut",
        description="'partial', 'full', or 'none' where there is no knife.",
    )
    qr_module_dots: int = Field(
        default=6, ge=2, le=16, title="QR size", description="Dots per module of the QR code."
    )
    poll_seconds: float = Field(
        default=2.0,
        ge=0.1,
        le=60,
        title="Poll interval",
        description="Seconds between two questions for the status while nothing is printed.",
    )
    automatic_status: bool = Field(
        default=False,
        title="Automatic status",
        description="Let the printer push its status (ASB) as well, beside being asked.",
    )

    def claims(self) -> list[str]:
        return [port_claim(self.port)]

    @property
    def layout(self) -> TicketLayout:
        columns = 48 if self.paper_mm == 80 else 32
        return TicketLayout(columns, self.cut, self.qr_module_dots)


READY = frozenset({DeviceStatus.ONLINE, DeviceStatus.PAPER_LOW})

_POLL_WITH_JOB_SECONDS = 0.5
_ANSWER_SECONDS = 0.6
_SILENCE_SECONDS = 1.0
"""Of a barrier, on top of the time that the bytes take on the wire: then the status is asked."""
_LOST_SECONDS = 3.0
"""After that silence of a printer that is ready, the answer is taken for lost."""
_QUIET_SECONDS = 0.02
"""Around a barrier's answer; a second answer would follow the first within this."""
_CLEAR_SECONDS = 1.0
_SETTLE_SECONDS = 3.0
_POLLS_PER_CLEAR = 50
"""A printer without paper keeps even the DLE EOT it has answered; empty it before it is full."""

_WHY_VOID = {
    DeviceStatus.PAPER_OUT: VoidReason.PAPER_OUT,
    DeviceStatus.COVER_OPEN: VoidReason.PRINTER_FAULT,
    DeviceStatus.FAULT: VoidReason.PRINTER_FAULT,
    DeviceStatus.ONLINE: VoidReason.EXPIRED,
    DeviceStatus.PAPER_LOW: VoidReason.EXPIRED,
}


@dataclass(eq=False, slots=True)
class _Job:
    slip: Slip
    deadline: float
    """In the event loop's time."""
    done: asyncio.Future[PrintOutcome]
    sent: bool = False
    """Bytes of it went out at least once, so paper of it may exist."""
    expiry: asyncio.TimerHandle | None = field(default=None)


class EscposPrinter:
    """A ``TicketPrinter`` on an ESC/POS printer.

    **Printed** is a ticket when the barrier behind it (``GS r 1``) was answered, never before, and
    when a second one was too, with nothing else on the line: the answer is a single byte that
    noise can make as well. While the printer is known not to be ready (paper out, cover open,
    silent), a ticket is not sent at all but waits here. If the paper runs out in the middle of
    one, it waits in the printer, which goes on by itself after the refill.

    An answer that stays away is asked for again while the printer says, poll after poll, that it
    is ready: a byte may be lost. After a poll without that answer it is not: a printer that was
    switched off and on has forgotten the ticket, and would answer all the same.

    **Time to live over**: the printer's buffers are cleared (``DLE DC4``), so that the ticket
    never comes out later, and the job has failed, as ``unconfirmed``: a printer that ran out of
    paper when it cut the ticket answers no barrier either. Unless the barrier was answered
    meanwhile. The half ticket that may hang in the slot is marked and cut off as soon as the
    printer is ready again; so is what may hang there from before the controller's start
    (``expect_scrap``). Of a job that was never sent the printer's status is the reason.

    **Connection lost with a ticket in flight**: nobody can know whether paper came out. After
    the reconnect the buffers are cleared, the half job is cut off likewise, and the slip is
    printed once more, marked as a reprint, if its time to live still runs: the customer may then
    hold the same number twice, but never none. If it is over before that, the job fails as
    ``unconfirmed`` if any of it had been sent, else as ``printer_offline``.

    A printer that doesn't answer ``DLE DC4`` can't be cleared for sure (``clear_unconfirmed``):
    if a ticket then still comes out, its late barrier is recognised, ``printed_after_void`` is
    counted, and no later ticket is taken for printed by it.

    Counters: ``opened``, ``printed``, ``failed``, ``reprinted``, ``polls_unanswered``,
    ``clear_unconfirmed``, ``printed_after_void``, ``barriers_doubted``, ``barriers_repeated``,
    ``barriers_unanswered``, ``statuses_doubted``, ``qr_omitted``, ``bytes_garbage``,
    ``replies_unexpected``.
    """

    def __init__(
        self, device_id: DeviceId, config: EscposConfig, on_status: StatusCallback
    ) -> None:
        self.id = device_id
        self._config = config
        self._health = DeviceHealth(device_id, on_status)
        self._jobs: deque[_Job] = deque()
        self._current: _Job | None = None
        self._work = asyncio.Event()
        self._answers: list[int] = []
        self._answered = asyncio.Event()
        self._cleared = asyncio.Event()
        self._barrier = asyncio.Event()
        self._settled = asyncio.Event()
        self._barriers_open = 0
        """Barriers that were sent and may still be answered, those of voided jobs included."""
        self._odd_bytes = 0
        """Heard since the last barrier was sent, and no answer to anything."""
        self._scrap = False
        """Half a ticket may hang in the slot: from before this start, or from a job that ended."""
        self._misses = 0
        self._polls_not_ready = 0

    def counters(self) -> Mapping[str, int]:
        return self._health.counters()

    def available(self) -> DeviceStatus:
        return self._health.status

    def expect_scrap(self) -> None:
        self._scrap = True

    # Jobs, from the hall's side

    async def print_slip(self, slip: Slip, time_to_live_seconds: float) -> PrintOutcome:
        loop = asyncio.get_running_loop()
        job = _Job(slip, loop.time() + time_to_live_seconds, loop.create_future())
        job.expiry = loop.call_at(job.deadline, self._expire, job)
        if slip.qr and not qr_fits(slip.qr):
            self._health.count("qr_omitted")
            _log.warning("%s: the QR text of %s can't be printed", self.id, slip.number)
        self._jobs.append(job)
        self._work.set()
        try:
            return await job.done
        finally:
            job.expiry.cancel()
            if job in self._jobs and job is not self._current:
                self._jobs.remove(job)

    def _expire(self, job: _Job) -> None:
        """The time to live is over. A job in the printer is ended by ``_print``, which clears."""
        if job is self._current:
            return
        if job.sent:
            self._fail(job, VoidReason.UNCONFIRMED)
        else:
            self._fail(job, _why_void(self._health.status))

    def _fail(self, job: _Job, reason: VoidReason) -> None:
        self._health.count("failed")
        self._end(job, PrintOutcome(Printed.FAILED, reason))

    def _end(self, job: _Job, outcome: PrintOutcome) -> None:
        if job in self._jobs:
            self._jobs.remove(job)
        if not job.done.done():
            job.done.set_result(outcome)

    # One connection, from opening to loss

    async def run(self) -> None:
        link: Link | None = None
        try:
            link = await open_link(self._config.port, baud=self._config.baud)
            self._health.count("opened")
            await run_together(self._read(link), self._serve(link))
        except OSError as error:
            self._health.report(DeviceStatus.OFFLINE, str(error))
            raise
        finally:
            if link is not None:
                link.close()
            if self._health.status is not DeviceStatus.OFFLINE:
                self._health.report(DeviceStatus.UNKNOWN, "not served")
            self._let_go()

    def _let_go(self) -> None:
        """The connection is over; the job in flight goes back to the front of the line."""
        job, self._current = self._current, None
        self._misses = 0
        if job is not None:
            self._scrap = True
            if job.deadline <= asyncio.get_running_loop().time():
                self._expire(job)

    async def _read(self, link: Link) -> None:
        stream: Reassembler[Reply] = Reassembler(decode, MAX_REPLY_BYTES)
        while True:
            for message in stream.feed(await link.read()):
                self._take(message)

    def _take(self, message: Reply | Discarded) -> None:
        match message:
            case RealTimeStatus() if len(self._answers) >= 4:
                self._health.count("replies_unexpected")
            case RealTimeStatus(byte):
                self._answers.append(byte)
                if len(self._answers) >= 4:
                    self._answered.set()
            case AutomaticStatus() if not self._config.automatic_status:
                self._health.count("replies_unexpected")
                self._odd_bytes += 4
            case AutomaticStatus():
                self._work.set()  # it is asked for: noise can make four such bytes, too
            case BuffersCleared():
                self._cleared.set()
            case BarrierReached() if self._barriers_open == 0:
                self._health.count("replies_unexpected")
                self._odd_bytes += 1
            case BarrierReached():
                self._barriers_open -= 1
                if self._barriers_open == 0:
                    self._settled.set()
                if self._barriers_open == 0 and self._current is not None:
                    self._barrier.set()
                else:
                    self._health.count("printed_after_void")
                    _log.error("%s: a voided ticket came out of the printer", self.id)
            case Discarded(reason, size):
                self._health.count(reason, size)
                self._odd_bytes += size

    async def _serve(self, link: Link) -> None:
        await self._reset(link)
        await self._ask_status(link)
        while True:
            if self._scrap and self._health.status in READY:
                link.write(encode_scrap(self._config.layout))
                self._scrap = False
            if self._jobs and self._health.status in READY:
                await self._print(link, self._jobs[0])
                continue
            await self._wait_for_work()
            if not self._jobs or self._health.status not in READY:
                await self._ask_status(link)

    async def _wait_for_work(self) -> None:
        self._work.clear()
        seconds = self._config.poll_seconds
        if self._jobs:
            seconds = min(seconds, _POLL_WITH_JOB_SECONDS)
        await _within(seconds, self._work)

    async def _reset(self, link: Link) -> bool:
        """Nothing of an earlier job or connection is left in the printer, and it has its styles.

        Whether the printer said so. The job that fails or is lost meanwhile ends by the rules of
        the class.
        """
        self._cleared.clear()
        link.write(CLEAR_BUFFERS)
        cleared = await _within(_CLEAR_SECONDS, self._cleared)
        if cleared:
            self._barriers_open = 0
        else:
            self._health.count("clear_unconfirmed")
            _log.warning("%s: no answer to the command that clears its memory", self.id)
        automatic = AUTOMATIC_STATUS if self._config.automatic_status else b""
        link.write(INITIALISE + automatic)
        return cleared

    # Status

    async def _ask_status(self, link: Link) -> None:
        """Ask and learn from the answer; no answer is no status, neither good nor bad."""
        if await self._answers_within(link) or await self._answers_within(link):
            self._misses = 0
            await self._believe(link, *status_of_answers(self._answers))
        else:
            self._misses += 1
            self._health.count("polls_unanswered")
            silent = DeviceStatus.UNKNOWN if self._misses == 1 else DeviceStatus.OFFLINE
            self._health.report(silent, "no answer")
        if self._health.status in READY or self._current is not None:
            self._polls_not_ready = 0
            return
        self._polls_not_ready += 1
        if self._polls_not_ready >= _POLLS_PER_CLEAR:
            self._polls_not_ready = 0
            await self._reset(link)

    async def _believe(self, link: Link, status: DeviceStatus, detail: str) -> None:
        """News is asked for twice: noise can make four bytes that look like answers, too."""
        if status is not self._health.status:
            again = await self._answers_within(link)
            if not again or status_of_answers(self._answers)[0] is not status:
                self._health.count("statuses_doubted")
                return
        self._health.report(status, detail)

    async def _answers_within(self, link: Link) -> bool:
        """Ask once; one byte lost on the wire is no reason to doubt the printer."""
        self._answers.clear()
        self._answered.clear()
        link.write(ASK_STATUS)
        return await _within(_ANSWER_SECONDS, self._answered)

    # One ticket

    async def _print(self, link: Link, job: _Job) -> None:
        await self._settle()
        if job.done.done():
            return
        slip = replace(job.slip, reprint=True) if job.sent else job.slip
        ticket = encode_ticket(slip, self._config.layout)
        if job.sent:
            self._health.count("reprinted")
        self._current, job.sent = job, True
        self._settled.clear()
        self._send_barrier(link, ticket)
        silence = _SILENCE_SECONDS + 10 * len(ticket) / self._config.baud
        answered = await self._barrier_answered(link, job, silence)
        printed = answered and await self._confirmed(link, job)
        if printed:
            self._current = None
            self._health.count("printed")
            self._end(job, PrintOutcome(Printed.PRINTED))
            return
        status = self._health.status
        self._barrier.clear()
        self._odd_bytes = 0
        cleared = await self._reset(link)
        crossed = self._barrier.is_set()  # an answer, and the clearing
        self._current = None
        if cleared and crossed and status in READY and not self._odd_bytes:
            self._health.count("printed")
            self._end(job, PrintOutcome(Printed.PRINTED))
            return
        self._scrap = True
        if status in READY and not answered and not crossed:
            self._health.count("barriers_unanswered")
            _log.error(
                "%s is ready and did not answer whether %s was printed. A printer that never does "
                "(GS r 1) can't be used",
                self.id,
                job.slip.number,
            )
        # Whatever it says now: the end of the roll may have been seen when the ticket was cut.
        self._fail(job, VoidReason.UNCONFIRMED)

    def _send_barrier(self, link: Link, ticket: bytes = b"") -> None:
        self._barrier.clear()
        self._odd_bytes = 0
        self._barriers_open += 1
        link.write(ticket + BARRIER)

    async def _confirmed(self, link: Link, job: _Job) -> bool:
        """Whether a barrier was answered by one byte alone. Asked again until it was, or until the
        time to live is over.

        If the first answer was noise, the printer now answers two barriers, and only after the
        ticket; so nothing that is not on paper is ever confirmed by a single byte of noise.
        """
        while True:
            await asyncio.sleep(_QUIET_SECONDS)
            self._send_barrier(link)
            if not await self._barrier_answered(link, job, _SILENCE_SECONDS):
                return False
            await asyncio.sleep(_QUIET_SECONDS)
            if not self._odd_bytes:
                return True
            self._health.count("barriers_doubted")
            if asyncio.get_running_loop().time() >= job.deadline:
                return False

    async def _settle(self) -> None:
        """Before a ticket is sent to a ready printer that couldn't be cleared: let the barriers
        of voided jobs be answered, so that none is mistaken for this job's."""
        if self._barriers_open:
            await _within(_SETTLE_SECONDS, self._settled)
            self._barriers_open = 0

    async def _barrier_answered(self, link: Link, job: _Job, silence: float) -> bool:
        """Whether it is before the time to live is over; the status is asked meanwhile."""
        loop = asyncio.get_running_loop()
        always_ready = True
        lost_at = loop.time() + silence + _LOST_SECONDS
        while not await _within(min(silence, job.deadline - loop.time()), self._barrier):
            await self._ask_status(link)
            if loop.time() >= job.deadline:
                return False
            always_ready = always_ready and self._health.status in READY
            if always_ready and loop.time() >= lost_at:
                self._health.count("barriers_repeated")
                self._barriers_open = 0
                self._send_barrier(link)
                lost_at = loop.time() + _LOST_SECONDS
            silence = _POLL_WITH_JOB_SECONDS
        return True


def _why_void(status: DeviceStatus) -> VoidReason:
    """Of a ticket that is on no paper, by the printer's status when its time was over."""
    return _WHY_VOID.get(status, VoidReason.PRINTER_OFFLINE)


async def _within(seconds: float, event: asyncio.Event) -> bool:
    """Whether the event is set by then."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
