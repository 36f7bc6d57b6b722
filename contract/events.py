"""What happened in a hall. Every event is one frozen model; its ``type`` names subject and version.

Consumers ignore unknown fields and refuse unknown majors (the number after the last ``v``). A new
meaning is a new major, a new field is not.

Of a list the first wrong element is told, and no other: whoever sends a hundred thousand must not
have the centre describe each.
"""

from typing import Annotated, ClassVar, Union, get_args

from pydantic import FailFast, Field

from contract.names import (
    BusinessDay,
    CancelReason,
    ClerkId,
    DeviceId,
    DeviceStatus,
    Language,
    Moment,
    NumberPrefix,
    Rating,
    Seconds,
    ServiceId,
    TicketId,
    TicketNumber,
    Tier,
    Tolerant,
    VoidReason,
    WindowNumber,
)


class Place(Tolerant):
    """Where a ticket stands in line: the smaller comes first.

    ``anchor`` is the ordinal of the day's issue that it stands at, ``step`` orders those that were
    put behind the same anchor (a no-show that rejoins after k others).
    """

    anchor: Annotated[int, Field(ge=0)]
    step: Annotated[int, Field(ge=0)] = 0

    @property
    def key(self) -> tuple[int, int]:
        return (self.anchor, self.step)


class HallEvent(Tolerant):
    """What all events have."""

    type: ClassVar[str]
    at: Moment


class TicketEvent(HallEvent):
    ticket: TicketId
    number: TicketNumber
    business_day: BusinessDay
    service: ServiceId
    tier: Tier


class WindowEvent(HallEvent):
    window: WindowNumber
    clerk: ClerkId | None


class AtWindow(TicketEvent):
    """A ticket and a window at once."""

    window: WindowNumber
    clerk: ClerkId


# --- the hall ---------------------------------------------------------------------------------


class ControllerStarted(HallEvent):
    """The daemon started, on this boot, with this version."""

    type: ClassVar[str] = "hall.controller.started.v1"
    version: str


class DayOpened(HallEvent):
    """A business day began; numbers start anew, or go on where it has been open before."""

    type: ClassVar[str] = "hall.day.opened.v1"
    business_day: BusinessDay


class DayClosed(HallEvent):
    """A business day ended; all of its tickets have ended before this."""

    type: ClassVar[str] = "hall.day.closed.v1"
    business_day: BusinessDay


class NumberRun(Tolerant):
    """Numbers of one prefix, from the first to the last."""

    prefix: NumberPrefix
    first: Annotated[int, Field(ge=1)]
    last: Annotated[int, Field(ge=1)]


class NumbersLeftOut(HallEvent):
    """Nobody gets these numbers on this day: they may be on somebody's paper that the journal,
    an old copy that was put back, does not know of."""

    type: ClassVar[str] = "hall.numbers.left-out.v1"
    business_day: BusinessDay
    runs: Annotated[tuple[NumberRun, ...], FailFast()]


class DeviceChanged(HallEvent):
    """A device's status changed."""

    type: ClassVar[str] = "hall.device.changed.v1"
    device: DeviceId
    status: DeviceStatus
    detail: str = ""


# --- the ticket -------------------------------------------------------------------------------


class TicketIssued(TicketEvent):
    """A number is reserved and on disk; its paper is not yet confirmed, so it can't be called."""

    type: ClassVar[str] = "hall.ticket.issued.v1"
    place: Place
    ordinal: Annotated[int, Field(ge=1)]
    """The number behind the prefix."""
    language: Language


class WaitEstimated(TicketEvent):
    """What the customer was told about the wait."""

    type: ClassVar[str] = "hall.ticket.wait-estimated.v1"
    ahead: Annotated[int, Field(ge=0)]
    """People ahead in the same service, those of a higher tier included."""
    p50_seconds: Seconds | None
    p90_seconds: Seconds | None
    method: str
    """Name of the estimator; ``unknown:`` and the reason where the seconds are ``None``."""


class TicketPrinted(TicketEvent):
    """The printer has really printed it: the ticket waits."""

    type: ClassVar[str] = "hall.ticket.printed.v1"


