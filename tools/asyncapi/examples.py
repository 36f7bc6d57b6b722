"""One example of every event and document: a morning's moments in a hall called ``riverside``."""

from datetime import UTC, date, datetime
from typing import Any

from contract.commands import CentralCommand, CentralReply, Pause, Refusal, RefusalReason
from contract.documents import (
    Ack,
    HallLive,
    HallReport,
    NetworkLive,
    Satisfaction,
    ServiceLive,
    WindowStatus,
)
from contract.events import EVENT_TYPES, HallEvent, NumberRun, Place
from contract.names import (
    CancelReason,
    DeviceStatus,
    HallPhase,
    Language,
    Moment,
    Presence,
    Rating,
    Tier,
    VoidReason,
    WindowState,
)

HALL = "riverside"
EPOCH = "01JQ3V9W5N8M2K7D4C6B1A0XYZ"
SEQ = 4711
TICKET = "01JQ48F2T7R5P3N1M9K8H6G4EC"
COMMAND = "01JQ49A6B4C2D8E7F5G3H1J9KM"
DAY = date(2026, 3, 2)
NOW = datetime(2026, 3, 2, 2, 42, 7, tzinfo=UTC)

_VALUES: dict[str, Any] = {
    "ahead": 4,
    "at": Moment(wall=NOW, monotonic=9127.25, boot="6f1c2a", synced=True),
    "business_day": DAY,
    "calls": 2,
    "clerk": "1042",
    "detail": "",
    "device": "printer",
    "first_call": True,
    "from_service": "payment",
    "language": Language.ZH,
    "method": "rate",
    "number": "A012",
    "ordinal": 12,
    "p50_seconds": 420.0,
    "p90_seconds": 780.0,
    "place": Place(anchor=12),
    "rating": Rating.VERY_SATISFIED,
    "runs": (NumberRun(prefix="A", first=13, last=74),),
    "service": "payment",
    "service_seconds": 312.5,
    "status": DeviceStatus.PAPER_LOW,
    "ticket": TICKET,
    "tier": Tier.NORMAL,
    "to_window": None,
    "version": "0.1.0",
    "wait_seconds": 451.0,
    "window": 3,
}
# One word, several kinds of reason.
_REASONS = {
    "TicketVoided": VoidReason.PAPER_OUT,
    "TicketCancelled": CancelReason.CUSTOMER,
    "TicketRated": "",
    "WindowPaused": "meal",
}


def event(model: type[HallEvent]) -> HallEvent:
    """An example of this event; a field without an example value raises ``KeyError``."""
    values = {**_VALUES, "reason": _REASONS.get(model.__name__)}
    return model.model_validate({name: values[name] for name in model.model_fields})


EVENTS = {model.__name__: event(model) for model in EVENT_TYPES.values()}

_WINDOWS = (
    WindowStatus(window=3, state=WindowState.SERVING, clerk="1042", number="A012"),
    WindowStatus(window=4, state=WindowState.CLOSED),
)
_SATISFACTION = Satisfaction(
    ratings={"very_satisfied": 31, "satisfied": 12, "neutral": 2, "dissatisfied": 1},
    satisfaction=0.9348,
    rated_share=0.68,
)

_NAME = {Language.ZH: "滨江营业厅", Language.EN: "Riverside"}
_SERVICE_NAMES = {"payment": {Language.ZH: "缴费", Language.EN: "Payment"}}
HALL_STATE = HallReport(
    hall=HALL,
    presence=Presence.ONLINE,
    at=NOW,
    epoch=EPOCH,
    head=SEQ,
    acked=SEQ - 2,
    version="0.1.0",
    name=_NAME,
    service_names=_SERVICE_NAMES,
    business_day=DAY,
    phase=HallPhase.OPEN,
    waiting={"payment": 4},
    windows=_WINDOWS,
    devices={"printer": DeviceStatus.PAPER_LOW},
    counters={"frames_garbage": 0},
)
LAST_WILL = HallReport(hall=HALL, presence=Presence.LOST)
ACK = Ack(epoch=EPOCH, seq=SEQ)
CENTRAL_COMMAND = CentralCommand(
    id=COMMAND,
    issued_at=NOW,
    expires_at=NOW.replace(minute=43),
    body=Pause(window=3, reason="meal"),
)
CENTRAL_REPLY = CentralReply(id=COMMAND, accepted=True, event_types=("hall.window.paused.v1",))
REFUSED_REPLY = CentralReply(
    id=COMMAND,
    accepted=False,
    refusal=Refusal(
        reason=RefusalReason.WRONG_WINDOW_STATE, command="pause", window=3, state="closed"
    ),
)
HALL_LIVE = HallLive(
    hall=HALL,
    name=_NAME,
    presence=Presence.ONLINE,
    heartbeat_age_seconds=3.2,
    business_day=DAY,
    updated_at=NOW,
    events=SEQ,
    behind=0,
    services=(
        ServiceLive(
            service="payment",
            name=_SERVICE_NAMES["payment"],
            waiting=4,
            called_today=58,
            wait_p50_seconds=400.0,
            wait_p90_seconds=810.0,
        ),
    ),
    windows=_WINDOWS,
    issued_today=64,
    finished_today=57,
    no_shows_today=2,
    service_p50_seconds=298.0,
    satisfaction=_SATISFACTION,
    devices={"printer": DeviceStatus.PAPER_LOW},
)
NETWORK_LIVE = NetworkLive(
    updated_at=NOW,
    halls=12,
    halls_online=11,
    events=812_345,
    dead_letters=0,
    waiting=97,
    satisfaction=_SATISFACTION,
)
