"""The demo's hall on paper: windows, services, who is wired where, and the files that say so.

One description, from which come the hall's configuration (for the daemon), the centre's, and the
virtual devices. Numbers of keys are pins (dispenser) or input channels (callers, evaluators).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MIN_SPEED, MAX_SPEED = 1.0, 120.0
"""Hall time against real time."""
RATING_SECONDS = 1.5 * MAX_SPEED
"""Of hall time: 1.5 s for a finger at the highest speed, which may come while the daemon runs."""

HALL = "demo"
HALL_NAME = {"zh": "滨江营业厅", "en": "Riverside Hall"}
TIME_ZONE = "Asia/Shanghai"

MAX_WINDOWS = 40
WINDOWS_PER_BUS = 6
"""Callers and evaluators of so many windows share an RS-485 line: more would be polled too rarely
to see a short tap."""
BAUD = 115200
SCREEN_DOTS = (176, 16)
"""Eleven hanzi: room for a call with its number."""


@dataclass(frozen=True)
class DemoService:
    """What customers come for. ``minutes`` is the usual time at the window."""

    id: str
    prefix: str
    name: Mapping[str, str]
    minutes: float
    share: float
    """Of all customers."""


SERVICES = (
    DemoService("payment", "A", {"zh": "缴费", "en": "Payment"}, 3, 0.55),
    DemoService("new-connection", "B", {"zh": "新装", "en": "New connection"}, 9, 0.17),
    DemoService("enquiry", "C", {"zh": "咨询", "en": "Enquiry"}, 4, 0.28),
)
PRIORITY_KEY = "payment-priority"
"""The green lane (绿色通道)."""

DISPENSER_KEYS = {"payment": 17, "new-connection": 27, "enquiry": 22, PRIORITY_KEY: 23}
DISPENSER_LAMPS = {"ready": 5, "no_paper": 6, "accepted": 13, "refused": 19}
CALLER_KEYS = {
    key: channel
    for channel, key in enumerate(
        ("call_next", "recall", "start", "finish", "no_show", "pause", "park", "sign_on")
    )
}
CALLER_LAMPS = {"accepted": 0, "refused": 1}
EVALUATOR_KEYS = {"very_satisfied": 0, "satisfied": 1, "neutral": 2, "dissatisfied": 3}
EVALUATOR_LAMPS = {"asking": 0, "thanks": 1, "refused": 2, "accepted": 3}

KEY_NAMES: Mapping[str, Mapping[str, str]] = {
    **{service.id: service.name for service in SERVICES},
    PRIORITY_KEY: {"zh": "绿色通道", "en": "Priority"},
    "call_next": {"zh": "叫号", "en": "Call next"},
    "recall": {"zh": "重呼", "en": "Recall"},
    "start": {"zh": "开始", "en": "Start"},
    "finish": {"zh": "结束", "en": "Finish"},
    "no_show": {"zh": "过号", "en": "No-show"},
    "pause": {"zh": "暂停", "en": "Pause"},
    "park": {"zh": "挂起", "en": "Park"},
    "sign_on": {"zh": "签到/签退", "en": "Sign on/off"},
    "very_satisfied": {"zh": "非常满意", "en": "Very satisfied"},
    "satisfied": {"zh": "满意", "en": "Satisfied"},
    "neutral": {"zh": "一般", "en": "Neutral"},
    "dissatisfied": {"zh": "不满意", "en": "Dissatisfied"},
}
LAMP_NAMES: Mapping[str, Mapping[str, str]] = {
    "ready": {"zh": "请取号", "en": "Ready"},
    "no_paper": {"zh": "暂不取号", "en": "No tickets"},
    "accepted": {"zh": "已受理", "en": "Accepted"},
    "refused": {"zh": "不受理", "en": "Refused"},
    "asking": {"zh": "请评价", "en": "Please rate"},
    "thanks": {"zh": "谢谢", "en": "Thank you"},
}


@dataclass(frozen=True)
class DemoWindow:
    number: int
    clerk: str
    skills: Sequence[str] | str
    bus: str
    caller_unit: int
    evaluator_unit: int
    screen_on_tcp: bool

    @property
    def screen(self) -> str:
        return f"screen-{self.number}"

    @property
    def caller(self) -> str:
        return f"caller-{self.number}"

    @property
    def evaluator(self) -> str:
        return f"evaluator-{self.number}"

    def takes(self, service: str) -> bool:
        return self.skills == "all" or service in self.skills


_SKILLS: tuple[Sequence[str] | str, ...] = (
    ("payment",),
    ("payment", "enquiry"),
    "all",  # 一柜通
    ("new-connection", "enquiry"),
    ("enquiry", "payment"),
    ("new-connection", "payment"),
)


def windows(count: int) -> tuple[DemoWindow, ...]:
    """So many windows, 1 to ``MAX_WINDOWS``. A lone one takes everything."""
    if not 1 <= count <= MAX_WINDOWS:
        raise ValueError(f"1 to {MAX_WINDOWS} windows, not {count}")
    made = []
    for index in range(count):
        place = index % WINDOWS_PER_BUS
        line = index // WINDOWS_PER_BUS
        # The universal window comes first in a small hall, so that somebody takes everything.
        skills = "all" if count < 4 and index == 0 else _SKILLS[place]
        made.append(
            DemoWindow(
                number=index + 1,
                clerk=str(1001 + index),
                skills=skills,
                bus="rs485" if line == 0 else f"rs485-{line + 1}",
                caller_unit=1 + place,
                evaluator_unit=11 + place,
                screen_on_tcp=index % 2 == 0,
            )
        )
    return tuple(made)


@dataclass(frozen=True)
class Wiring:
    """Where the far ends of the cables are, once the devices have opened them."""

    printer: str
    pigpio: str
    buses: Mapping[str, str]
    screens: Mapping[int, str]
    broker_port: int
    """Of the network cable to the broker, see ``devices.Relay``."""


@dataclass(frozen=True)
class Places:
    """The demo's files and addresses."""

    directory: Path
    sockets: Path
    """A folder with a short name: unix sockets and serial ports have little room for theirs."""
    windows: tuple[DemoWindow, ...] = field(default_factory=lambda: windows(6))

    @property
    def clock_file(self) -> Path:
        return self.directory / "clock"

    @property
    def hall_config(self) -> Path:
        return self.directory / "hall.toml"

    @property
    def sync_config(self) -> Path:
        return self.directory / "sync.toml"

    @property
    def journal(self) -> Path:
        return self.directory / "journal.db"

    @property
    def centre_database(self) -> Path:
        return self.directory / "centre.db"

    def log(self, program: str) -> Path:
        return self.directory / f"{program}.log"

    def serial_port(self, name: str) -> Path:
        return self.sockets / name


