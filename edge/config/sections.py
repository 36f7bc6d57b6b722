"""The tables of a hall's file. Each field has its title, description and example."""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import time, timedelta
from pathlib import Path
from string import Formatter
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, StrictInt, StringConstraints

from contract.names import (
    SLUG_PATTERN,
    ClerkId,
    HallId,
    Language,
    ServiceId,
    Strict,
    WindowNumber,
)
from edge.drivers.config import DeviceConfig, Fault, Role, Table, Typed
from edge.drivers.modbus_bus import BusConfig
from edge.queue.dispatch import POLICIES
from edge.queue.estimate import QueueLength
from edge.queue.plan import HallPlan, Rules, Service, Skills
from edge.stations.dispenser import PrintRules

PREFIX_PATTERN = r"^[A-Z]{1,2}$"
HOST_PATTERN = r"^([^\s/\[\]:]+|[^\s/\[\]:]*:[^\s/\[\]:]*:[^\s/\[\]]*)$"
"""A name, or an address; only one of IPv6 has colons, and more than one."""

Names = Annotated[
    dict[Language, Annotated[str, StringConstraints(min_length=1, max_length=40)]],
    Field(min_length=1),
]
"""The same name in several languages."""


def _time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"there is no time zone {name!r}") from None
    return name


def _ticket_url(text: str) -> str:
    knows = "knows {hall} and {ticket}, and nothing else in braces"
    try:
        parts = list(Formatter().parse(text))
    except ValueError:
        raise ValueError(knows) from None
    for _, field, form, conversion in parts:
        if field is not None and (field not in {"hall", "ticket"} or form or conversion):
            raise ValueError(knows)
    return text


def _hours_and_minutes(at: time) -> time:
    if at != time(at.hour, at.minute):
        raise ValueError("has hours and minutes alone: no seconds, no offset from UTC")
    return at


def _file(path: Path) -> Path:
    if not path.name:
        raise ValueError("must name a file")
    return path


FilePath = Annotated[Path, AfterValidator(_file)]


def is_window_name(name: str) -> bool:
    """Whether a table may be called so: ``01`` would be another name of window 1."""
    return re.fullmatch("[1-9][0-9]{0,2}", name) is not None


def _window_name(name: object) -> object:
    if isinstance(name, str) and not is_window_name(name):
        raise ValueError("is no window's number")
    return name


class HallSection(Typed):
    """``[hall]``: who and where we are, and the house rules of time and order."""

    id: HallId = Field(
        title="Hall id",
        description="Unique among all halls; also its MQTT user name.",
        examples=["riverside"],
    )
    name: Names = Field(
        title="Name", description="As customers know it.", examples=[{"zh": "滨江营业厅"}]
    )
    time_zone: Annotated[str, AfterValidator(_time_zone)] = Field(
        title="Time zone",
        description="IANA name; the business day is counted in it.",
        examples=["Asia/Shanghai"],
    )
    day_resets_at: Annotated[time, AfterValidator(_hours_and_minutes)] = Field(
        default=time(4),
        title="Day resets at",
        description="Local time at which a new business day begins and numbers start anew.",
        examples=[time(4)],
    )
    languages: tuple[Language, ...] = Field(
        default=(Language.ZH, Language.EN),
        min_length=1,
        title="Languages",
        description="In the order in which they are printed; the first is the screens'.",
        examples=[("zh", "en")],
    )
    policy: Literal["first_come", "strict_priority"] = Field(
        default="strict_priority",
        title="Dispatch policy",
        description="Who is next: the higher tier, or simply who came first.",
        examples=["strict_priority"],
    )
    ticket_url: Annotated[str, AfterValidator(_ticket_url)] = Field(
        default="nowserving:{hall}/{ticket}",
        max_length=200,
        title="Ticket link",
        description="Text of the QR code on the ticket; {hall} and {ticket} are filled in.",
        examples=["https://example.com/{hall}/{ticket}"],
    )


