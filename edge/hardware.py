"""A hall's devices, built from its configuration, each kept in service by its supervisor."""

from collections.abc import Mapping
from typing import cast

from contract.names import DeviceId
from edge.drivers import registry
from edge.drivers.config import KEYPAD_ROLES, DeviceConfig, Role
from edge.drivers.health import OncePerChange
from edge.drivers.modbus_bus import BusConfig, ModbusBus
from edge.drivers.roles import CallScreen, Device, Keypad, StatusCallback, TicketPrinter
from edge.drivers.supervisor import Supervisor


def units_of(
    devices: Mapping[DeviceId, DeviceConfig], buses: Mapping[str, BusConfig]
) -> dict[DeviceId, list[DeviceId]]:
    """The devices on each bus."""
    return {
        bus: [name for name, device in devices.items() if getattr(device, "bus", None) == bus]
        for bus in buses
    }


class Hardware:
    """All devices by role. Building them opens nothing: that is done by ``supervisors``."""

    def __init__(
        self,
        devices: Mapping[DeviceId, DeviceConfig],
        buses: Mapping[str, BusConfig],
        on_status: StatusCallback,
    ) -> None:
        report = OncePerChange(on_status)
        lines = {name: ModbusBus(name, config, report) for name, config in buses.items()}
        around = registry.Surroundings(report, lines)
        known = registry.drivers()
        self.devices: dict[DeviceId, Device] = {
            name: registry.build(name, config, around, known) for name, config in devices.items()
        }
        # The configuration has checked that a driver fills the role it is given.
        self.keypads: dict[DeviceId, Keypad] = {}
        self.screens: dict[DeviceId, CallScreen] = {}
        self.printers: dict[DeviceId, TicketPrinter] = {}
        for name, config in devices.items():
            device = self.devices[name]
            if config.role in KEYPAD_ROLES:
                self.keypads[name] = cast("Keypad", device)
            elif config.role is Role.CALL_SCREEN:
                self.screens[name] = cast("CallScreen", device)
            elif config.role is Role.PRINTER:
                self.printers[name] = cast("TicketPrinter", device)
        self.supervisors: dict[DeviceId, Supervisor] = {
            name: Supervisor(device, report) for name, device in {**lines, **self.devices}.items()
        }
