"""A broker for machines without mosquitto, as a process of its own.

    python -m simulator.embedded_broker KIND FILE

``KIND`` is ``iotcore`` (rumqttd, MQTT 5 and 3.1.1 by WebSocket) or ``amqtt`` (3.1.1). ``FILE`` is
JSON, readable by its owner only: ``{"port", "websocket_port", "users": {name: password}}``.
Neither keeps anything over a restart, and neither has our ACL: they carry a demo, never a hall.
"""

import asyncio
import hmac
import importlib
import json
import logging
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MAX_PAYLOAD_BYTES = 1024 * 1024


@dataclass(frozen=True)
class EmbeddedConfig:
    port: int
    websocket_port: int
    users: dict[str, str] = field(repr=False)

    @classmethod
    def read(cls, path: Path) -> "EmbeddedConfig":
        return cls(**json.loads(path.read_text(encoding="utf-8")))

    def write(self, path: Path) -> None:
        path.touch(mode=0o600)
        path.write_text(json.dumps(vars(self)), encoding="utf-8")


# --- rumqttd --------------------------------------------------------------------------------------


def rumqttd_toml(config: EmbeddedConfig) -> str:
    """rumqttd's configuration. Its names of the parts: rumqttd.toml of the rumqtt repository."""
    # MQTT 5 speaks only on its "v5" listeners; the WebSocket listener is 3.1.1.
    listeners = [("v5", config.port), ("ws", config.websocket_port)]
    lines = [
        "id = 0",
        "[router]",
        "id = 0",
        "max_connections = 100",
        "max_outgoing_packet_count = 200",
        "max_segment_size = 10485760",
        "max_segment_count = 10",
    ]
    for kind, port in listeners:
        lines += [
            f"[{kind}.1]",
            f'name = "{kind}"',
            f'listen = "127.0.0.1:{port}"',
            "next_connection_delay_ms = 1",
            f"[{kind}.1.connections]",
            "connection_timeout_ms = 10000",
            f"max_payload_size = {MAX_PAYLOAD_BYTES}",
            "max_inflight_count = 100",
            "dynamic_filters = true",
            f"[{kind}.1.connections.auth]",
            *(f"{json.dumps(name)} = {json.dumps(word)}" for name, word in config.users.items()),
        ]
    return "\n".join(lines) + "\n"


def run_iotcore(config: EmbeddedConfig, directory: Path) -> None:
    """Run until killed."""
    iotcore = importlib.import_module("iotcore")
    # rumqttd logs every message as an error.
    logging.getLogger("rumqttd").setLevel(logging.CRITICAL)
    toml = directory / "rumqttd.toml"
    toml.touch(mode=0o600)
    toml.write_text(rumqttd_toml(config), encoding="utf-8")
    # It has no way to be stopped from inside, and would ignore a SIGTERM meant for Python.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    iotcore.IotCoreBroker(config_path=str(toml)).run_forever()


# --- amqtt ----------------------------------------------------------------------------------------


async def run_amqtt(config: EmbeddedConfig) -> None:
    """Run until SIGTERM."""
    broker_module = importlib.import_module("amqtt.broker")
    base = importlib.import_module("amqtt.plugins.base")

    class Passwords(base.BaseAuthPlugin):  # type: ignore[misc, name-defined] # imported by name
        """Who is in ``users`` comes in."""

        async def authenticate(self, *, session: Any) -> bool:
            expected = config.users.get(session.username or "")
            given = session.password or ""
            return expected is not None and hmac.compare_digest(expected, given)

    # amqtt finds its plugins by a dotted path.
    globals()["Passwords"] = Passwords
    broker = broker_module.Broker(
        {
            "listeners": {
                "default": {"type": "tcp", "bind": f"127.0.0.1:{config.port}"},
                "websocket": {"type": "ws", "bind": f"127.0.0.1:{config.websocket_port}"},
            },
            "plugins": {f"{__name__}.Passwords": {}},
        }
    )
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await broker.start()
    await stop.wait()
    await broker.shutdown()


def main() -> None:
    kind, path = sys.argv[1], Path(sys.argv[2])
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    config = EmbeddedConfig.read(path)
    if kind == "iotcore":
        run_iotcore(config, path.parent)
    elif kind == "amqtt":
        asyncio.run(run_amqtt(config))
    else:
        sys.exit(f"no such broker: {kind}")


if __name__ == "__main__":
    main()