class RulesSection(Typed):
    """``[rules]``: what the hall allows; leave out what you have no opinion on."""

    recall_limit: int = Field(
        default=5, ge=1, le=50, title="Recalls", description="Calls of one ticket at one window."
    )
    no_show_after_calls: int = Field(
        default=2, ge=1, le=50, title="Calls before a no-show", description="At least so many."
    )
    no_show_after_seconds: float = Field(
        default=10.0, ge=0, le=3600, title="Seconds before a no-show", description="Since the call."
    )
    rejoin_after: int = Field(
        default=3,
        ge=1,
        le=999,
        title="Rejoin after",
        description="A no-show that comes back stands behind so many.",
    )
    rating_seconds: float = Field(
        default=10.0,
        ge=1,
        le=600,
        title="Rating time",
        description="How long the evaluator asks after a service.",
    )
    print_time_to_live_seconds: float = Field(
        default=30.0,
        ge=1,
        le=600,
        title="Print time to live",
        description="A ticket that is not on paper by then is voided.",
    )
    reprint_within_seconds: float = Field(
        default=60.0,
        ge=0,
        le=3600,
        title="Reprint within",
        description="After a restart, younger tickets of unknown fate are printed again, marked.",
    )


HIGHEST_NUMBER = 99999
_Number = Annotated[StrictInt, Field(ge=1, le=HIGHEST_NUMBER)]


class ServiceSection(Table):
    """``[services.NAME]``: what a customer comes for."""

    name: Names = Field(
        title="Name",
        description="As customers know it.",
        examples=[{"zh": "缴费", "en": "Payment"}],
    )
    prefix: Annotated[str, StringConstraints(pattern=PREFIX_PATTERN)] = Field(
        title="Prefix", description="One or two letters before the number.", examples=["A"]
    )
    numbers: tuple[_Number, _Number] = Field(
        default=(1, 999),
        title="Numbers",
        description="First and last number of a day.",
        examples=[(1, 999)],
    )
    expected_minutes: float = Field(
        default=5.0,
        gt=0,
        le=240,
        title="Expected minutes",
        description="Usual time at the window, until the hall has learned its own.",
        examples=[5],
    )

    def rules(self) -> list[Callable[[], Iterator[Fault]]]:
        return [self._first_before_last]

    def _first_before_last(self) -> Iterator[Fault]:
        first, last = self.numbers
        if first > last:
            what = f"numbers end ({last}) before they begin ({first})"
            yield Fault(("numbers",), what, {"numbers": (last, first)})


class WindowSection(Typed):
    """``[windows.NUMBER]``: a counter."""

    skills: Literal["all"] | tuple[ServiceId | tuple[ServiceId, ...], ...] = Field(
        title="Skills",
        description='Services in the order of preference; those in an inner list are equal; "all" '
        "takes every service as it comes.",
        examples=["all"],
    )
    clerk: ClerkId | None = Field(
        default=None,
        title="Clerk",
        description="Staff number that the caller's sign_on key signs on.",
        examples=["1001"],
    )

    def preference(self, services: Mapping[ServiceId, Any]) -> dict[ServiceId, int]:
        if self.skills == "all":
            return dict.fromkeys(services, 0)
        ranks: dict[ServiceId, int] = {}
        for rank, entry in enumerate(self.skills):
            for service in (entry,) if isinstance(entry, str) else entry:
                ranks.setdefault(service, rank)
        return ranks


class JournalSection(Typed):
    """``[journal]``: where the hall's memory is."""

    path: FilePath = Field(
        title="Path",
        description="The database file; on a disk that survives a power cut, never on tmpfs.",
        examples=["/var/lib/nowserving/journal.db"],
    )


