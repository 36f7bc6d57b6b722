"""Contradictions and doubts: each part of the file is right, together they are not."""

from collections.abc import Iterator
from pathlib import Path

from contract.names import Rating
from edge.config.problems import Problem
from edge.config.sections import HallConfig
from edge.drivers.config import KEYPAD_ROLES, Role, conflicts
from edge.drivers.modbus_bus import LONGEST_CYCLE_SECONDS, poll_cycle_seconds
from edge.drivers.modbus_io import ModbusIoConfig
from edge.stations.desk import CALLER_KEYS, TRANSFER
from edge.stations.dispenser import meaning_of


def contradictions(config: HallConfig, *, all_devices_read: bool) -> Iterator[Problem]:
    """What is wrong with the parts together. Of ``config`` only services, windows, buses and
    devices are looked at; a device that could not be read is not missed."""
    yield from _unknown_skills(config)
    yield from _unserved(config)
    yield from _overlapping_numbers(config)
    yield from _wrong_keys(config)
    yield from _wrong_places(config)
    if all_devices_read:
        yield from _no_printer(config)
    holders = {f"devices.{name}": device.claims() for name, device in config.devices.items()}
    holders |= {f"buses.{name}": bus.claims() for name, bus in config.buses.items()}
    yield from (Problem("devices", sentence) for sentence in conflicts(holders))


def _unknown_skills(config: HallConfig) -> Iterator[Problem]:
    for number, window in config.windows.items():
        for service in window.preference(config.services):
            if service not in config.services:
                known = ", ".join(config.services)
                yield Problem(
                    f"windows.{number}.skills",
                    f"there is no service {service!r}; there are: {known}",
                    'skills = "all"',
                )


def _unserved(config: HallConfig) -> Iterator[Problem]:
    taken = {
        service
        for window in config.windows.values()
        for service in window.preference(config.services)
    }
    for service in config.services:
        if service not in taken:
            yield Problem(
                f"services.{service}",
                "no window takes this service: its customers would wait for ever",
                f'[windows.1] skills = ["{service}"]',
            )


def _overlapping_numbers(config: HallConfig) -> Iterator[Problem]:
    services = list(config.services.items())
    for index, (name, service) in enumerate(services):
        for other_name, other in services[:index]:
            same = service.prefix == other.prefix
            if (
                same
                and service.numbers[0] <= other.numbers[1]
                and other.numbers[0] <= service.numbers[1]
            ):
                yield Problem(
                    f"services.{name}.numbers",
                    f"{service.prefix}{service.numbers[0]}–{service.numbers[1]} overlaps with "
                    f"services.{other_name}: two people would hold the same number",
                    f"numbers = [{other.numbers[1] + 1}, {other.numbers[1] + 999}]",
                )


def _wrong_keys(config: HallConfig) -> Iterator[Problem]:
    """Keys of a keypad mean something: a service, a caller's action, a rating."""
    ratings = set(Rating)
    for name, device in config.with_role(*KEYPAD_ROLES).items():
        for key in getattr(device, "keys", {}):
            where = f"devices.{name}.keys.{key}"
            if device.role is Role.DISPENSER and meaning_of(key, tuple(config.services)) is None:
                known = ", ".join(config.services)
                yield Problem(where, f"no service has this name; there are: {known}")
            if device.role is Role.EVALUATOR and key not in ratings:
                yield Problem(where, f"is no rating; there are: {', '.join(Rating)}")
            if device.role is Role.CALLER and not _is_caller_key(key, config):
                known = ", ".join(sorted(CALLER_KEYS))
                yield Problem(where, f"is no key of a caller; there are: {known}, transfer-SERVICE")


def _is_caller_key(key: str, config: HallConfig) -> bool:
    return key in CALLER_KEYS or (
        key.startswith(TRANSFER) and key.removeprefix(TRANSFER) in config.services
    )


def _wrong_places(config: HallConfig) -> Iterator[Problem]:
    """Windows and buses that devices speak of must be there; buttons need a printer."""
    for name, device in config.devices.items():
        if device.window is not None and device.window not in config.windows:
            yield Problem(f"devices.{name}.window", f"there is no window {device.window}")
        bus = getattr(device, "bus", None)
        if bus is not None and bus not in config.buses:
            known = ", ".join(config.buses) or "none"
            yield Problem(f"devices.{name}.bus", f"there is no bus {bus!r}; there are: {known}")


def _no_printer(config: HallConfig) -> Iterator[Problem]:
    printers, dispensers = config.with_role(Role.PRINTER), config.with_role(Role.DISPENSER)
    if dispensers and len(printers) != 1:
        yield Problem(
            "devices",
            f"ticket buttons need one printer, there are {len(printers)}",
            '[devices.printer] driver = "escpos", role = "printer", port = "/dev/serial/by-id/…"',
        )


def warnings(config: HallConfig) -> list[str]:
    """What will work, and may still disappoint somebody."""
    return list(_warnings(config))


VOLATILE = frozenset({"tmpfs", "ramfs", "overlay", "squashfs"})


def file_system_of(path: Path, mounts: str) -> str:
    """The kind of file system that ``path`` will be on, by the text of ``/proc/mounts``."""
    kinds = {Path(line.split()[1]): line.split()[2] for line in mounts.splitlines() if line}
    return next((kinds[folder] for folder in path.absolute().parents if folder in kinds), "unknown")


def _warnings(config: HallConfig) -> Iterator[str]:
    if (mounts := Path("/proc/mounts")).exists():
        kind = file_system_of(config.journal.path, mounts.read_text(encoding="utf-8"))
        if kind in VOLATILE:
            yield (
                f"journal.path: {config.journal.path} is on {kind}, which forgets at a power cut; "
                "give the journal a disk of its own"
            )
    callers = {device.window for device in config.with_role(Role.CALLER).values()}
    for number, window in config.windows.items():
        if number not in callers:
            yield f"windows.{number}: nobody can call there, no caller belongs to it"
        elif window.clerk is None:
            yield f"windows.{number}: no clerk is set, so the sign_on key there does nothing"
    for name, bus in config.buses.items():
        polls = [
            device.poll()
            for device in config.devices.values()
            if isinstance(device, ModbusIoConfig) and device.bus == name
        ]
        cycle_seconds = poll_cycle_seconds(bus.baud, polls)
        cycle_ms, longest_ms = cycle_seconds * 1000, LONGEST_CYCLE_SECONDS * 1000
        if cycle_seconds > LONGEST_CYCLE_SECONDS:
            yield (
                f"buses.{name}: asking all {len(polls)} units takes {cycle_ms:.0f} ms; a tap can "
                f"be as short as 80 ms, so beyond {longest_ms:.0f} ms some are lost. Use a "
                "higher baud rate, or two buses"
            )
    if config.uplink is None:
        yield "uplink: there is none, so the centre will hear nothing of this hall"
    elif config.uplink.tls is None and config.uplink.host not in {"localhost", "127.0.0.1", "::1"}:
        yield "uplink: no TLS, so the password crosses the network in the clear"
