"""A thermal ticket printer that understands ESC/POS, and the paper that comes out of it.

Two readers see every byte, as in the real thing: the real-time commands (DLE …) are answered the
moment they arrive, even in the middle of a picture and with the paper out; everything else goes
through a bounded buffer and is executed in order, as fast as paper moves.

Sources: Epson's ESC/POS command reference (DLE EOT, DLE DC4, GS a, GS r, GS ( k, GS v 0, GS V);
status bytes as in the hardware notes: idle ``12 12 12 12``, paper out ``1a 32 12 7e``.
"""

import asyncio
import unicodedata
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from simulator.devices.device import VirtualDevice
from simulator.devices.endpoint import Endpoint
from simulator.devices.paper import Align, Paper, PaperItem, QrCode, Raster, TextLine, item_as_json

DOTS_PER_MM = 8
"""203 dpi."""

RECEIVE_BUFFER_BYTES = 1 << 16
PAPERS_KEPT = 50
ITEMS_PER_PAPER = 1000

_ALIGNS: tuple[Align, ...] = ("left", "center", "right")

DLE, EOT, ENQ, DC4, LF, ESC, FS, GS = 0x10, 0x04, 0x05, 0x14, 0x0A, 0x1B, 0x1C, 0x1D

_CLEAR_BUFFER = bytes((DLE, DC4, 8, 1, 3, 20, 1, 6, 2, 8))
_CLEAR_RESPONSE = b"\x37\x25\x00"

_CODE_PAGES = {0: "cp437", 2: "cp850", 3: "cp860", 5: "cp865", 16: "cp1252", 17: "cp866"}

_QR_BYTES_LEVEL_M = (14, 26, 42, 62, 84, 106, 122, 152, 180, 213)
"""Capacity of versions 1 to 10 (ISO/IEC 18004, table 7), for the height of the paper only."""


@dataclass
class _Style:
    """What ``ESC @`` sets back."""

    align: Align = "left"
    bold: bool = False
    width: int = 1
    height: int = 1
    line_spacing_dots: int = 30
    code_page: str = "cp437"
    chinese: bool = False
    qr_model: int = 2
    qr_module_dots: int = 3
    qr_level: str = "L"
    qr_data: bytes = b""


@dataclass
class _Strip:
    """The paper that hangs out of the slot and is not cut yet."""

    items: list[PaperItem] = field(default_factory=list)
    started_at: float | None = None
    length_mm: float = 0.0
    interrupted: bool = False


