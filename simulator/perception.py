"""What people make of what they see: a paper in the hand, a text above a window."""

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

from simulator.devices import Paper

DAY_RESETS_AT = timedelta(hours=4)

_NUMBER = re.compile(r"^[A-Z]{1,2}[0-9]{1,5}$")
_NUMBERS = re.compile(r"\b[A-Z]{1,2}[0-9]{1,5}\b")
_CALL = re.compile(r"^([A-Z]{1,2}[0-9]{1,5}) (?:请到([0-9]+)号窗口|to window ([0-9]+))$")
_SERVING = re.compile(r"^([A-Z]{1,2}[0-9]{1,5}) (?:正在办理|now serving)$")
_WAITING = re.compile(r"^(?:等候([0-9]+)人|([0-9]+) waiting)")
_TIME = re.compile(r"^([0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2})$", re.MULTILINE)
_TICKET = re.compile(r"([0-7][0-9A-HJKMNP-TV-Z]{25})$")


@dataclass(frozen=True, slots=True)
class TicketPaper:
    """A ticket in the hand."""

    number: str
    ticket: str
    """From the QR code."""
    business_day: date | None
    """By the time that is printed on it."""
    reprint: bool
    at: float
    """Loop time of the cut."""


def read_paper(paper: Paper) -> TicketPaper | None:
    """The ticket on a piece of paper; ``None`` where it is none, or torn off, or marked void."""
    text = paper.text
    if not paper.complete or "VOID ABOVE" in text:
        return None
    numbers = [line.strip() for line in text.splitlines() if _NUMBER.match(line.strip())]
    tickets = [match[1] for code in paper.qr_codes if (match := _TICKET.search(code))]
    if len(numbers) != 1 or len(tickets) != 1:
        return None
    time = _TIME.search(text)
    day = None
    if time is not None:
        day = (datetime.fromisoformat(time[1]) - DAY_RESETS_AT).date()
    return TicketPaper(numbers[0], tickets[0], day, "REPRINT" in text, paper.finished_at)


class Showing(StrEnum):
    """What a window screen says."""

    CALLING = "calling"
    SERVING = "serving"
    IDLE = "idle"
    PAUSED = "paused"
    CLOSED = "closed"
    FAULT = "fault"
    DARK = "dark"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Sight:
    """A look at a window screen."""

    showing: Showing
    number: str | None = None
    window: int | None = None
    """Where the number is called to."""
    waiting: int = 0
    """How many wait, as an idle screen says."""


_FIXED = {
    "": Sight(Showing.DARK),
    "暂停服务": Sight(Showing.PAUSED),
    "Position paused": Sight(Showing.PAUSED),
    "窗口关闭": Sight(Showing.CLOSED),
    "Closed": Sight(Showing.CLOSED),
    "系统故障 请稍候": Sight(Showing.FAULT),
    "Please wait: system fault": Sight(Showing.FAULT),
}


def read_screen(text: str) -> Sight:
    """What a person understands of a screen's text."""
    text = text.strip()
    if text in _FIXED:
        return _FIXED[text]
    if call := _CALL.match(text):
        return Sight(Showing.CALLING, call[1], int(call[2] or call[3]))
    if serving := _SERVING.match(text):
        return Sight(Showing.SERVING, serving[1])
    if waiting := _WAITING.match(text):
        return Sight(Showing.IDLE, waiting=int(waiting[1] or waiting[2]))
    if text.startswith(("欢迎光临", "Welcome")):
        return Sight(Showing.IDLE)
    return Sight(Showing.OTHER)


def numbers_on(text: str) -> list[str]:
    """Every ticket number in a text: a screen that calls has one."""
    return _NUMBERS.findall(text)
