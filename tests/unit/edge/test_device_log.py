"""The log says each change of a device once, in words, and a bus with its units in one line."""

import asyncio
import logging

import pytest

from contract.names import DeviceStatus
from edge.device_log import DeviceLog
from edge.drivers.gpio import NO_PINS

UNITS = [f"caller-{number}" for number in range(1, 13)]
LOST = "[Errno 32] the far end hung up"


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO)
    return caplog


def unplug(devices: DeviceLog) -> None:
    devices.changed("desks", DeviceStatus.OFFLINE, LOST)
    for unit in UNITS:
        devices.changed(unit, DeviceStatus.OFFLINE, f"bus desks is down: {LOST}")


def test_a_change_is_one_line_in_words_with_what_to_do(said: pytest.LogCaptureFixture) -> None:
    devices = DeviceLog({})
    devices.changed("printer", DeviceStatus.OFFLINE, LOST)
    devices.changed("printer", DeviceStatus.PAPER_OUT, "12 12 1e 72")
    devices.changed("printer", DeviceStatus.ONLINE, "12 12 12 12")
    devices.changed("buttons", DeviceStatus.STUCK_KEY, "payment")
    assert said.messages == [
        (
            "printer is offline: the far end hung up. Check its power and its cable; it is tried "
            "again by itself"
        ),
        "printer has no paper. Put in a new roll",
        "printer is online",
        "buttons has a key that is held down: payment. Free the key; until then it is ignored",
    ]
    levels = [record.levelname for record in said.records]
    assert levels == ["WARNING", "WARNING", "INFO", "WARNING"]


@pytest.mark.parametrize("status", DeviceStatus)
def test_every_status_has_words(status: DeviceStatus, said: pytest.LogCaptureFixture) -> None:
    DeviceLog({}).changed("bar-1", status, "")
    assert said.messages[0].startswith("bar-1 ")


def test_pins_that_are_not_there_are_not_told_to_be_plugged_in(
    said: pytest.LogCaptureFixture,
) -> None:
    DeviceLog({}).changed("buttons", DeviceStatus.OFFLINE, f"{NO_PINS} (no lgpio)")
    assert "cable" not in said.text
    assert "./edge[pi]" in said.text


def test_the_octets_of_a_printer_stay_for_whoever_asks_for_them(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    DeviceLog({}).changed("printer", DeviceStatus.ONLINE, "12 12 12 12")
    assert ("DEBUG", "printer: online 12 12 12 12") in [
        (record.levelname, record.message) for record in caplog.records
    ]


async def test_a_pulled_cable_is_one_line_and_so_is_its_return(
    said: pytest.LogCaptureFixture,
) -> None:
    devices = DeviceLog({"desks": UNITS})
    unplug(devices)
    assert len(said.messages) == 1
    assert said.messages[0].startswith("desks is offline, and with it caller-1, caller-2, ")
    assert "the far end hung up. Check" in said.messages[0]
    said.clear()
    devices.changed("desks", DeviceStatus.ONLINE, "/dev/ttyUSB0")
    for unit in UNITS:
        assert said.messages == []
        devices.changed(unit, DeviceStatus.ONLINE, "")
    assert said.messages == ["desks is online, and with it its 12 units"]


async def test_a_unit_that_does_not_come_back_with_its_bus_is_named(
    said: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.device_log.BACK_WITHIN_SECONDS", 0.01)
    devices = DeviceLog({"desks": UNITS})
    unplug(devices)
    said.clear()
    devices.changed("desks", DeviceStatus.ONLINE, "/dev/ttyUSB0")
    for unit in UNITS[1:]:
        devices.changed(unit, DeviceStatus.ONLINE, "")
    async with asyncio.timeout(10):
        while not said.messages:
            await asyncio.sleep(0.01)
    assert said.messages[0].startswith("desks is online, but of its 12 units not caller-1. Check")
    devices.changed("caller-1", DeviceStatus.ONLINE, "")
    assert said.messages[1:] == ["caller-1 is online"]


@pytest.mark.parametrize("trouble", [DeviceStatus.STUCK_KEY, DeviceStatus.FAULT])
async def test_a_unit_that_comes_back_with_a_trouble_is_told_of_that_alone(
    trouble: DeviceStatus, said: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.device_log.BACK_WITHIN_SECONDS", 0.01)
    devices = DeviceLog({"desks": ["k1", "k2"]})
    devices.changed("desks", DeviceStatus.ONLINE, "/dev/ttyUSB0")
    devices.changed("k1", DeviceStatus.ONLINE, "")
    devices.changed("k2", trouble, "call_next")
    async with asyncio.timeout(10):
        while len(said.messages) < 2:
            await asyncio.sleep(0.01)
    assert said.messages[0].startswith("k2 has a ")
    assert said.messages[1:] == ["desks is online, and with it its 2 units"]


async def test_a_unit_of_which_nothing_is_known_is_named_as_missing(
    said: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.device_log.BACK_WITHIN_SECONDS", 0.01)
    devices = DeviceLog({"desks": ["k1", "k2", "k3"]})
    devices.changed("desks", DeviceStatus.ONLINE, "/dev/ttyUSB0")
    devices.changed("k1", DeviceStatus.FAULT, "")
    devices.changed("k2", DeviceStatus.FAULT, "")
    devices.changed("k2", DeviceStatus.UNKNOWN, "")
    async with asyncio.timeout(10):
        while not any(message.startswith("desks") for message in said.messages):
            await asyncio.sleep(0.01)
    assert "desks is online, but of its 3 units not k2, k3. Check" in said.text


async def test_a_unit_alone_is_told_alone(said: pytest.LogCaptureFixture) -> None:
    devices = DeviceLog({"desks": ["caller-1"], "spare": []})
    devices.changed("spare", DeviceStatus.ONLINE, "/dev/ttyUSB1")
    devices.changed("desks", DeviceStatus.ONLINE, "/dev/ttyUSB0")
    devices.changed("caller-1", DeviceStatus.STUCK_KEY, "recall")
    devices.changed("caller-1", DeviceStatus.ONLINE, "")
    devices.changed("caller-1", DeviceStatus.OFFLINE, "unit 1 on bus desks does not answer")
    assert [message.split(":")[0] for message in said.messages] == [
        "spare is online",
        "caller-1 has a key that is held down",
        "desks is online, and with it its 1 unit",
        "caller-1 is offline",
    ]


async def test_a_bus_that_goes_again_before_all_were_found_is_offline_only(
    said: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.device_log.BACK_WITHIN_SECONDS", 0.01)
    devices = DeviceLog({"desks": UNITS})
    devices.changed("desks", DeviceStatus.ONLINE, "/dev/ttyUSB0")
    unplug(devices)
    await asyncio.sleep(0.05)
    assert len(said.messages) == 1
