"""Which MQTT broker carries the demo, and how it is started.

mosquitto where there is one, configured as in production (``messaging.broker``): users, ACL,
WebSocket. Else one from PyPI, in a process of our own: iotcore (rumqttd), or amqtt.
"""

import importlib.util
import secrets
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from messaging.broker import Role, write_broker_config
from simulator.embedded_broker import EmbeddedConfig

SERVER_PATHS = "/usr/local/sbin:/usr/sbin:/sbin"
"""Debian keeps servers out of an ordinary user's PATH."""

Kind = Literal["mosquitto", "iotcore", "amqtt"]
KINDS: tuple[Kind, ...] = ("mosquitto", "iotcore", "amqtt")


class NoBroker(Exception):
    """There is none on this machine; the message says how to get one."""


@dataclass(frozen=True)
class User:
    name: str
    password_file: Path
    """One line, readable by its owner only."""

    @property
    def password(self) -> str:
        return self.password_file.read_text(encoding="utf-8").strip()


@dataclass(frozen=True)
class BrokerPlan:
    """A broker on this machine, ready to be started, any number of times, on the same ports."""

    kind: Kind
    command: Sequence[str]
    port: int
    websocket_port: int
    protocol: Literal[5, 311]
    users: dict[str, User]

    @property
    def description(self) -> str:
        return {
            "mosquitto": "mosquitto, with users and ACL as in production",
            "iotcore": "iotcore (rumqttd from PyPI): users, but no ACL; nothing kept over restarts",
            "amqtt": "amqtt (from PyPI), MQTT 3.1.1: users, but no ACL; nothing kept over restarts",
        }[self.kind]


def installed() -> list[Kind]:
    """The brokers of this machine, the best first."""
    found: list[Kind] = []
    if mosquitto_path() is not None:
        found.append("mosquitto")
    if importlib.util.find_spec("iotcore") is not None:
        found.append("iotcore")
    if importlib.util.find_spec("amqtt") is not None:
        found.append("amqtt")
    return found


def mosquitto_path() -> str | None:
    return shutil.which("mosquitto") or shutil.which("mosquitto", path=SERVER_PATHS)


def plan_broker(
    directory: Path,
    *,
    hall: str,
    port: int,
    websocket_port: int,
    kind: Kind | None = None,
) -> BrokerPlan:
    """Write the broker's files below ``directory``, with new passwords for the hall, the centre
    and the dashboards. Raises ``NoBroker``."""
    there = installed()
    if not there or (kind is not None and kind not in there):
        raise NoBroker(
            f"there is no {kind or 'MQTT broker'} on this machine. "
            "Install one: sudo apt-get install mosquitto, or: pip install 'iotcore>=0.4,<0.5'"
        )
    kind = kind or there[0]
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    roles = {hall: Role.HALL, "centre": Role.CENTRE, "dashboards": Role.DASHBOARDS}
    users = {name: _new_user(directory, name) for name in roles}
    command: Sequence[str]
    if kind == "mosquitto":
        mosquitto = mosquitto_path()
        assert mosquitto is not None, "it was found a moment ago"
        config = write_broker_config(
            directory,
            port,
            websocket_port,
            {name: (users[name].password, role) for name, role in roles.items()},
        )
        command = (mosquitto, "-c", str(config))
    else:
        path = directory / "embedded.json"
        passwords = {name: user.password for name, user in users.items()}
        EmbeddedConfig(port, websocket_port, passwords).write(path)
        command = (sys.executable, "-P", "-m", "simulator.embedded_broker", kind, str(path))
    return BrokerPlan(
        kind, command, port, websocket_port, 311 if kind == "amqtt" else 5, users=users
    )


def _new_user(directory: Path, name: str) -> User:
    user = User(name, directory / f"{name}.password")
    user.password_file.touch(mode=0o600)
    user.password_file.write_text(secrets.token_urlsafe(24) + "\n", encoding="utf-8")
    return user