# --- the hall's file ------------------------------------------------------------------------------


def reprint_within_seconds(speed: float) -> float:
    """Of hall time: a customer stands at the dispenser for half a minute of real time."""
    return min(3600.0, max(60.0, 30.0 * speed))


def hall_toml(
    places: Places,
    wiring: Wiring,
    *,
    speed: float,
    username: str,
    password_file: Path,
    protocol: int,
) -> str:
    """The daemon's configuration.

    Hands are as slow as ever while hall time runs ``speed`` times faster: what gives people time
    to press, or paper time to come out, is stretched with it.
    """
    document: dict[str, Any] = {
        "hall": {"id": HALL, "name": HALL_NAME, "time_zone": TIME_ZONE},
        "rules": {
            "rating_seconds": RATING_SECONDS,
            "no_show_after_seconds": max(10.0, speed / 2),
            "reprint_within_seconds": reprint_within_seconds(speed),
        },
        "journal": {"path": str(places.journal)},
        "uplink": {
            "host": "127.0.0.1",
            "port": wiring.broker_port,
            "username": username,
            "password_file": str(password_file),
            "protocol": protocol,
            "heartbeat_seconds": 5.0,
        },
        "services": {
            service.id: {
                "name": dict(service.name),
                "prefix": service.prefix,
                "numbers": [1, 999],
                "expected_minutes": service.minutes,
            }
            for service in SERVICES
        },
        "windows": {
            str(window.number): {
                "skills": window.skills if window.skills == "all" else list(window.skills),
                "clerk": window.clerk,
            }
            for window in places.windows
        },
        "buses": {name: {"port": port, "baud": BAUD} for name, port in wiring.buses.items()},
        "devices": dict(_devices(places, wiring)),
    }
    head = "# The hall of `nowserving demo`. Every device is virtual, every wire is real.\n"
    return head + to_toml(document)


