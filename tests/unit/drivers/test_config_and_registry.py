"""Device configurations: what is refused, what is claimed, and how drivers are found."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import ValidationError

from edge.drivers.config import DeviceConfig, conflicts, port_claim
from edge.drivers.gpio import GpioConfig, GpioKeypad
from edge.drivers.modbus_bus import BusConfig, ModbusBus
from edge.drivers.modbus_io import ModbusIoConfig, ModbusKeypad
from edge.drivers.registry import Driver, Surroundings, UnknownDriver, build, driver_of, drivers

GPIO: dict[str, Any] = {
    "driver": "gpio",
    "role": "dispenser",
    "keys": {"payment": 17, "enquiry": 27},
    "lamps": {"refused": 22},
}
MODBUS: dict[str, Any] = {
    "driver": "modbus_io",
    "role": "evaluator",
    "window": 3,
    "bus": "rs485",
    "unit": 13,
    "keys": {"very_satisfied": 0},
    "lamps": {"asking": 0},
}


def read(table: Mapping[str, Any], known: Mapping[str, Driver[Any]]) -> DeviceConfig:
    config: DeviceConfig = driver_of(table, known).config.model_validate(table)
    return config


def no_status(*_: object) -> None: ...


def test_the_driver_field_chooses_the_configuration() -> None:
    assert isinstance(read(GPIO, drivers()), GpioConfig)
    assert isinstance(read(MODBUS, drivers()), ModbusIoConfig)
    with pytest.raises(UnknownDriver, match=r"telepathy.*there are: escpos, gpio"):
        read({"driver": "telepathy"}, drivers())
    with pytest.raises(UnknownDriver, match="names no driver"):
        read({}, drivers())


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        (GPIO | {"windwo": 3}, "windwo"),
        (GPIO | {"role": "printer"}, "this driver can't be a printer; it can be: caller, disp"),
        (GPIO | {"role": "caller"}, "a caller belongs to a window"),
        (GPIO | {"window": 3}, "a dispenser belongs to no window"),
        (GPIO | {"keys": {"payment": 28}}, "keys.payment"),
        (GPIO | {"keys": {"Payment !": 4}}, "keys"),
        (GPIO | {"keys": {"a": 5, "b": 5}}, "a and b are both on pin 5"),
        (GPIO | {"lamps": {"refused": 17}}, "lamp refused is on pin 17, which is a key's"),
        (GPIO | {"pigpio": "somewhere"}, "pigpio"),
        (MODBUS | {"unit": 0}, "unit"),
        (MODBUS | {"unit": 248}, "unit"),
        (MODBUS | {"keys": {"satisfied": 8}}, "keys.satisfied"),
        (MODBUS | {"keys": {"a": 1, "b": 1}}, "a and b are both on input 1"),
        (MODBUS | {"lamps": {"a": 1, "b": 1}}, "a and b are both on output 1"),
    ],
)
def test_a_wrong_table_is_refused_with_what_is_wrong(table: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError) as refused:
        read(table, drivers())
    assert complaint in str(refused.value)


def test_every_field_says_what_it_is_for() -> None:
    models = [driver.config for driver in drivers().values()] + [BusConfig]
    for model in models:
        for name, info in model.model_fields.items():
            assert info.title, f"{model.__name__}.{name}"
            assert info.description, f"{model.__name__}.{name}"


def test_two_devices_on_one_pin_or_unit_are_named_both() -> None:
    gpio = GpioConfig.model_validate(GPIO)
    modbus = ModbusIoConfig.model_validate(MODBUS)
    other = GpioConfig.model_validate(GPIO | {"keys": {"payment": 4}, "lamps": {"refused": 17}})
    assert gpio.claims() == ["gpio:17", "gpio:27", "gpio:22"]
    assert modbus.claims() == ["bus:rs485/unit 13"]
    assert conflicts(
        {
            "devices.buttons": gpio.claims(),
            "devices.lamps": other.claims(),
            "devices.evaluator-3": modbus.claims(),
            "devices.evaluator-4": modbus.claims(),
        }
    ) == [
        ("gpio:17", ["devices.buttons", "devices.lamps"]),
        ("bus:rs485/unit 13", ["devices.evaluator-3", "devices.evaluator-4"]),
    ]


def test_pins_of_two_machines_are_not_the_same_pins() -> None:
    here = GpioConfig.model_validate(GPIO)
    there = GpioConfig.model_validate(GPIO | {"pigpio": "Pi-2:8888"})
    assert there.claims()[0] == "port:pigpio://pi-2:8888/17"
    assert conflicts({"here": here.claims(), "there": there.claims()}) == []


def test_two_keypads_on_one_pin_are_found_by_whatever_name_they_call_its_machine() -> None:
    names = ("localhost", "127.0.0.1", "LocalHost")
    pads = {
        f"devices.{name}": GpioConfig.model_validate(
            GPIO | {"pigpio": f"{name}:8888", "keys": {"payment": 17}, "lamps": {}}
        ).claims()
        for name in names
    }
    ((_, holders),) = conflicts(pads)
    assert holders == list(pads)
    elsewhere = GpioConfig.model_validate(GPIO | {"pigpio": "localhost:8889", "lamps": {}}).claims()
    assert conflicts({"a": pads["devices.localhost"], "b": elsewhere}) == []


def test_a_hosts_letter_case_makes_no_second_port_but_a_paths_does() -> None:
    assert port_claim("socket://Box:4001") == port_claim("socket://box:4001")
    assert port_claim("/dev/serial/by-id/A") != port_claim("/dev/serial/by-id/a")
    assert BusConfig(port="/dev/ttyAMA0").claims() == ["port:/dev/ttyAMA0"]


async def test_a_table_becomes_a_device() -> None:
    known = drivers()
    bus = ModbusBus("rs485", BusConfig(port="/dev/none"), no_status)
    around = Surroundings(no_status, {"rs485": bus})
    gpio = build("buttons", GpioConfig.model_validate(GPIO), around, known)
    modbus = build("evaluator-3", ModbusIoConfig.model_validate(MODBUS), around, known)
    assert isinstance(gpio, GpioKeypad)
    assert isinstance(modbus, ModbusKeypad)
    assert (gpio.id, gpio.lamps()) == ("buttons", {"refused"})
    assert (modbus.id, modbus.lamps()) == ("evaluator-3", {"asking"})


class BellConfig(DeviceConfig):
    driver: Literal["bell"]


class NamelessConfig(DeviceConfig):
    pass


def test_a_third_party_adds_a_driver() -> None:
    def build_bell(device: str, config: BellConfig, around: Surroundings) -> Any:
        return (device, config.driver)

    known = drivers([Driver(BellConfig, build_bell)])
    config = read({"driver": "bell", "role": "printer"}, known)
    assert build("bell-1", config, Surroundings(no_status), known) == ("bell-1", "bell")


def test_two_drivers_of_one_name_and_one_without_a_name_are_refused() -> None:
    bell = Driver(BellConfig, lambda *_: pytest.fail("not built"))
    with pytest.raises(ValueError, match="there is a driver 'bell' already"):
        drivers([bell, bell])
    with pytest.raises(TypeError, match="NamelessConfig needs a field driver"):
        drivers([Driver(NamelessConfig, lambda *_: pytest.fail("not built"))])


def test_two_names_of_one_port_are_one_claim(tmp_path: Path) -> None:
    port, by_id = tmp_path / "ttyUSB0", tmp_path / "usb-FTDI-if00"
    port.touch()
    by_id.symlink_to(port)
    assert port_claim(str(port)) == port_claim(str(by_id))
    assert port_claim("/dev/serial/by-id/absent") == "port:/dev/serial/by-id/absent"


@pytest.mark.parametrize("host", ["localhost", "LocalHost", "127.0.0.1", "[::1]"])
def test_all_names_of_this_machine_are_one_claim(host: str) -> None:
    assert port_claim(f"socket://{host}:9100") == port_claim("socket://localhost:9100")
    assert port_claim(f"socket://{host}:9100") != port_claim("socket://localhost:9101")
    assert port_claim(f"socket://{host}:9100") != port_claim("socket://127.0.0.12:9100")
