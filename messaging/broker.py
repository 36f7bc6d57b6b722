"""mosquitto's configuration, written from one place for production, the demo and the tests.

``python -m messaging.broker`` prints or writes it; ``broker-config/`` holds what it writes for
production. Works with mosquitto 2.0 and 2.1.
"""

import argparse
import base64
import hashlib
import os
import pwd
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from messaging.session import BROKER_PACKET_BYTES

_PBKDF2_ITERATIONS = 1000
"""The passwords are machine-made secrets; more rounds would only slow down a whole network that
reconnects, since mosquitto computes them on its one thread."""


class Role(StrEnum):
    """What a user of the broker may do. A hall's user name is its hall id."""

    HALL = "hall"
    CENTRE = "centre"
    DASHBOARDS = "dashboards"


@dataclass(frozen=True)
class TlsListener:
    """Every client of this listener shows a certificate; its CN is its user name."""

    port: int
    ca_file: Path
    cert_file: Path
    key_file: Path
    address: str = "0.0.0.0"  # noqa: S104 - the one listener that is for the network


@dataclass(frozen=True)
class BrokerConfig:
    """Ports and files. Plain listeners are for this machine only."""

    directory: Path
    """Where the password and ACL files are."""
    data_directory: Path | None = None
    """Where the broker keeps retained messages; ``None`` where the main file says so already."""
    port: int = 1883
    websocket_port: int = 9001
    tls: TlsListener | None = None
    run_as: str | None = None
    """The system user to become when started as root; by default mosquitto's own."""


def render_config(config: BrokerConfig) -> str:
    """``mosquitto.conf``."""
    lines = [
        "# Written by messaging/broker.py: change it there.",
        *([f"user {config.run_as}"] if config.run_as else []),
        "",
        "# Who may come in, and what they may do: the same on all listeners.",
        "per_listener_settings false",
        "allow_anonymous false",
        f"password_file {config.directory / 'passwords'}",
        f"acl_file {config.directory / 'acl'}",
        "",
        "# Without this a windowed publisher is 100 times slower (Nagle against delayed ACKs).",
        "set_tcp_nodelay true",
        "",
        "# Limits. Halls keep their events until the centre has them, so the broker may drop:",
        "# it is a wire, not a store.",
        f"max_packet_size {BROKER_PACKET_BYTES}",
        "max_inflight_messages 20",
        "max_queued_messages 10000",
        "max_queued_bytes 67108864",
        "max_keepalive 120",
        "persistent_client_expiration 1h",
        "",
        "# Retained documents outlive a restart.",
        "persistence true",
        *([f"persistence_location {config.data_directory}/"] if config.data_directory else []),
        "autosave_interval 300",
        "",
        "log_dest stderr",
        "log_type error",
        "log_type warning",
        "log_type notice",
        "connection_messages false",
        "",
        "# This machine: the centre, and a hall that tunnels.",
        f"listener {config.port} 127.0.0.1",
        "",
        "# Dashboards in browsers. In production behind the same reverse proxy as the page.",
        f"listener {config.websocket_port} 127.0.0.1",
        "protocol websockets",
        "# Without this mosquitto 2.0 listens on every address, whatever the line above says.",
        "socket_domain ipv4",
    ]
    if config.tls is not None:
        tls = config.tls
        lines += [
            "",
            "# Halls, by mutual TLS: the certificate's CN is the hall id and the user name.",
            f"listener {tls.port} {tls.address}",
            f"cafile {tls.ca_file}",
            f"certfile {tls.cert_file}",
            f"keyfile {tls.key_file}",
            "require_certificate true",
            "use_identity_as_username true",
            "tls_version tlsv1.2",
        ]
    return "\n".join(lines) + "\n"


