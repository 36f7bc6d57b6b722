"""A machine without GPIO pins, or without the library for them, says so once and in words."""

import importlib.util
import warnings
from pathlib import Path

import pytest
from gpiozero import Device

from contract.names import DeviceStatus
from edge.drivers.gpio import NO_PINS, GpioConfig, GpioKeypad, factory_of
from tests.integration.drivers.watch import Log, supervised

HAS_PINS = Path("/dev/gpiochip0").exists() and importlib.util.find_spec("lgpio") is not None

pytestmark = [
    pytest.mark.skipif(HAS_PINS, reason="this machine has GPIO pins"),
    pytest.mark.skipif(Device.pin_factory is not None, reason="another test gave it pins"),
]

BUTTONS = GpioConfig.model_validate(
    {"driver": "gpio", "role": "dispenser", "keys": {"payment": 17}}
)


@pytest.fixture(autouse=True)
def no_wish(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GPIOZERO_PIN_FACTORY", raising=False)


def test_missing_pins_are_one_sentence_with_the_way_out_and_no_banner(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with (
        warnings.catch_warnings(record=True) as warned,
        pytest.raises(OSError, match="GPIO") as refused,
    ):
        factory_of(BUTTONS)()
    assert str(refused.value).startswith(NO_PINS)
    assert "./edge[pi]" in NO_PINS
    assert 'pigpio = "host:port"' in NO_PINS
    assert warned == []
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "")


def test_an_unknown_wish_of_the_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "telepathy")
    with pytest.raises(OSError, match="telepathy"):
        factory_of(BUTTONS)()


async def test_buttons_without_pins_are_offline_and_tried_again() -> None:
    log = Log()
    keypad = GpioKeypad("buttons", BUTTONS, log.on_status)
    async with supervised([keypad], log):
        await log.status("buttons", DeviceStatus.OFFLINE)
