"""Which drivers there are: ours, and those that other distributions bring.

Another distribution adds a driver by an entry point in the group ``nowserving.drivers`` whose name
is the driver's and whose object is a ``Driver``.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar, get_args

from contract.names import DeviceId
from edge.drivers.config import DeviceConfig
from edge.drivers.escpos_printer import EscposConfig, EscposPrinter
from edge.drivers.gpio import GpioConfig, GpioKeypad
from edge.drivers.modbus_bus import ModbusBus
from edge.drivers.modbus_io import ModbusIoConfig, ModbusKeypad
from edge.drivers.onbon_screen import OnbonConfig, OnbonScreen
from edge.drivers.roles import Device, StatusCallback

GROUP = "nowserving.drivers"

_Config = TypeVar("_Config", bound=DeviceConfig)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a device is built into."""

    on_status: StatusCallback
    buses: Mapping[str, ModbusBus] = field(default_factory=dict)
    """By the NAME of ``[buses.NAME]``. They run beside the devices, under supervisors too."""


@dataclass(frozen=True, slots=True)
class Driver(Generic[_Config]):
    """A driver: its configuration, whose ``driver`` field is a ``Literal`` of its name, and what
    builds the device from it. Building opens nothing."""

    config: type[_Config]
    build: Callable[[DeviceId, _Config, Surroundings], Device]

    @property
    def name(self) -> str:
        """Raises ``TypeError`` when the configuration doesn't say it."""
        driver = self.config.model_fields.get("driver")
        names = get_args(driver.annotation) if driver is not None else ()
        if len(names) != 1 or not isinstance(names[0], str):
            raise TypeError(f"{self.config.__name__} needs a field driver: Literal['its name']")
        return names[0]


def _gpio(device: DeviceId, config: GpioConfig, around: Surroundings) -> Device:
    return GpioKeypad(device, config, around.on_status)


def _escpos(device: DeviceId, config: EscposConfig, around: Surroundings) -> Device:
    return EscposPrinter(device, config, around.on_status)


def _onbon_bx(device: DeviceId, config: OnbonConfig, around: Surroundings) -> Device:
    return OnbonScreen(device, config, around.on_status)


def _modbus_io(device: DeviceId, config: ModbusIoConfig, around: Surroundings) -> Device:
    return ModbusKeypad(device, config, around.buses[config.bus], around.on_status)


BUILT_IN: tuple[Driver[Any], ...] = (
    Driver(EscposConfig, _escpos),
    Driver(OnbonConfig, _onbon_bx),
    Driver(GpioConfig, _gpio),
    Driver(ModbusIoConfig, _modbus_io),
)


def drivers(more: Iterable[Driver[Any]] = ()) -> dict[str, Driver[Any]]:
    """All drivers by name: built in, installed by entry points, and ``more``.

    Raises ``ValueError`` when two have one name, ``TypeError`` for an entry point that is no
    ``Driver``, and whatever importing it raises: half a set of drivers is no hall.
    """
    found: dict[str, Driver[Any]] = {}
    for origin, driver in (
        *(("built in", driver) for driver in BUILT_IN),
        *((f"entry point {entry.value}", entry.load()) for entry in entry_points(group=GROUP)),
        *(("given", driver) for driver in more),
    ):
        if not isinstance(driver, Driver):
            raise TypeError(f"{origin} is no edge.drivers.registry.Driver")
        if driver.name in found:
            raise ValueError(f"there is a driver {driver.name!r} already ({origin})")
        found[driver.name] = driver
    return found


def driver_of(table: Mapping[str, Any], known: Mapping[str, Driver[Any]]) -> Driver[Any]:
    """The driver that a ``[devices.NAME]`` table names. Raises ``UnknownDriver``."""
    name = table.get("driver")
    driver = known.get(name) if isinstance(name, str) else None
    if driver is None:
        raise UnknownDriver(name, known)
    return driver


class UnknownDriver(ValueError):
    """A table names no driver, or one that is not there; the message lists those that are."""

    def __init__(self, name: object, known: Iterable[str]) -> None:
        what = "names no driver" if name is None else f"there is no driver {name!r}"
        super().__init__(f"{what}; there are: {', '.join(sorted(known))}")


def build(
    device: DeviceId, config: DeviceConfig, around: Surroundings, known: Mapping[str, Driver[Any]]
) -> Device:
    """The device that ``config`` describes. Raises ``KeyError``: its driver or bus isn't there."""
    name: str = config.driver  # type: ignore[attr-defined] # every driver's own field
    return known[name].build(device, config, around)
