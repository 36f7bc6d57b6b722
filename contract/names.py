"""The hall's words as types. They are used in code, in topics, on screens and in the docs."""

from datetime import date
from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

SLUG_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,47}$"
ULID_PATTERN = r"^[0-7][0-9A-HJKMNP-TV-Z]{25}$"

HallId = Annotated[str, StringConstraints(pattern=SLUG_PATTERN)]
"""Hall id: also its MQTT user name and one level of its topics, hence no '/', '+' or '#'."""

ServiceId = Annotated[str, StringConstraints(pattern=SLUG_PATTERN)]
"""What a customer came for (业务), e.g. ``payment``."""

DeviceId = Annotated[str, StringConstraints(pattern=SLUG_PATTERN)]
"""A device, by its name in the hall's configuration."""

ClerkId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,32}$")]
"""Staff number (工号)."""

TicketId = Annotated[str, StringConstraints(pattern=ULID_PATTERN)]
"""A ULID: the ticket's stable identity, unique for ever. The shown number is another thing."""

CommandId = Annotated[str, StringConstraints(pattern=ULID_PATTERN)]
"""Of a command from the centre: a ULID."""

TicketNumber = Annotated[str, StringConstraints(pattern=r"^[A-Z]{1,2}[0-9]{1,5}$")]
"""What is printed and called: prefix and number, e.g. ``A012``. Starts anew each business day."""

NumberPrefix = Annotated[str, StringConstraints(pattern=r"^[A-Z]{1,2}$")]
"""The letters of a ticket number."""

WindowNumber = Annotated[int, Field(ge=1, le=999)]
"""The number of a counter (窗口)."""

Epoch = Annotated[str, StringConstraints(pattern=ULID_PATTERN)]
"""The life of one journal database: a new database has a new epoch and begins at seq 1."""

Seq = Annotated[int, Field(ge=1, le=2**63 - 1)]
"""An event's place in the journal of its epoch: no gaps, no two alike."""

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""A duration."""

BusinessDay = date
"""A day of the hall's business, in its own time zone; numbers start anew with it."""


class Strict(BaseModel):
    """Ours to write: frozen, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Tolerant(BaseModel):
    """Ours to read: frozen, and an unknown field is ignored (a newer minor may add some)."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Moment(Tolerant):
    """One instant, as the hall's controller knows it.

    Durations are taken from ``monotonic`` while ``boot`` is the same; the wall time is a label,
    as good as ``synced`` says (a Raspberry Pi without a battery boots in the past).
    """

    wall: AwareDatetime
    monotonic: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    """Seconds since some instant of this boot."""
    boot: str
    """Identifies the boot that ``monotonic`` belongs to."""
    synced: bool = True

    def seconds_since(self, earlier: "Moment") -> float | None:
        """Seconds from ``earlier`` to here; ``None`` when no clock can tell."""
        if self.boot == earlier.boot:
            return max(0.0, self.monotonic - earlier.monotonic)
        if self.synced and earlier.synced:
            return max(0.0, (self.wall - earlier.wall).total_seconds())
        return None


class Tier(StrEnum):
    """Customer tier (客户等级). ``priority`` is the green lane (绿色通道), above every VIP."""

    NORMAL = "normal"
    VIP_SILVER = "vip_silver"
    VIP_GOLD = "vip_gold"
    VIP_DIAMOND = "vip_diamond"
    PRIORITY = "priority"


class Language(StrEnum):
    ZH = "zh"
    EN = "en"


class Rating(StrEnum):
    """What a customer says of the service. Silence is no rating: see ``TicketUnrated``."""

    VERY_SATISFIED = "very_satisfied"
    SATISFIED = "satisfied"
    NEUTRAL = "neutral"
    DISSATISFIED = "dissatisfied"


SATISFIED_RATINGS = frozenset({Rating.VERY_SATISFIED, Rating.SATISFIED})


class TicketState(StrEnum):
    """Where a ticket stands. The transitions are in ``edge.queue.machines``."""

    PRINTING = "printing"
    WAITING = "waiting"
    CALLED = "called"
    SERVING = "serving"
    PARKED = "parked"
    NO_SHOW = "no_show"
    FINISHED = "finished"
    VOIDED = "voided"
    CANCELLED = "cancelled"


class WindowState(StrEnum):
    CLOSED = "closed"
    IDLE = "idle"
    CALLING = "calling"
    SERVING = "serving"
    PAUSED = "paused"


class HallPhase(StrEnum):
    CLOSED = "closed"
    OPEN = "open"


class VoidReason(StrEnum):
    """Why a ticket got no paper that anybody can vouch for."""

    PAPER_OUT = "paper_out"
    """The roll was empty until the ticket's time was over."""
    PRINTER_OFFLINE = "printer_offline"
    """The printer was off, unplugged or silent."""
    PRINTER_FAULT = "printer_fault"
    """The printer said that something is wrong with it, or its cover was open."""
    EXPIRED = "expired"
    """The print job outlived its time to live."""
    UNCONFIRMED = "unconfirmed"
    """The controller stopped while the ticket printed and nobody can tell whether it came out."""


class CancelReason(StrEnum):
    CUSTOMER = "customer"
    MANAGER = "manager"
    DAY_CLOSED = "day_closed"


class DeviceStatus(StrEnum):
    """``unknown`` is a state of its own: never "fine", never "broken"."""

    UNKNOWN = "unknown"
    ONLINE = "online"
    OFFLINE = "offline"
    PAPER_LOW = "paper_low"
    PAPER_OUT = "paper_out"
    COVER_OPEN = "cover_open"
    FAULT = "fault"
    STUCK_KEY = "stuck_key"


class Presence(StrEnum):
    ONLINE = "online"
    """Connected, and its heartbeat is fresh."""
    LOST = "lost"
    """Set by the broker: the hall's last will."""
    STOPPED = "stopped"
    """Set by the hall itself at a clean stop."""