class VirtualPrinter(VirtualDevice):
    """An ESC/POS ticket printer.

    ``paper_dots`` is the printable width: 576 for 80 mm paper, 384 for 58 mm. ``mm_per_second``
    is how fast paper moves. ``link_follows_power``: the printer has its own network card, so
    that switching it off takes the link down too; a serial port stays, silent.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        paper_dots: int = 576,
        mm_per_second: float = 200.0,
        chinese_at_power_on: bool = False,
        link_follows_power: bool = False,
    ) -> None:
        super().__init__(endpoint)
        self.mm_per_second = mm_per_second
        self.papers: deque[Paper] = deque(maxlen=PAPERS_KEPT)
        """The last pieces of paper, oldest first."""
        self.counters: Counter[str] = Counter()
        """``papers``, ``papers_incomplete``, ``unknown_commands``, ``buffer_overflow_bytes``,
        ``status_requests``, ``buffer_clears``, ``text_errors``."""
        self._paper_dots = paper_dots
        self._chinese_at_power_on = chinese_at_power_on
        self._link_follows_power = link_follows_power
        self._paper_watchers: list[Callable[[Paper], None]] = []
        self._on = True
        self._plug_with_power = False
        self._paper_out = False
        self._paper_low = False
        self._cover_open = False
        self._motor: asyncio.TimerHandle | None = None
        self._clear_memory()
        self._reset_settings()

    # What people do to it, and see of it

    @property
    def powered(self) -> bool:
        return self._on

    @property
    def paper_out(self) -> bool:
        return self._paper_out

    @property
    def paper_low(self) -> bool:
        return self._paper_low

    @property
    def cover_open(self) -> bool:
        return self._cover_open

    def on_paper(self, callback: Callable[[Paper], None]) -> None:
        """Call this with every piece of paper, complete or not, when it is out."""
        self._paper_watchers.append(callback)

    def run_out_of_paper(self) -> None:
        """Printing stops where it is, in the middle of a ticket too."""
        self._set_state(paper_out=True)

    def refill_paper(self) -> None:
        """A new roll: neither out nor low. What was held is printed now."""
        self._set_state(paper_out=False, paper_low=False)

    def set_paper_low(self, low: bool = True) -> None:
        """The roll is near its end; it still prints."""
        self._set_state(paper_low=low)

    def open_cover(self) -> None:
        self._set_state(cover_open=True)

    def close_cover(self) -> None:
        self._set_state(cover_open=False)

    def power_off(self) -> None:
        """No answer to anything, and what it had in its memory is gone."""
        if not self._on:
            return
        self._on = False
        if self._link_follows_power and self.endpoint.plugged:
            self.endpoint.unplug()
            self._plug_with_power = True
        self._tear_off()
        self._clear_memory()
        self._reset_settings()
        self._changed()

    def power_on(self) -> None:
        if self._on:
            return
        self._on = True
        if self._plug_with_power:
            self.endpoint.plug()
            self._plug_with_power = False
        self._changed()

    async def stop(self) -> None:
        self._cancel_motor()
        await super().stop()

    def snapshot(self) -> dict[str, Any]:
        return {
            "kind": "printer",
            "url": self.endpoint.url,
            "plugged": self.endpoint.plugged,
            "powered": self._on,
            "paper_out": self._paper_out,
            "paper_low": self._paper_low,
            "cover_open": self._cover_open,
            "printing": self._motor is not None or (self._blocked and bool(self._buffer)),
            "strip_items": len(self._strip.items),
            "strip": [item_as_json(item) for item in self._strip.items],
            "paper_dots": self._paper_dots,
            "papers": [paper.as_json for paper in list(self.papers)[-5:]],
            "counters": dict(self.counters),
        }

    # Inside

    def _clear_memory(self) -> None:
        """Receive buffer, print buffer and the strip of paper they were becoming."""
        self._cancel_motor()
        self._buffer = bytearray()
        self._recent = b""
        self._swallow = 0
        self._line: list[tuple[str, int, int, bool]] = []
        self._line_columns = 0
        self._half_char = b""
        self._strip = _Strip()

    def _reset_settings(self) -> None:
        self._style = _Style(chinese=self._chinese_at_power_on)
        self._asb_mask = 0
        self._asb_last = b""

    def _cancel_motor(self) -> None:
        if self._motor is not None:
            self._motor.cancel()
            self._motor = None

    @property
    def _blocked(self) -> bool:
        return self._paper_out or self._cover_open

    def _set_state(self, **state: bool) -> None:
        for name, value in state.items():
            setattr(self, f"_{name}", value)
        if self._blocked and (self._strip.items or self._line):
            self._strip.interrupted = True
        if self._on:
            self._send_asb(force=False)
            self._work()
        self._changed()

    def _receive(self, data: bytes) -> None:
        if not self._on:
            return
        data = data[self._obey_real_time_commands(data) :]
        while data:
            room = RECEIVE_BUFFER_BYTES - len(self._buffer)
            if room == 0:
                self.counters["buffer_overflow_bytes"] += len(data)
                return
            self._buffer += data[:room]
            data = data[room:]
            self._work()

    # Real-time commands and status

    def _obey_real_time_commands(self, data: bytes) -> int:
        """Answer DLE commands wherever they stand, also when split over two reads.

        Returns how many bytes at the front of ``data`` a clear command has wiped out.
        """
        before = len(self._recent)
        seen = self._recent + data
        wiped = 0
        at = seen.find(DLE)
        while at >= 0:
            if seen[at + 1 : at + 2] == bytes((EOT,)) and before <= at + 2 < len(seen):
                self._answer_status(seen[at + 2])
            end = at + len(_CLEAR_BUFFER)
            if end > before and seen[at:end] == _CLEAR_BUFFER:
                self._clear_buffer()
                wiped = end - before
            at = seen.find(DLE, at + 1)
        oldest = before + wiped if wiped else 0
        self._recent = seen[max(oldest, len(seen) - len(_CLEAR_BUFFER) + 1) :]
        return wiped

    def _answer_status(self, which: int) -> None:
        if not 1 <= which <= 4:
            return
        self.counters["status_requests"] += 1
        status = 0x12
        if which == 1 and self._blocked:
            status |= 0x08
        elif which == 2:
            status |= (0x04 if self._cover_open else 0) | (0x20 if self._paper_out else 0)
        elif which == 4:
            status |= 0x0C if self._paper_low or self._paper_out else 0
            status |= 0x60 if self._paper_out else 0
        self.endpoint.send(bytes((status,)))

    def _clear_buffer(self) -> None:
        """DLE DC4 8: the receive and print buffers are emptied, and the printer says so."""
        self.counters["buffer_clears"] += 1
        self._tear_off()
        self._clear_memory()
        self.endpoint.send(_CLEAR_RESPONSE)
        self._changed()

    def _asb_bytes(self) -> bytes:
        first = 0x10 | (0x08 if self._blocked else 0) | (0x20 if self._cover_open else 0)
        third = 0x03 if self._paper_low or self._paper_out else 0
        third |= 0x0C if self._paper_out else 0
        return bytes((first, 0, third, 0))

    def _send_asb(self, *, force: bool) -> None:
        status = self._asb_bytes()
        if self._asb_mask & 0x4F and (force or status != self._asb_last):
            self._asb_last = status
            self.endpoint.send(status)

    # The buffered commands

    def _work(self) -> None:
        """Execute what is in the buffer until it is empty, incomplete, or the paper moves."""
        while self._motor is None and not self._blocked and self._buffer:
            if self._swallow:
                gone = min(self._swallow, len(self._buffer))
                del self._buffer[:gone]
                self._swallow -= gone
                continue
            length_before = self._strip.length_mm
            used = self._execute()
            if used == 0:
                return
            del self._buffer[:used]
            moved_mm = self._strip.length_mm - length_before
            if moved_mm > 0:
                self._run_motor(moved_mm)

    def _run_motor(self, mm: float) -> None:
        seconds = mm / self.mm_per_second
        self._motor = asyncio.get_running_loop().call_later(seconds, self._motor_stopped)

    def _motor_stopped(self) -> None:
        self._motor = None
        self._work()

    def _execute(self) -> int:
        """Execute the first command in the buffer; its length, or 0 while it is incomplete."""
        first = self._buffer[0]
        if first in (ESC, FS, GS, DLE):
            self._half_char = b""
            return self._execute_command(first)
        if first == LF:
            self._print_line()
        elif first == 0x09:
            self._put_character(" ")
        elif first >= 0x20 or self._half_char:
            self._put_byte(first)
        elif first != 0x0D:
            self.counters["unknown_commands"] += 1
        return 1

    def _execute_command(self, first: int) -> int:
        buffer = self._buffer
        if len(buffer) < 2:
            return 0
        second = buffer[1]
        if first == DLE:
            return self._skip_real_time(second)
        if second == ord("("):
            return self._parenthesis(first)
        match first, chr(second):
            case 0x1D, "v":
                return self._raster()
            case 0x1D, "k":
                return self._barcode()
            case 0x1D, "V":
                return self._cut()
            case 0x1B, "*":
                return self._bit_image()
            case _:
                return self._short_command(first, second)

    _ARGUMENTS: ClassVar[dict[tuple[int, str], int]] = {
        (ESC, "@"): 0,
        (ESC, "2"): 0,
        (ESC, "3"): 1,
        (ESC, " "): 1,
        (ESC, "!"): 1,
        (ESC, "$"): 2,
        (ESC, "\\"): 2,
        (ESC, "-"): 1,
        (ESC, "="): 1,
        (ESC, "E"): 1,
        (ESC, "G"): 1,
        (ESC, "J"): 1,
        (ESC, "M"): 1,
        (ESC, "R"): 1,
        (ESC, "V"): 1,
        (ESC, "a"): 1,
        (ESC, "c"): 2,
        (ESC, "d"): 1,
        (ESC, "p"): 3,
        (ESC, "r"): 1,
        (ESC, "t"): 1,
        (ESC, "{"): 1,
        (FS, "!"): 1,
        (FS, "&"): 0,
        (FS, "-"): 1,
        (FS, "."): 0,
        (FS, "S"): 2,
        (FS, "W"): 1,
        (GS, "!"): 1,
        (GS, "$"): 2,
        (GS, "B"): 1,
        (GS, "H"): 1,
        (GS, "I"): 1,
        (GS, "L"): 2,
        (GS, "P"): 2,
        (GS, "W"): 2,
        (GS, "a"): 1,
        (GS, "b"): 1,
        (GS, "f"): 1,
        (GS, "h"): 1,
        (GS, "r"): 1,
        (GS, "w"): 1,
        (GS, "|"): 1,
    }
    """Commands of fixed length and how many bytes follow their two."""

    def _short_command(self, first: int, second: int) -> int:
        count = self._ARGUMENTS.get((first, chr(second)))
        if count is None:
            self.counters["unknown_commands"] += 1
            return 2
        if len(self._buffer) < 2 + count:
            return 0
        argument = self._buffer[2] if count else 0
        match first:
            case 0x1B:
                self._esc(chr(second), argument)
            case 0x1C:
                self._fs(chr(second))
            case _:
                self._gs(chr(second), argument)
        return 2 + count

    def _esc(self, name: str, n: int) -> None:
        style = self._style
        match name:
            case "@":
                self._style = _Style(chinese=self._chinese_at_power_on)
                self._line, self._line_columns = [], 0
            case "!":
                style.bold = bool(n & 0x08)
                style.height = 2 if n & 0x10 else 1
                style.width = 2 if n & 0x20 else 1
            case "2":
                style.line_spacing_dots = 30
            case "3":
                style.line_spacing_dots = n
            case "E" | "G":
                style.bold = bool(n & 1)
            case "J":
                self._end_line()
                self._feed_dots(n)
            case "a" if n & 0x0F < 3:
                style.align = _ALIGNS[n & 0x0F]
            case "d":
                self._end_line()
                self._feed_dots(n * style.line_spacing_dots)
            case "t":
                style.code_page = _CODE_PAGES.get(n, "cp437")
            case _:  # has an effect that this paper doesn't show
                pass

    def _fs(self, name: str) -> None:
        if name in "&.":
            self._style.chinese = name == "&"

    def _gs(self, name: str, n: int) -> None:
        match name:
            case "!":
                self._style.width = (n >> 4 & 7) + 1
                self._style.height = (n & 7) + 1
            case "a":
                self._asb_mask = n
                self._send_asb(force=True)
            case "r" if n in (1, 49):
                self.endpoint.send(b"\x03" if self._paper_low else b"\x00")
            case "r" if n in (2, 50):
                self.endpoint.send(b"\x00")
            case "I":
                self.endpoint.send(b"\x02")
            case _:
                pass

    def _skip_real_time(self, second: int) -> int:
        """DLE commands were obeyed when they arrived; here they only take up room."""
        if second in (EOT, ENQ):
            return 3 if len(self._buffer) >= 3 else 0
        if second == DC4:
            if len(self._buffer) < 3:
                return 0
            length = len(_CLEAR_BUFFER) if self._buffer[2] == 8 else 5
            return length if len(self._buffer) >= length else 0
        self.counters["unknown_commands"] += 1
        return 1

    def _swallow_command(self, length: int) -> int:
        """Skip a command of ``length`` bytes, which may not all be here yet."""
        self.counters["unknown_commands"] += 1
        gone = min(length, len(self._buffer))
        self._swallow = length - gone
        return gone

    def _raster(self) -> int:
        """GS v 0 m xL xH yL yH d…"""
        buffer = self._buffer
        if len(buffer) < 8:
            return 0
        row_bytes, height = buffer[4] | buffer[5] << 8, buffer[6] | buffer[7] << 8
        size = row_bytes * height
        if buffer[2] not in (0x00, ord("0")) or size == 0:
            self.counters["unknown_commands"] += 1
            return 2
        if 8 + size > RECEIVE_BUFFER_BYTES:
            return self._swallow_command(8 + size)
        if len(buffer) < 8 + size:
            return 0
        self._end_line()
        self._add(Raster(row_bytes * 8, height, bytes(buffer[8 : 8 + size]), self._style.align))
        self._feed_dots(height * (2 if buffer[3] & 2 else 1))
        return 8 + size

    def _bit_image(self) -> int:
        """ESC * m nL nH d…: columns of 8 or 24 dots. Tolerated; tickets don't use it."""
        buffer = self._buffer
        if len(buffer) < 5:
            return 0
        columns = buffer[3] | buffer[4] << 8
        return self._swallow_command(5 + columns * (3 if buffer[2] in (32, 33) else 1))

    def _barcode(self) -> int:
        """GS k m d… NUL, or GS k m n d…. Tolerated; tickets don't use it."""
        buffer = self._buffer
        if len(buffer) < 4:
            return 0
        if buffer[2] >= 65:
            return self._swallow_command(4 + buffer[3])
        end = buffer.find(0, 3)
        if end < 0:
            return self._swallow_command(2) if len(buffer) > 300 else 0
        return self._swallow_command(end + 1)

    def _parenthesis(self, first: int) -> int:
        """xx ( y pL pH …: here the QR code, GS ( k; the others are tolerated."""
        buffer = self._buffer
        if len(buffer) < 5:
            return 0
        size = buffer[3] | buffer[4] << 8
        if first != GS or buffer[2] != ord("k") or size < 3 or 5 + size > RECEIVE_BUFFER_BYTES:
            return self._swallow_command(5 + size)
        if len(buffer) < 5 + size:
            return 0
        self._qr_function(bytes(buffer[5 : 5 + size]))
        return 5 + size

    def _qr_function(self, body: bytes) -> None:
        """cn fn …: 49 65 model, 49 67 size, 49 69 level, 49 80 store, 49 81 print."""
        style = self._style
        match body[0], body[1]:
            case 49, 65:
                style.qr_model = body[2] - 48
            case 49, 67:
                style.qr_module_dots = min(16, max(1, body[2]))
            case 49, 69 if 48 <= body[2] <= 51:
                style.qr_level = "LMQH"[body[2] - 48]
            case 49, 80:
                style.qr_data = body[3:]
            case 49, 81 if style.qr_data:
                self._print_qr()
            case _:
                self.counters["unknown_commands"] += 1

    def _print_qr(self) -> None:
        style = self._style
        self._end_line()
        text = style.qr_data.decode("utf-8", "replace")
        self._add(QrCode(text, style.qr_model, style.qr_module_dots, style.qr_level, style.align))
        version = 1 + sum(len(style.qr_data) > most for most in _QR_BYTES_LEVEL_M)
        self._feed_dots((17 + 4 * version) * style.qr_module_dots)

    def _cut(self) -> int:
        """GS V m, or GS V m n: feed n dots to the knife, then cut."""
        buffer = self._buffer
        if len(buffer) < 3:
            return 0
        with_feed = buffer[2] in (65, 66, 97, 98, 103, 104)
        length = 4 if with_feed else 3
        if len(buffer) < length:
            return 0
        if buffer[2] not in (0, 1, 48, 49, 65, 66):
            self.counters["unknown_commands"] += 1
            return length
        self._end_line()
        self._finish_paper(complete=True)
        return length

    # Paper

    def _put_byte(self, byte: int) -> None:
        """One byte of text: ASCII, the code page, or a part of a GB18030 character."""
        if not self._half_char and (byte < 0x80 or not self._style.chinese):
            self._put_character(bytes((byte,)).decode(self._style.code_page, "replace"))
            return
        self._half_char += bytes((byte,))
        if len(self._half_char) == 1:
            return
        if len(self._half_char) < 4 and 0x30 <= self._half_char[1] <= 0x39:
            return
        character = self._half_char.decode("gb18030", "replace")
        self.counters["text_errors"] += "\ufffd" in character
        self._half_char = b""
        self._put_character(character)

    def _put_character(self, text: str) -> None:
        style = self._style
        columns = style.width * (2 if unicodedata.east_asian_width(text[0]) in "WF" else 1)
        if (self._line_columns + columns) * 12 > self._paper_dots:
            self._print_line()
        self._line.append((text, style.width, style.height, style.bold))
        self._line_columns += columns

    def _end_line(self) -> None:
        if self._line:
            self._print_line()

    def _print_line(self) -> None:
        height = max((run[2] for run in self._line), default=1)
        line = TextLine(
            text="".join(run[0] for run in self._line),
            width=max((run[1] for run in self._line), default=1),
            height=height,
            bold=any(run[3] for run in self._line),
            align=self._style.align,
        )
        self._line, self._line_columns = [], 0
        self._add(line)
        self._feed_dots(max(24 * height, self._style.line_spacing_dots))

    def _add(self, item: PaperItem) -> None:
        if self._strip.started_at is None:
            self._strip.started_at = asyncio.get_running_loop().time()
        if len(self._strip.items) < ITEMS_PER_PAPER:
            self._strip.items.append(item)
            self._changed()

    def _feed_dots(self, dots: int) -> None:
        self._strip.length_mm += dots / DOTS_PER_MM

    def _tear_off(self) -> None:
        """The rest of it will never come: what hangs out of the slot is torn off."""
        if self._strip.items:
            self._finish_paper(complete=False)

    def _finish_paper(self, *, complete: bool) -> None:
        strip, self._strip = self._strip, _Strip()
        now = asyncio.get_running_loop().time()
        self.counters["papers" if complete else "papers_incomplete"] += 1
        paper = Paper(
            number=self.counters["papers"] + self.counters["papers_incomplete"],
            items=tuple(strip.items),
            started_at=now if strip.started_at is None else strip.started_at,
            finished_at=now,
            complete=complete,
            interrupted=strip.interrupted,
            length_mm=strip.length_mm,
        )
        self.papers.append(paper)
        for watcher in self._paper_watchers:
            watcher(paper)
        self._changed()