class TicketVoided(TicketEvent):
    """Its paper failed: the number is spent, nobody waits under it."""

    type: ClassVar[str] = "hall.ticket.voided.v1"
    reason: VoidReason


class TicketCalled(AtWindow):
    """Announced at a window for the first time, or again after a rejoin or transfer."""

    type: ClassVar[str] = "hall.ticket.called.v1"
    first_call: bool
    wait_seconds: Seconds | None
    """Issue to this call, at the first call; ``None`` at a later one or when no clock can tell."""


class TicketRecalled(AtWindow):
    """Announced again."""

    type: ClassVar[str] = "hall.ticket.recalled.v1"
    calls: Annotated[int, Field(ge=2)]
    """How often it was announced at this window by now."""


class TicketStarted(AtWindow):
    """The customer came: the service begins."""

    type: ClassVar[str] = "hall.ticket.started.v1"


class TicketFinished(AtWindow):
    """The service ended; the evaluator asks."""

    type: ClassVar[str] = "hall.ticket.finished.v1"
    service_seconds: Seconds | None


class TicketNoShow(AtWindow):
    """Called and did not come."""

    type: ClassVar[str] = "hall.ticket.no-show.v1"


class TicketRejoined(TicketEvent):
    """Back in line, at this place."""

    type: ClassVar[str] = "hall.ticket.rejoined.v1"
    place: Place


class TicketTransferred(AtWindow):
    """Handed on from ``window``: to another service, or to one certain window.

    ``service`` is the service from now on; the place in line is kept.
    """

    type: ClassVar[str] = "hall.ticket.transferred.v1"
    from_service: ServiceId
    to_window: WindowNumber | None


class TicketParked(AtWindow):
    """Set aside by the window, which is free for others."""

    type: ClassVar[str] = "hall.ticket.parked.v1"


class TicketResumed(AtWindow):
    """Taken back from being parked."""

    type: ClassVar[str] = "hall.ticket.resumed.v1"


class TicketCancelled(TicketEvent):
    """Ended without service."""

    type: ClassVar[str] = "hall.ticket.cancelled.v1"
    reason: CancelReason


class TicketRated(AtWindow):
    """The customer rated the service of this ticket by this clerk at this window."""

    type: ClassVar[str] = "hall.ticket.rated.v1"
    rating: Rating
    reason: str = ""


class TicketUnrated(AtWindow):
    """The evaluator stopped asking: not rated, and never counted as satisfied."""

    type: ClassVar[str] = "hall.ticket.unrated.v1"


# --- the window -------------------------------------------------------------------------------


class WindowOpened(WindowEvent):
    """A clerk signed on."""

    type: ClassVar[str] = "hall.window.opened.v1"
    clerk: ClerkId


class WindowPaused(WindowEvent):
    type: ClassVar[str] = "hall.window.paused.v1"
    reason: str = ""


class WindowReopened(WindowEvent):
    type: ClassVar[str] = "hall.window.reopened.v1"


class WindowClosed(WindowEvent):
    """The clerk signed off."""

    type: ClassVar[str] = "hall.window.closed.v1"


Event = Union[
    ControllerStarted,
    NumbersLeftOut,
    DayOpened,
    DayClosed,
    DeviceChanged,
    TicketIssued,
    WaitEstimated,
    TicketPrinted,
    TicketVoided,
    TicketCalled,
    TicketRecalled,
    TicketStarted,
    TicketFinished,
    TicketNoShow,
    TicketRejoined,
    TicketTransferred,
    TicketParked,
    TicketResumed,
    TicketCancelled,
    TicketRated,
    TicketUnrated,
    WindowOpened,
    WindowPaused,
    WindowReopened,
    WindowClosed,
]

EVENT_TYPES: dict[str, type[HallEvent]] = {model.type: model for model in get_args(Event)}
"""Event models by their CloudEvents type."""


def subject_of(event: HallEvent) -> str:
    """The CloudEvents ``subject``: ``ticket/…``, ``window/…``, ``device/…`` or ``hall``."""
    if isinstance(event, TicketEvent):
        return f"ticket/{event.ticket}"
    if isinstance(event, WindowEvent):
        return f"window/{event.window}"
    if isinstance(event, DeviceChanged):
        return f"device/{event.device}"
    return "hall"