def render_acl(users: Mapping[str, Role]) -> str:
    """The ACL file. Halls need no lines of their own: the patterns are theirs.

    Patterns hold for every user, so those who are no hall are denied the hall of their own name.
    """
    lines = ["# Written by messaging/broker.py: change it there.", ""]
    for name, role in sorted(users.items()):
        if role is Role.CENTRE:
            lines += [
                "# The centre takes in what halls say, and answers.",
                f"user {name}",
                f"topic deny halls/{name}/#",
                "topic read halls/+/v1/events",
                "topic read halls/+/v1/backlog",
                "topic read halls/+/v1/state",
                "topic read halls/+/v1/cmd/+/reply",
                "topic write halls/+/v1/ack",
                "topic write halls/+/v1/cmd/+",
                "topic readwrite central/v1/#",
                "",
            ]
        elif role is Role.DASHBOARDS:
            lines += [
                "# Dashboards look on.",
                f"user {name}",
                "topic deny halls/#",
                "topic read central/v1/#",
                "",
            ]
    lines += [
        "# A hall speaks for itself and for nobody else: %u is its user name.",
        "pattern write halls/%u/v1/events",
        "pattern write halls/%u/v1/backlog",
        "pattern write halls/%u/v1/state",
        "pattern write halls/%u/v1/cmd/+/reply",
        "pattern read halls/%u/v1/ack",
        "pattern read halls/%u/v1/cmd/+",
    ]
    return "\n".join(lines) + "\n"


def hash_password(password: str, salt: bytes | None = None) -> str:
    """In the format of ``mosquitto_passwd``: PBKDF2 with SHA-512, ``$7$rounds$salt$hash``."""
    salt = secrets.token_bytes(12) if salt is None else salt
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _PBKDF2_ITERATIONS)
    encoded = "$".join(base64.b64encode(part).decode("ascii") for part in (salt, digest))
    return f"$7${_PBKDF2_ITERATIONS}${encoded}"


def write_broker_config(
    directory: Path,
    port: int,
    websocket_port: int,
    users: Mapping[str, tuple[str, Role]],
    tls: TlsListener | None = None,
) -> Path:
    """Write configuration, ACL, passwords and a data folder below ``directory`` for a broker that
    runs as whoever runs this. Returns the path of ``mosquitto.conf``.

    ``users``: name → (password, role).
    """
    directory.mkdir(parents=True, exist_ok=True)
    data = directory / "data"
    data.mkdir(exist_ok=True)
    # As root, mosquitto would become another user, who can't read our files.
    run_as = pwd.getpwuid(os.geteuid()).pw_name if os.geteuid() == 0 else None
    config = BrokerConfig(directory, data, port, websocket_port, tls, run_as)
    _write_private(
        directory / "passwords",
        "".join(f"{name}:{hash_password(password)}\n" for name, (password, _) in users.items()),
    )
    _write_private(directory / "acl", render_acl({name: role for name, (_, role) in users.items()}))
    path = directory / "mosquitto.conf"
    _write_private(path, render_config(config))
    return path


def _write_private(path: Path, text: str) -> None:
    """Only for us: mosquitto 2.1 refuses files that others can read."""
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(text, encoding="utf-8")


def production_config() -> BrokerConfig:
    """What ``broker-config/mosquitto.conf`` is written from: a drop-in beside Debian's own file."""
    directory = Path("/etc/mosquitto/nowserving")
    return BrokerConfig(
        directory=directory,
        tls=TlsListener(
            port=8883,
            ca_file=directory / "ca.crt",
            cert_file=directory / "server.crt",
            key_file=directory / "server.key",
        ),
    )


PRODUCTION_USERS = {"centre": Role.CENTRE, "dashboards": Role.DASHBOARDS}


def main() -> None:
    """Write ``mosquitto.conf`` and ``acl`` for production into a folder."""
    parser = argparse.ArgumentParser(prog="python -m messaging.broker", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="e.g. broker-config")
    folder: Path = parser.parse_args().folder
    (folder / "mosquitto.conf").write_text(render_config(production_config()), encoding="utf-8")
    (folder / "acl").write_text(render_acl(PRODUCTION_USERS), encoding="utf-8")


if __name__ == "__main__":
    main()
