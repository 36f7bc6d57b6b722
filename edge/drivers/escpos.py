"""ESC/POS ticket printers: the codec, and the driver that tells the truth about each ticket.

Commands and status bytes are those of Epson's "ESC/POS Command Reference", which most thermal
printers follow: DLE EOT, DLE DC4 (fn 8), ESC @, FS &, GS a, GS r, GS ( k, GS V.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import ClassVar, Literal

from pydantic import Field

from contract.names import DeviceId, DeviceStatus, Language, VoidReason
from edge.drivers.config import DeviceConfig, Role, port_claim
from edge.drivers.framing import Discarded, Reassembler
from edge.drivers.health import Health
from edge.drivers.link import Link, Port, open_link
from edge.drivers.roles import Printed, PrintOutcome, Slip, StatusCallback
from edge.drivers.supervisor import run_together

_log = logging.getLogger(__name__)

# --- what is sent -------------------------------------------------------------------------------

INITIALISE = b"\x1b@"
"""ESC @: default styles, an empty line buffer, automatic status off."""

CLEAR_BUFFERS = b"\x10\x14\x08\x01\x03\x14\x01\x06\x02\x08"
"""DLE DC4, fn 8: receive and print buffers are emptied at once, also with the paper out. Nothing
may be sent after it until the answer ``37 25 00`` has come."""

BARRIER = b"\x1dr\x01"
"""GS r 1: answered in order, so after everything before it is on paper; silent while offline."""

ASK_STATUS = b"\x10\x04\x01\x10\x04\x02\x10\x04\x03\x10\x04\x04"
"""DLE EOT 1 to 4, answered at once and in this order, whatever else the printer does."""

AUTOMATIC_STATUS = b"\x1da\x0f"
"""GS a: four bytes now and at every change."""

MAX_QR_BYTES = 600
_MAX_TEXT = 120

_CENTRE = b"\x1ba\x01"
_PLAIN = b"\x1d!\x00\x1bE\x00"
_CUTS = {"full": b"\x1dV\x41\x00", "partial": b"\x1dV\x42\x00", "none": b"\x1bd\x06"}
"""Functions B of GS V feed to the knife by themselves; without a knife, feed to the tear bar."""

Cut = Literal["full", "partial", "none"]


@dataclass(frozen=True, slots=True)
class TicketLayout:
    """What the encoder must know of the printer."""

    columns: int = 48
    """Characters of font A (12 dots) in a line: 48 on 80 mm paper, 32 on 58 mm."""
    cut: Cut = "partial"
    qr_module_dots: int = 6


def encode_ticket(slip: Slip, layout: TicketLayout) -> bytes:
    """The bytes of one ticket, from its first line to its cut, without the barrier.

    They hold no control byte that the texts brought along, and so no real-time command: a hall's
    name can't make the printer do anything but print.
    """
    parts = [_CENTRE, _PLAIN]
    for index, language in enumerate(slip.languages):
        parts.append(_line(slip.hall_name.get(language, ""), layout, 2 if index == 0 else 1))
    if slip.reprint:
        parts.append(_line("*** 补打 REPRINT ***", layout, 1, bold=True))
    parts.append(b"\n" + _line(slip.number, layout, 8, bold=True) + b"\n")
    for language in slip.languages:
        parts.append(_line(slip.service_name.get(language, ""), layout, 2))
        parts += [_line(text, layout, 1) for text in waiting_lines(slip, language)]
    parts.append(_line(_shown(slip.issued_at), layout, 1))
    if qr_fits(slip.qr):
        parts.append(encode_qr(slip.qr, layout.qr_module_dots))
    parts.append(b"\n" + _CUTS[layout.cut])
    return b"".join(parts)


def encode_scrap(layout: TicketLayout) -> bytes:
    """Cuts off what may hang half printed in the slot, and marks it."""
    return _CENTRE + _line("--- 以上作废 VOID ABOVE ---", layout, 1) + _CUTS[layout.cut]


def waiting_lines(slip: Slip, language: Language) -> list[str]:
    """People ahead and the wait as a range; an unknown wait is not mentioned."""
    if language is Language.ZH:
        lines = [f"前面还有 {slip.ahead} 人" if slip.ahead else "前面无人等候"]
        if slip.wait_minutes is not None:
            lines.append("约 {} 分钟, 最长约 {} 分钟".format(*slip.wait_minutes))
        return lines
    lines = [f"{slip.ahead} ahead of you" if slip.ahead else "nobody ahead of you"]
    if slip.wait_minutes is not None:
        lines.append("about {} min, at most {}".format(*slip.wait_minutes))
    return lines


def encode_qr(text: str, module_dots: int) -> bytes:
    """GS ( k: model 2, error correction M, store, print. Raises ``ValueError`` if too long."""
    data = text.encode("utf-8")
    if len(data) > MAX_QR_BYTES:
        raise ValueError(f"QR text of {len(data)} bytes; at most {MAX_QR_BYTES} fit a ticket")

    def function(number: int, parameters: bytes) -> bytes:
        body = b"1" + bytes((number,)) + parameters
        return b"\x1d(k" + len(body).to_bytes(2, "little") + body

    return (
        function(65, b"2\x00")
        + function(67, bytes((module_dots,)))
        + function(69, b"1")
        + function(80, b"0" + data)
        + function(81, b"0")
    )


def qr_fits(text: str) -> bool:
    """Whether the text can go on a ticket: not empty, no control characters, not too long."""
    return bool(text) and text.isprintable() and len(text.encode("utf-8")) <= MAX_QR_BYTES


def encode_text(text: str) -> bytes:
    """One run of text: Chinese between FS & and FS ., in GB 18030; control characters dropped.

    The one place that knows how Chinese gets on paper; a printer without a Chinese font would
    get a picture from here.
    """
    spaced = "".join(" " if character.isspace() else character for character in text)
    clean = "".join(character for character in spaced if character.isprintable())[:_MAX_TEXT]
    if clean.isascii():
        return clean.encode("ascii")
    return b"\x1c&" + clean.encode("gb18030") + b"\x1c."


def _line(text: str, layout: TicketLayout, scale: int, *, bold: bool = False) -> bytes:
    """One line at up to ``scale`` times the size, as large as the paper is wide for."""
    if not text:
        return b""
    width = sum(1 if character.isascii() else 2 for character in text)
    fitting = max(1, min(scale, layout.columns // width))
    size = (fitting - 1) << 4 | (fitting - 1)
    style = b"\x1d!" + bytes((size,)) + b"\x1bE" + (b"\x01" if bold else b"\x00")
    return style + encode_text(text) + b"\n" + _PLAIN


def _shown(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M")


# --- what is received ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RealTimeStatus:
    """The answer to one DLE EOT; which one it answers, only the order tells."""

    byte: int


@dataclass(frozen=True, slots=True)
class AutomaticStatus:
    """The four bytes of an automatic status (ASB)."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class BarrierReached:
    """The answer to GS r 1: everything before it is on paper."""

    byte: int


@dataclass(frozen=True, slots=True)
class BuffersCleared:
    """The answer to ``CLEAR_BUFFERS``."""


Reply = RealTimeStatus | AutomaticStatus | BarrierReached | BuffersCleared

MAX_REPLY_BYTES = 4
_CLEARED = b"\x37\x25\x00"


def decode(data: bytes) -> tuple[int, Reply | Discarded | None]:
    """The first message in ``data``: (bytes used, message), (0, ``None``) for "need more".

    The kinds are told apart by their fixed bits (ESC/POS reference, "Transmission status
    identification"): ``0xx1xx10`` is an answer to DLE EOT, ``0xx1xx00`` begins an automatic
    status whose other bytes are ``0xx0xxxx``, ``0000xxxx`` answers GS r. Everything else is
    garbage, skipped up to the next byte that may begin a message.
    """
    if not data:
        return 0, None
    first = data[0]
    if first & 0x93 == 0x12:
        return 1, RealTimeStatus(first)
    if first & 0xF0 == 0:
        return 1, BarrierReached(first)
    if first & 0x93 == 0x10 and all(byte & 0x90 == 0 for byte in data[1:4]):
        return (4, AutomaticStatus(data[:4])) if len(data) >= 4 else (0, None)
    if _CLEARED.startswith(data[:3]):
        return (3, BuffersCleared()) if len(data) >= 3 else (0, None)
    garbage = 1
    while garbage < len(data) and not _may_begin(data[garbage]):
        garbage += 1
    return garbage, Discarded("bytes_garbage", garbage)


def _may_begin(byte: int) -> bool:
    return byte & 0x93 in (0x10, 0x12) or byte & 0xF0 == 0 or byte == _CLEARED[0]


def status_of_answers(answers: Sequence[int]) -> tuple[DeviceStatus, str]:
    """Status and detail from the answers to DLE EOT 1, 2, 3 and 4."""
    printer, offline, error, paper = answers
    raw = " ".join(f"{byte:02x}" for byte in answers)
    if offline & 0x04:
        return DeviceStatus.COVER_OPEN, raw
    if paper & 0x60 or offline & 0x20:
        return DeviceStatus.PAPER_OUT, raw
    if error & 0x6C or offline & 0x40:
        return DeviceStatus.FAULT, raw
    if printer & 0x08:
        return DeviceStatus.OFFLINE, raw
    if paper & 0x0C:
        return DeviceStatus.PAPER_LOW, raw
    return DeviceStatus.ONLINE, raw


def status_of_automatic(octets: bytes) -> tuple[DeviceStatus, str]:
    """Status and detail from an automatic status."""
    printer, error, paper, _ = octets
    raw = octets.hex(" ")
    if printer & 0x20:
        return DeviceStatus.COVER_OPEN, raw
    if paper & 0x0C:
        return DeviceStatus.PAPER_OUT, raw
    if error & 0x6C:
        return DeviceStatus.FAULT, raw
    if printer & 0x08:
        return DeviceStatus.OFFLINE, raw
    if paper & 0x03:
        return DeviceStatus.PAPER_LOW, raw
    return DeviceStatus.ONLINE, raw


# --- the driver ---------------------------------------------------------------------------------


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
"""By the status at the end of the time to live; else ``printer_offline``."""


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

    **Time to live over**: the printer's buffers are cleared (``DLE DC4``), so that the ticket
    never comes out later, and the job has failed; unless the barrier was answered meanwhile. The
    half ticket that may hang in the slot is marked and cut off as soon as the printer is ready
    again; so is what may hang there from before the controller's start (``expect_scrap``).

    **Connection lost with a ticket in flight**: nobody can know whether paper came out. After
    the reconnect the buffers are cleared, the half job is cut off likewise, and the slip is
    printed once more, marked as a reprint, if its time to live still runs: the customer may then
    hold the same number twice, but never none. If it is over before that, the job fails as
    ``unconfirmed`` if any of it had been sent, else as ``printer_offline``.

    A printer that doesn't answer ``DLE DC4`` can't be cleared for sure (``clear_unconfirmed``):
    if a ticket then still comes out, its late barrier is recognised, ``printed_after_void`` is
    counted, and no later ticket is taken for printed by it.

    Counters: ``opened``, ``printed``, ``failed``, ``reprinted``, ``polls_unanswered``,
    ``clear_unconfirmed``, ``printed_after_void``, ``barriers_doubted``, ``qr_omitted``,
    ``bytes_garbage``, ``replies_unexpected``.
    """

    def __init__(
        self, device_id: DeviceId, config: EscposConfig, on_status: StatusCallback
    ) -> None:
        self.id = device_id
        self._config = config
        self._health = Health(device_id, on_status)
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
            self._fail(job, _WHY_VOID.get(self._health.status, VoidReason.PRINTER_OFFLINE))

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
            case AutomaticStatus(octets):
                self._health.report(*status_of_automatic(octets))
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
            self._health.report(*status_of_answers(self._answers))
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
        reason = _WHY_VOID.get(self._health.status, VoidReason.PRINTER_OFFLINE)
        if answered and self._health.status in READY:
            reason = VoidReason.UNCONFIRMED
        if not printed:
            self._barrier.clear()
            self._odd_bytes = 0
            cleared = await self._reset(link)
            # The answer may have crossed the clearing.
            printed = cleared and self._barrier.is_set() and not self._odd_bytes
        self._current = None
        if printed:
            self._health.count("printed")
            self._end(job, PrintOutcome(Printed.PRINTED))
        else:
            self._scrap = True
            self._fail(job, reason)

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
        while not await _within(min(silence, job.deadline - loop.time()), self._barrier):
            await self._ask_status(link)
            if loop.time() >= job.deadline:
                return False
            silence = _POLL_WITH_JOB_SECONDS
        return True


async def _within(seconds: float, event: asyncio.Event) -> bool:
    """Whether the event is set by then."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