class TlsSection(Table):
    """``[uplink.tls]``: PEM files."""

    ca_file: FilePath = Field(
        title="CA",
        description="Certificates that the broker is checked with.",
        examples=["/etc/ssl/certs/ca-certificates.crt"],
    )
    cert_file: FilePath | None = Field(
        default=None,
        title="Certificate",
        description="The hall's own; its CN is the hall id.",
        examples=["/etc/nowserving/hall.crt"],
    )
    key_file: FilePath | None = Field(
        default=None,
        title="Key",
        description="Belongs to cert_file.",
        examples=["/etc/nowserving/hall.key"],
    )

    def rules(self) -> list[Callable[[], Iterator[Fault]]]:
        return [self._certificate_and_key]

    def _certificate_and_key(self) -> Iterator[Fault]:
        if (self.cert_file is None) != (self.key_file is None):
            lacking = "key_file" if self.key_file is None else "cert_file"
            yield Fault((lacking,), "is missing: cert_file and key_file belong together")


class UplinkSection(Typed):
    """``[uplink]``: the broker. Leave it out and the hall works alone."""

    host: Annotated[str, StringConstraints(pattern=HOST_PATTERN)] = Field(
        title="Host", description="Name or address.", examples=["mqtt.example.com"]
    )
    port: int = Field(
        default=8883, ge=1, le=65535, title="Port", description="8883 with TLS.", examples=[8883]
    )
    username: str | None = Field(
        default=None, title="User name", description="The hall id, if left out.", examples=["hall"]
    )
    password_file: FilePath | None = Field(
        default=None,
        title="Password file",
        description="One line; in a unit, systemd's credential: see systemd/README.md.",
        examples=["/run/credentials/nowserving-edge.service/mqtt-password"],
    )
    tls: TlsSection | None = Field(default=None, title="TLS", description="Certificates.")
    protocol: Literal[5, 311] = Field(
        default=5, title="Protocol", description="MQTT 5, or 311 for 3.1.1.", examples=[5]
    )
    heartbeat_seconds: float = Field(
        default=15.0,
        ge=1,
        le=30,
        title="Heartbeat",
        description="State document at least so often; after 45 s without one the centre takes "
        "the hall for lost.",
    )


class HallConfig(Strict):
    """The whole file. Devices are read by their drivers: see ``edge.drivers.registry``."""

    hall: HallSection
    journal: JournalSection
    services: dict[ServiceId, ServiceSection] = Field(min_length=1)
    windows: dict[Annotated[WindowNumber, BeforeValidator(_window_name)], WindowSection] = Field(
        min_length=1
    )
    rules: RulesSection = RulesSection()
    uplink: UplinkSection | None = None
    buses: dict[Annotated[str, StringConstraints(pattern=SLUG_PATTERN)], BusConfig] = {}
    devices: dict[str, Any] = {}
    """Each a ``DeviceConfig`` of its driver, once loaded."""

    def plan(self) -> HallPlan:
        """What the queue core needs to know of it."""
        at = self.hall.day_resets_at
        return HallPlan(
            services={
                name: Service(
                    id=name,
                    prefix=service.prefix,
                    first_number=service.numbers[0],
                    last_number=service.numbers[1],
                    expected_seconds=service.expected_minutes * 60,
                )
                for name, service in self.services.items()
            },
            windows={
                number: Skills(window.preference(self.services))
                for number, window in self.windows.items()
            },
            time_zone=ZoneInfo(self.hall.time_zone),
            estimator=QueueLength(),
            day_resets_at=timedelta(hours=at.hour, minutes=at.minute),
            rules=Rules(
                recall_limit=self.rules.recall_limit,
                no_show_after_calls=self.rules.no_show_after_calls,
                no_show_after_seconds=self.rules.no_show_after_seconds,
                rejoin_after=self.rules.rejoin_after,
            ),
            policy=POLICIES[self.hall.policy],
        )

    def print_rules(self) -> PrintRules:
        return PrintRules(
            time_to_live_seconds=self.rules.print_time_to_live_seconds,
            reprint_within_seconds=self.rules.reprint_within_seconds,
        )

    def with_role(self, *roles: Role) -> dict[str, DeviceConfig]:
        return {name: device for name, device in self.devices.items() if device.role in roles}
