"""ESC/POS, the language of ticket printers: what is sent for a ticket, and what is answered.

Commands and status bytes are those of Epson's "ESC/POS Command Reference", which most thermal
printers follow: DLE EOT, DLE DC4 (fn 8), ESC @, FS &, GS a, GS r, GS ( k, GS V.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from contract.names import DeviceStatus, Language
from edge.drivers.framing import Discarded
from edge.drivers.roles import Slip

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
            about, at_most = slip.wait_minutes
            longest = f", 最长约 {at_most} 分钟" if at_most > about else ""
            lines.append(f"约 {about} 分钟{longest}")
        return lines
    lines = [f"{slip.ahead} ahead of you" if slip.ahead else "nobody ahead of you"]
    if slip.wait_minutes is not None:
        about, at_most = slip.wait_minutes
        longest = f", at most {at_most}" if at_most > about else ""
        lines.append(f"about {about} min{longest}")
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
