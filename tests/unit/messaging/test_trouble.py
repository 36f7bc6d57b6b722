"""A trouble is said once, with where to look."""

from pathlib import Path

import pytest

from messaging.session import (
    BrokerUnreachable,
    ConnectRefused,
    MqttConfig,
    SessionLost,
    SubscribeRefused,
    TlsConfig,
)
from messaging.trouble import AGAIN_AFTER_SECONDS, DIFFERENT, Trouble, explained

PLAIN = MqttConfig("mqtt.example.com", 1883, "x", "h1")
TLS = MqttConfig("mqtt.example.com", 8883, "x", tls=TlsConfig(Path("ca"), Path("cert"), Path("k")))


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_a_trouble_is_said_when_it_is_new_and_again_after_an_hour() -> None:
    said: list[str] = []
    clock = Clock()
    trouble = Trouble(said.append, clock)
    for _ in range(500):
        trouble.note("refused")
        trouble.note("away")
        clock.seconds += 1.0
    assert said == ["refused", "away"]
    clock.seconds = AGAIN_AFTER_SECONDS
    trouble.note("away")
    assert said == ["refused", "away", "away"]


def test_a_trouble_that_comes_back_after_it_was_over_is_new() -> None:
    said: list[str] = []
    trouble = Trouble(said.append, Clock())
    trouble.note("refused")
    trouble.over()
    trouble.note("refused")
    assert said == ["refused", "refused"]


def test_what_is_remembered_is_bounded() -> None:
    said: list[str] = []
    trouble = Trouble(said.append, Clock())
    for number in range(10 * DIFFERENT):
        trouble.note(str(number))
        assert len(trouble._said) <= DIFFERENT
    assert len(said) == 10 * DIFFERENT


@pytest.mark.parametrize(
    ("error", "config", "look"),
    [
        (ConnectRefused("no", 0x86), PLAIN, "username and password_file in [uplink]"),
        (ConnectRefused("no", 0x87), TLS, "cert_file, in [uplink]"),
        (ConnectRefused("no", 0x84), PLAIN, "protocol in [uplink]"),
        (ConnectRefused("no", 0x85), PLAIN, "client ids"),
        (ConnectRefused("no", 0x97), PLAIN, "log"),
        (BrokerUnreachable("no"), PLAIN, "host and port in [uplink]"),
        (BrokerUnreachable("no"), TLS, "host, port and the TLS files in [uplink]"),
        (SubscribeRefused("no"), PLAIN, "username in [uplink]"),
    ],
)
def test_each_trouble_names_the_keys_to_look_at(
    error: SessionLost | SubscribeRefused, config: MqttConfig, look: str
) -> None:
    text = explained(error, config, "uplink")
    assert text.startswith("no. Look at ")
    assert look in text


def test_a_connection_that_ended_is_nothing_to_look_up() -> None:
    assert explained(SessionLost("it is gone"), PLAIN, "uplink") == "it is gone"
