"""What a hall is set up to be: services, windows and rules, as the core needs them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from contract.names import Moment, ServiceId, Tier, WindowNumber
from edge.queue.dispatch import Policy, strict_priority
from edge.queue.state import HallState


@dataclass(frozen=True, slots=True)
class Service:
    """What a customer came for."""

    id: ServiceId
    prefix: str
    first_number: int = 1
    last_number: int = 999
    expected_seconds: float = 300.0
    """Prior of the service time, until the hall has learned its own."""

    def number(self, ordinal: int) -> str:
        """The shown number: the prefix and as many digits as the last number has."""
        return f"{self.prefix}{ordinal:0{len(str(self.last_number))}d}"


@dataclass(frozen=True, slots=True)
class Skills:
    """Which services a window takes; the smaller preference is served first."""

    preference: Mapping[ServiceId, int]


@dataclass(frozen=True, slots=True)
class Rules:
    """The hall's rules, each with the field's usual value."""

    recall_limit: int = 5
    """A ticket is announced at most so often at one window."""
    no_show_after_calls: int = 2
    no_show_after_seconds: float = 10.0
    """Before this many announcements and seconds since the first, nobody is a no-show."""
    rejoin_after: int = 3
    """A no-show that comes back stands behind so many others."""


@dataclass(frozen=True, slots=True)
class WaitEstimate:
    """A wait in seconds: as likely shorter as longer than P50; nine of ten are below P90."""

    ahead: int
    """People ahead in the same service, those of a higher tier included."""
    p50_seconds: float | None
    p90_seconds: float | None
    method: str
    """The estimator's name; ``unknown:…`` with the reason where the seconds are ``None``."""


class WaitEstimator(Protocol):
    """Anything that can tell a wait from plan and state alone."""

    def estimate(
        self,
        plan: "HallPlan",
        state: HallState,
        service: ServiceId,
        tier: Tier,
        now: Moment,
        *,
        place: tuple[int, int] | None = None,
    ) -> WaitEstimate:
        """The wait from ``now`` on of who waits for ``service``, as one of ``tier``.

        ``place``: where they stand in line; somebody who joins it now where there is none.
        """
        ...


@dataclass(frozen=True, slots=True)
class HallPlan:
    """Everything about a hall that ``decide`` needs and no event changes."""

    services: Mapping[ServiceId, Service]
    windows: Mapping[WindowNumber, Skills]
    time_zone: ZoneInfo
    estimator: WaitEstimator
    day_resets_at: timedelta = timedelta(hours=4)
    """When the business day begins, after midnight in the hall's time zone."""
    rules: Rules = field(default_factory=Rules)
    policy: Policy = strict_priority
