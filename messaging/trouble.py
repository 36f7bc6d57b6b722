"""What keeps a service from its broker, said once, with where to look; not at every attempt."""

import time
from collections.abc import Callable

from messaging.session import (
    BrokerUnreachable,
    ConnectRefused,
    MqttConfig,
    SessionLost,
    SubscribeRefused,
)

AGAIN_AFTER_SECONDS = 3600.0
"""A trouble that lasts is said again: whoever looks for it in the log of today finds it."""
UNSUPPORTED_PROTOCOL_VERSION, CLIENT_ID_NOT_VALID = 0x84, 0x85
NOT_THIS_USER = frozenset({0x86, 0x87, 0x8A, 0x8C})
"""Bad user name or password, not authorized, banned, bad authentication method."""
DIFFERENT = 20
"""Texts that are remembered; a trouble with more faces than that is said more often."""


class Trouble:
    """Says a text when it is new, and again when it has lasted for an hour."""

    def __init__(
        self, say: Callable[[str], None], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._say = say
        self._monotonic = monotonic
        self._said: dict[str, float] = {}

    def note(self, text: str) -> None:
        """It is so, still or for the first time."""
        now = self._monotonic()
        said_at = self._said.get(text)
        if said_at is not None and now - said_at < AGAIN_AFTER_SECONDS:
            return
        if len(self._said) >= DIFFERENT:
            self._said.clear()
        self._said[text] = now
        self._say(text)

    def over(self) -> None:
        """It went well: the next trouble is a new one."""
        self._said.clear()


def explained(error: SessionLost | SubscribeRefused, config: MqttConfig, section: str) -> str:
    """What happened, and which keys in ``[section]`` of the configuration to look at."""
    look = _where_to_look(error, config, section)
    return f"{error}. {look}" if look else str(error)


def _where_to_look(error: SessionLost | SubscribeRefused, config: MqttConfig, section: str) -> str:
    if isinstance(error, ConnectRefused) and error.code == UNSUPPORTED_PROTOCOL_VERSION:
        return f"Look at protocol in [{section}]: this broker speaks another version of MQTT"
    if isinstance(error, ConnectRefused) and error.code == CLIENT_ID_NOT_VALID:
        return "Look at which client ids the broker takes"
    if isinstance(error, ConnectRefused) and error.code not in NOT_THIS_USER:
        return "Look at the broker's own log"
    if isinstance(error, ConnectRefused):
        keys = "username and password_file"
        if config.tls is not None and config.tls.cert_file is not None:
            keys += ", or cert_file,"
        return f"Look at {keys} in [{section}], and at the broker's list of users"
    if isinstance(error, BrokerUnreachable):
        keys = "host and port" if config.tls is None else "host, port and the TLS files"
        return f"Look at {keys} in [{section}], and whether the broker runs"
    if isinstance(error, SubscribeRefused):
        return f"Look at username in [{section}], and at what the broker's ACL lets this user read"
    return ""
