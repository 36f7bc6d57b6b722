"""A hall's configuration: one TOML file, checked as a whole before anything starts.

Every problem is found in one go, and each says where it is, what is wrong, and shows a line that
would be right. The models are the reference: each field has its title, description and example.
"""

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import time, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from contract.names import (
    SLUG_PATTERN,
    ClerkId,
    HallId,
    Language,
    Rating,
    ServiceId,
    Strict,
    WindowNumber,
)
from edge.drivers import registry
from edge.drivers.config import KEYPAD_ROLES, DeviceConfig, Role, conflicts
from edge.drivers.modbus_bus import BusConfig
from edge.queue.dispatch import POLICIES
from edge.queue.plan import HallPlan, Rules, Service, Skills
from edge.stations.desk import CALLER_KEYS, TRANSFER
from edge.stations.dispenser import PrintRules, meaning_of

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


class HallSection(Strict):
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
    day_resets_at: time = Field(
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
    ticket_url: str = Field(
        default="nowserving:{hall}/{ticket}",
        max_length=200,
        title="Ticket link",
        description="Text of the QR code on the ticket; {hall} and {ticket} are filled in.",
        examples=["https://example.com/{hall}/{ticket}"],
    )

    @model_validator(mode="after")
    def _link_can_be_filled(self) -> Self:
        try:
            self.ticket_url.format(hall="h", ticket="t")
        except (KeyError, IndexError, ValueError):
            raise ValueError("ticket_url knows {hall} and {ticket}, nothing else") from None
        return self


class RulesSection(Strict):
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


class ServiceSection(Strict):
    """``[services.NAME]``: what a customer comes for."""

    name: Names = Field(
        title="Name",
        description="As customers know it.",
        examples=[{"zh": "缴费", "en": "Payment"}],
    )
    prefix: Annotated[str, StringConstraints(pattern=r"^[A-Z]{1,2}$")] = Field(
        title="Prefix", description="One or two letters before the number.", examples=["A"]
    )
    numbers: tuple[Annotated[int, Field(ge=1, le=99999)], Annotated[int, Field(ge=1, le=99999)]] = (
        Field(
            default=(1, 999),
            title="Numbers",
            description="First and last number of a day.",
            examples=[(1, 999)],
        )
    )
    expected_minutes: float = Field(
        default=5.0,
        gt=0,
        le=240,
        title="Expected minutes",
        description="Usual time at the window, until the hall has learned its own.",
        examples=[5],
    )

    @model_validator(mode="after")
    def _first_before_last(self) -> Self:
        if self.numbers[0] > self.numbers[1]:
            raise ValueError(f"numbers end ({self.numbers[1]}) before they begin")
        return self


class WindowSection(Strict):
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


class JournalSection(Strict):
    """``[journal]``: where the hall's memory is."""

    path: Path = Field(
        title="Path",
        description="The database file; on a disk that survives a power cut, never on tmpfs.",
        examples=["/var/lib/nowserving/journal.db"],
    )


class TlsSection(Strict):
    """``[uplink.tls]``: PEM files."""

    ca_file: Path = Field(title="CA", description="Certificates that the broker is checked with.")
    cert_file: Path | None = Field(
        default=None, title="Certificate", description="The hall's own; its CN is the hall id."
    )
    key_file: Path | None = Field(default=None, title="Key", description="Belongs to cert_file.")


class UplinkSection(Strict):
    """``[uplink]``: the broker. Leave it out and the hall works alone."""

    host: str = Field(title="Host", description="Name or address.", examples=["mqtt.example.com"])
    port: int = Field(
        default=8883, ge=1, le=65535, title="Port", description="8883 with TLS.", examples=[8883]
    )
    username: str | None = Field(
        default=None, title="User name", description="The hall id, if left out.", examples=["hall"]
    )
    password_file: Path | None = Field(
        default=None,
        title="Password file",
        description="One line. In a unit: %d/mqtt-password, by LoadCredential.",
        examples=["/etc/nowserving/mqtt-password"],
    )
    tls: TlsSection | None = Field(default=None, title="TLS", description="Certificates.")
    protocol: Literal[5, 311] = Field(
        default=5, title="Protocol", description="MQTT 5, or 311 for 3.1.1.", examples=[5]
    )
    heartbeat_seconds: float = Field(
        default=15.0,
        ge=1,
        le=600,
        title="Heartbeat",
        description="State document at least so often.",
    )


class HallConfig(Strict):
    """The whole file. Devices are read by their drivers: see ``edge.drivers.registry``."""

    hall: HallSection
    journal: JournalSection
    services: dict[ServiceId, ServiceSection] = Field(min_length=1)
    windows: dict[WindowNumber, WindowSection] = Field(min_length=1)
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


# --- problems -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a file."""

    key: str
    what: str
    example: str = ""

    def __str__(self) -> str:
        right = f"\n      right would be, for example:  {self.example}" if self.example else ""
        return f"  {self.key}: {self.what}{right}"


class ConfigInvalid(Exception):
    """The file can't be used; the message lists every problem."""

    def __init__(self, path: Path, problems: list[Problem]) -> None:
        many = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(f"{path}: {many}\n" + "\n".join(map(str, problems)))
        self.path = path
        self.problems = problems


def load(path: Path) -> HallConfig:
    """Read and check a hall's file. Raises ``ConfigInvalid`` with all problems at once."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigInvalid(
            path, [Problem("the file", f"can't be read: {error.strerror}")]
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigInvalid(path, [Problem("the file", f"is not TOML: {error}")]) from None

    problems: list[Problem] = []
    devices = dict(_devices(raw.pop("devices", {}), problems))
    try:
        config = HallConfig.model_validate(raw)
    except ValidationError as error:
        problems += [_problem((), HallConfig, detail) for detail in error.errors()]
        raise ConfigInvalid(path, problems) from None
    config = config.model_copy(update={"devices": devices})
    problems += _contradictions(config)
    if problems:
        raise ConfigInvalid(path, problems)
    return config


def warnings(config: HallConfig) -> list[str]:
    """What will work, and may still disappoint somebody."""
    return list(_warnings(config))


def _devices(raw: object, problems: list[Problem]) -> Iterator[tuple[str, DeviceConfig]]:
    if not isinstance(raw, dict):
        problems.append(Problem("devices", "must be tables", "[devices.printer]"))
        return
    models = registry.config_models()
    for name, table in raw.items():
        where = ("devices", name)
        try:
            TypeAdapter(_DeviceName).validate_python(name)
        except ValidationError:
            problems.append(
                Problem(_dotted(where), "a device's name is in small letters", "[devices.bar-1]")
            )
        driver = table.get("driver") if isinstance(table, dict) else None
        model = models.get(driver) if isinstance(driver, str) else None
        if model is None:
            known = ", ".join(sorted(models))
            what = "has no driver" if driver is None else f"unknown driver {driver!r}"
            problems.append(Problem(_dotted((*where, "driver")), f"{what}; there are: {known}"))
            continue
        try:
            yield name, model.model_validate(table)
        except ValidationError as error:
            problems += [_problem(where, model, detail) for detail in error.errors()]


_DeviceName = Annotated[str, StringConstraints(pattern=SLUG_PATTERN)]


def _problem(where: tuple[str, ...], model: type[BaseModel], detail: ErrorDetails) -> Problem:
    """A pydantic error as a sentence for the person who wrote the file."""
    location = tuple(part for part in detail["loc"] if not _is_type_tag(part))
    key = _dotted((*where, *location))
    last = str(location[-1]) if location else ""
    owner = _model_at(model, location[:-1])
    if detail["type"] == "extra_forbidden":
        known = sorted(owner.model_fields) if owner else []
        near = difflib.get_close_matches(last, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
        return Problem(key, f"unknown key; {hint}", _example(owner, near[0]) if near else "")
    what = (
        "is missing" if detail["type"] == "missing" else detail["msg"].removeprefix("Value error, ")
    )
    return Problem(key or "the file", what, _example(owner, last))


def _is_type_tag(part: int | str) -> bool:
    """pydantic names branches of a union and dictionary keys; people did not write those."""
    return isinstance(part, str) and (part == "[key]" or part[:1].isupper() or "[" in part)


def _dotted(parts: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in parts)


def _model_at(model: type[BaseModel], location: tuple[int | str, ...]) -> type[BaseModel] | None:
    """The model that the table at ``location`` is read by."""
    current: type[BaseModel] | None = model
    for part in location:
        if current is None:
            return None
        info = current.model_fields.get(str(part))
        if info is None:
            continue  # the name of a table in a dictionary of tables
        current = next(_models_in(info.annotation), None)
    return current


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


def _example(owner: type[BaseModel] | None, key: str) -> str:
    info = owner.model_fields.get(key) if owner else None
    if info is None:
        return ""
    if next(_models_in(info.annotation), None):
        return f"[{key}]"
    if info.examples:
        return f"{key} = {_toml(info.examples[0])}"
    if info.is_required() or info.default is None:
        return ""
    return f"{key} = {_toml(info.default)}"


def _toml(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case dict():
            return "{ " + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items()) + " }"
        case list() | tuple():
            return "[" + ", ".join(map(_toml, value)) + "]"
        case int() | float():
            return str(value)
    return f'"{value}"'


# --- contradictions: each part is right, together they are not ----------------------------------


def _contradictions(config: HallConfig) -> Iterator[Problem]:
    yield from _unknown_skills(config)
    yield from _unserved(config)
    yield from _overlapping_numbers(config)
    yield from _wrong_keys(config)
    yield from _wrong_places(config)
    holders = {f"devices.{name}": device.claims() for name, device in config.devices.items()}
    holders |= {f"buses.{name}": bus.claims() for name, bus in config.buses.items()}
    yield from (Problem("devices", sentence) for sentence in conflicts(holders))


def _unknown_skills(config: HallConfig) -> Iterator[Problem]:
    for number, window in config.windows.items():
        for service in window.preference(config.services):
            if service not in config.services:
                known = ", ".join(config.services)
                yield Problem(
                    f"windows.{number}.skills",
                    f"there is no service {service!r}; there are: {known}",
                    'skills = "all"',
                )


def _unserved(config: HallConfig) -> Iterator[Problem]:
    taken = {
        service
        for window in config.windows.values()
        for service in window.preference(config.services)
    }
    for service in config.services:
        if service not in taken:
            yield Problem(
                f"services.{service}",
                "no window takes this service: its customers would wait for ever",
                f'[windows.1] skills = ["{service}"]',
            )


def _overlapping_numbers(config: HallConfig) -> Iterator[Problem]:
    services = list(config.services.items())
    for index, (name, service) in enumerate(services):
        for other_name, other in services[:index]:
            same = service.prefix == other.prefix
            if (
                same
                and service.numbers[0] <= other.numbers[1]
                and other.numbers[0] <= service.numbers[1]
            ):
                yield Problem(
                    f"services.{name}.numbers",
                    f"{service.prefix}{service.numbers[0]}–{service.numbers[1]} overlaps with "
                    f"services.{other_name}: two people would hold the same number",
                    f"numbers = [{other.numbers[1] + 1}, {other.numbers[1] + 999}]",
                )


def _wrong_keys(config: HallConfig) -> Iterator[Problem]:
    """Keys of a keypad mean something: a service, a caller's action, a rating."""
    ratings = set(Rating)
    for name, device in config.with_role(*KEYPAD_ROLES).items():
        for key in getattr(device, "keys", {}):
            where = f"devices.{name}.keys.{key}"
            if device.role is Role.DISPENSER and meaning_of(key, tuple(config.services)) is None:
                known = ", ".join(config.services)
                yield Problem(where, f"no service has this name; there are: {known}")
            if device.role is Role.EVALUATOR and key not in ratings:
                yield Problem(where, f"is no rating; there are: {', '.join(Rating)}")
            if device.role is Role.CALLER and not _is_caller_key(key, config):
                known = ", ".join(sorted(CALLER_KEYS))
                yield Problem(where, f"is no key of a caller; there are: {known}, transfer-SERVICE")


def _is_caller_key(key: str, config: HallConfig) -> bool:
    return key in CALLER_KEYS or (
        key.startswith(TRANSFER) and key.removeprefix(TRANSFER) in config.services
    )


def _wrong_places(config: HallConfig) -> Iterator[Problem]:
    """Windows and buses that devices speak of must be there; buttons need a printer."""
    for name, device in config.devices.items():
        if device.window is not None and device.window not in config.windows:
            yield Problem(f"devices.{name}.window", f"there is no window {device.window}")
        bus = getattr(device, "bus", None)
        if bus is not None and bus not in config.buses:
            known = ", ".join(config.buses) or "none"
            yield Problem(f"devices.{name}.bus", f"there is no bus {bus!r}; there are: {known}")
    printers, dispensers = config.with_role(Role.PRINTER), config.with_role(Role.DISPENSER)
    if dispensers and len(printers) != 1:
        yield Problem(
            "devices",
            f"ticket buttons need one printer, there are {len(printers)}",
            '[devices.printer] driver = "escpos", role = "printer", port = "/dev/serial/by-id/…"',
        )


def _warnings(config: HallConfig) -> Iterator[str]:
    callers = {device.window for device in config.with_role(Role.CALLER).values()}
    for number, window in config.windows.items():
        if number not in callers:
            yield f"windows.{number}: nobody can call there, no caller belongs to it"
        elif window.clerk is None:
            yield f"windows.{number}: no clerk is set, so the sign_on key there does nothing"
    if config.uplink is None:
        yield "uplink: there is none, so the centre will hear nothing of this hall"
    elif config.uplink.tls is None and config.uplink.host not in {"localhost", "127.0.0.1", "::1"}:
        yield "uplink: no TLS, so the password crosses the network in the clear"