def _devices(places: Places, wiring: Wiring) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "printer", {"driver": "escpos", "role": "printer", "port": wiring.printer}
    yield (
        "dispenser",
        {
            "driver": "gpio",
            "role": "dispenser",
            "pigpio": wiring.pigpio,
            "keys": DISPENSER_KEYS,
            "lamps": DISPENSER_LAMPS,
        },
    )
    for window in places.windows:
        at = {"window": window.number}
        width, height = SCREEN_DOTS
        yield (
            window.screen,
            {
                "driver": "onbon_bx",
                "role": "call_screen",
                **at,
                "port": wiring.screens[window.number],
                "width": width,
                "height": height,
            },
        )
        yield (
            window.caller,
            {
                "driver": "modbus_io",
                "role": "caller",
                **at,
                "bus": window.bus,
                "unit": window.caller_unit,
                "keys": CALLER_KEYS,
                "lamps": CALLER_LAMPS,
            },
        )
        yield (
            window.evaluator,
            {
                "driver": "modbus_io",
                "role": "evaluator",
                **at,
                "bus": window.bus,
                "unit": window.evaluator_unit,
                "keys": EVALUATOR_KEYS,
                "lamps": EVALUATOR_LAMPS,
            },
        )


# --- the centre's file ----------------------------------------------------------------------------


def sync_toml(
    places: Places,
    *,
    broker_port: int,
    websocket_port: int,
    password_file: Path,
    dashboards_password_file: Path,
    protocol: int,
    page_port: int,
) -> str:
    """cloud-sync's configuration."""
    document: dict[str, Any] = {
        "mqtt": {
            "host": "127.0.0.1",
            "port": broker_port,
            "username": "centre",
            "password_file": str(password_file),
            "protocol": protocol,
        },
        "store": {"path": str(places.centre_database)},
        "page": {
            "host": "127.0.0.1",
            "port": page_port,
            "websocket_port": websocket_port,
            "username": "dashboards",
            "password_file": str(dashboards_password_file),
            # The virtual hall's page shows it beside itself, whatever port that has.
            "framed_by": ["http://127.0.0.1:*", "http://localhost:*"],
        },
    }
    return "# The centre of `nowserving demo`.\n" + to_toml(document)


# --- TOML -----------------------------------------------------------------------------------------


def to_toml(document: Mapping[str, Any]) -> str:
    """Tables of tables of plain values; the two outer levels become ``[headings]``."""
    lines: list[str] = []
    for name, table in document.items():
        plain = {key: value for key, value in table.items() if not isinstance(value, Mapping)}
        tables = (
            {name: table} if plain else {f"{name}.{key}": inner for key, inner in table.items()}
        )
        for heading, values in tables.items():
            lines += ["", f"[{heading}]", *(_pair(key, value) for key, value in values.items())]
    return "\n".join(lines) + "\n"


def _pair(key: str, value: object) -> str:
    return f"{key} = {_value(value)}"


def _value(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case str():
            return json.dumps(value, ensure_ascii=False)  # a TOML basic string, as JSON's is
        case Mapping():
            return "{ " + ", ".join(_pair(str(k), v) for k, v in value.items()) + " }"
        case list() | tuple():
            return "[" + ", ".join(_value(item) for item in value) + "]"
    raise TypeError(f"no TOML for {value!r}")
