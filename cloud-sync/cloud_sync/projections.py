"""What events mean, as rows. Pure, and independent of the order in which events arrive.

A ticket is a fold over its own events, in their order in the hall. A window, a device and the
business day are what the last event about them says.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC
from typing import Any

from contract import events as ev
from contract.names import HallPhase, TicketState, WindowState


@dataclass(frozen=True, slots=True)
class TicketRow:
    """One ticket of a hall. Times are ISO 8601 in UTC."""

    ticket: str
    business_day: str
    number: str
    service: str
    tier: str
    status: str | None = None
    issued_at: str | None = None
    printed_at: str | None = None
    called_at: str | None = None
    started_at: str | None = None
    finished_at: str | None = None
    window: int | None = None
    clerk: str | None = None
    calls: int = 0
    no_shows: int = 0
    wait_seconds: float | None = None
    service_seconds: float | None = None
    rating: str | None = None
    rating_reason: str | None = None


@dataclass(frozen=True, slots=True)
class WindowRow:
    window: int
    state: WindowState
    clerk: str | None
    ticket: str | None
    number: str | None


@dataclass(frozen=True, slots=True)
class DeviceRow:
    device: str
    status: str
    detail: str


@dataclass(frozen=True, slots=True)
class DayRow:
    business_day: str
    phase: HallPhase


def fold_ticket(events: Iterable[ev.TicketEvent]) -> TicketRow | None:
    """A ticket from all that is known of it, in order; ``None`` from nothing."""
    row: TicketRow | None = None
    for event in events:
        row = _ticket_after(row, event)
    return row


def _ticket_after(row: TicketRow | None, event: ev.TicketEvent) -> TicketRow:
    head: dict[str, Any] = {
        "business_day": event.business_day.isoformat(),
        "number": event.number,
        "service": event.service,
        "tier": event.tier.value,
    }
    row = TicketRow(event.ticket, **head) if row is None else replace(row, **head)
    status = _STATUS_AFTER.get(type(event))
    if status is not None:
        row = replace(row, status=status.value)
    if isinstance(event, ev.AtWindow):
        row = replace(row, window=event.window, clerk=event.clerk)
    note = _NOTES.get(type(event))
    return row if note is None else note(row, event)


_STATUS_AFTER: dict[type[ev.HallEvent], TicketState] = {
    ev.TicketIssued: TicketState.PRINTING,
    ev.TicketPrinted: TicketState.WAITING,
    ev.TicketVoided: TicketState.VOIDED,
    ev.TicketCalled: TicketState.CALLED,
    ev.TicketStarted: TicketState.SERVING,
    ev.TicketFinished: TicketState.FINISHED,
    ev.TicketNoShow: TicketState.NO_SHOW,
    ev.TicketRejoined: TicketState.WAITING,
    ev.TicketTransferred: TicketState.WAITING,
    ev.TicketParked: TicketState.PARKED,
    ev.TicketResumed: TicketState.SERVING,
    ev.TicketCancelled: TicketState.CANCELLED,
}


def _issued(row: TicketRow, event: ev.TicketIssued) -> TicketRow:
    return replace(row, issued_at=_time(event))


def _printed(row: TicketRow, event: ev.TicketPrinted) -> TicketRow:
    return replace(row, printed_at=_time(event))


def _called(row: TicketRow, event: ev.TicketCalled) -> TicketRow:
    row = replace(row, calls=row.calls + 1)
    if row.called_at is None and event.first_call:
        return replace(row, called_at=_time(event), wait_seconds=event.wait_seconds)
    return row


def _recalled(row: TicketRow, _: ev.TicketRecalled) -> TicketRow:
    return replace(row, calls=row.calls + 1)


def _started(row: TicketRow, event: ev.TicketStarted) -> TicketRow:
    return row if row.started_at is not None else replace(row, started_at=_time(event))


def _finished(row: TicketRow, event: ev.TicketFinished) -> TicketRow:
    return replace(row, finished_at=_time(event), service_seconds=event.service_seconds)


def _no_show(row: TicketRow, _: ev.TicketNoShow) -> TicketRow:
    return replace(row, no_shows=row.no_shows + 1)


def _rated(row: TicketRow, event: ev.TicketRated) -> TicketRow:
    return replace(row, rating=event.rating.value, rating_reason=event.reason)


_NOTES: dict[type[ev.HallEvent], Callable[[TicketRow, Any], TicketRow]] = {
    ev.TicketIssued: _issued,
    ev.TicketPrinted: _printed,
    ev.TicketCalled: _called,
    ev.TicketRecalled: _recalled,
    ev.TicketStarted: _started,
    ev.TicketFinished: _finished,
    ev.TicketNoShow: _no_show,
    ev.TicketRated: _rated,
}


def window_after(event: ev.HallEvent) -> WindowRow | None:
    """The window as ``event`` leaves it; ``None`` when it says nothing about one."""
    state = _WINDOW_AFTER.get(type(event))
    if state is None:
        return None
    if isinstance(event, ev.AtWindow):
        if state is WindowState.IDLE:
            return WindowRow(event.window, state, event.clerk, None, None)
        return WindowRow(event.window, state, event.clerk, event.ticket, event.number)
    assert isinstance(event, ev.WindowEvent)
    clerk = None if state is WindowState.CLOSED else event.clerk
    return WindowRow(event.window, state, clerk, None, None)


_WINDOW_AFTER: dict[type[ev.HallEvent], WindowState] = {
    ev.WindowOpened: WindowState.IDLE,
    ev.WindowReopened: WindowState.IDLE,
    ev.WindowPaused: WindowState.PAUSED,
    ev.WindowClosed: WindowState.CLOSED,
    ev.TicketCalled: WindowState.CALLING,
    ev.TicketRecalled: WindowState.CALLING,
    ev.TicketStarted: WindowState.SERVING,
    ev.TicketResumed: WindowState.SERVING,
    ev.TicketFinished: WindowState.IDLE,
    ev.TicketNoShow: WindowState.IDLE,
    ev.TicketTransferred: WindowState.IDLE,
    ev.TicketParked: WindowState.IDLE,
}


def device_after(event: ev.HallEvent) -> DeviceRow | None:
    """The device as ``event`` leaves it; ``None`` when it says nothing about one."""
    if not isinstance(event, ev.DeviceChanged):
        return None
    return DeviceRow(event.device, event.status.value, event.detail)


def day_after(event: ev.HallEvent) -> DayRow | None:
    """The business day as ``event`` leaves it; ``None`` when it says nothing about it."""
    if isinstance(event, ev.DayOpened):
        return DayRow(event.business_day.isoformat(), HallPhase.OPEN)
    if isinstance(event, ev.DayClosed):
        return DayRow(event.business_day.isoformat(), HallPhase.CLOSED)
    return None


def _time(event: ev.HallEvent) -> str:
    return event.at.wall.astimezone(UTC).isoformat()
