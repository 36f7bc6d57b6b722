"""Documents: absolute statements that replace the one before, unlike events, which add up."""

from typing import Annotated

from pydantic import AwareDatetime, FailFast, Field, StringConstraints

from contract.names import (
    BusinessDay,
    ClerkId,
    DeviceId,
    DeviceStatus,
    Epoch,
    HallId,
    HallPhase,
    Language,
    Presence,
    Seconds,
    ServiceId,
    TicketNumber,
    Tolerant,
    WindowNumber,
    WindowState,
)

Count = Annotated[int, Field(ge=0, le=2**63 - 1)]
"""As much as a database's integer holds."""

Names = dict[Language, Annotated[str, StringConstraints(max_length=200)]]
"""What something is called, in several languages; where there is none, its id is shown."""


class WindowStatus(Tolerant):
    window: WindowNumber
    state: WindowState
    clerk: ClerkId | None = None
    number: TicketNumber | None = None
    """The ticket that is called or served there."""


class HallReport(Tolerant):
    """Retained on ``halls/{hall}/v1/state``, renewed by every heartbeat; also the last will."""

    hall: HallId
    presence: Presence
    at: AwareDatetime | None = None
    epoch: Epoch | None = None
    head: Count = 0
    """seq of the newest event in the journal."""
    acked: Count = 0
    """seq up to which the centre has said it keeps everything."""
    version: str = ""
    name: Names = {}
    service_names: Annotated[dict[ServiceId, Names], Field(max_length=500)] = {}
    clock_synced: bool = True
    business_day: BusinessDay | None = None
    phase: HallPhase | None = None
    waiting: dict[ServiceId, Count] = {}
    windows: Annotated[tuple[WindowStatus, ...], FailFast()] = ()
    devices: dict[DeviceId, DeviceStatus] = {}
    counters: dict[str, int] = {}
    """Health counters since start, e.g. ``frames_garbage``, ``presses_refused``."""


class Ack(Tolerant):
    """From the centre: everything of ``epoch`` up to ``seq`` is committed here.

    ``resend`` asks the hall to send again from ``seq + 1``: the centre lacks it and has seen later
    ones, or has just started.
    """

    epoch: Epoch
    seq: Count
    resend: bool = False


class ServiceLive(Tolerant):
    service: ServiceId
    name: Names = {}
    waiting: Count
    called_today: Count
    wait_p50_seconds: Seconds | None
    wait_p90_seconds: Seconds | None


class Satisfaction(Tolerant):
    """(very satisfied + satisfied) ÷ ratings given; ``rated_share`` = rated ÷ finished."""

    ratings: dict[str, Count]
    satisfaction: Annotated[float, Field(ge=0, le=1)] | None
    rated_share: Annotated[float, Field(ge=0, le=1)] | None


class HallLive(Tolerant):
    """Retained by the centre on ``central/v1/halls/{hall}/live``, derived from events."""

    hall: HallId
    name: Names = {}
    presence: Presence
    heartbeat_age_seconds: Seconds | None
    business_day: BusinessDay | None
    updated_at: AwareDatetime
    events: Count
    behind: Count
    """Events that the hall says it has and the centre does not have yet."""
    services: tuple[ServiceLive, ...]
    windows: tuple[WindowStatus, ...]
    issued_today: Count
    finished_today: Count
    no_shows_today: Count
    service_p50_seconds: Seconds | None
    satisfaction: Satisfaction
    devices: dict[DeviceId, DeviceStatus]


class NetworkLive(Tolerant):
    """Retained by the centre on ``central/v1/network``: all halls in a few numbers."""

    updated_at: AwareDatetime
    halls: Count
    halls_online: Count
    events: Count
    dead_letters: Count
    waiting: Count
    satisfaction: Satisfaction
