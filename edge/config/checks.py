"""Contradictions and doubts: each part of the file is right, together they are not."""

import difflib
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from itertools import count, product
from pathlib import Path
from stat import S_IFREG, S_ISDIR, S_ISREG
from string import ascii_uppercase

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from contract.names import Rating, ServiceId
from edge.config.examples import File, bounds_of, fits, free_number, right_name
from edge.config.problems import Problem
from edge.config.sections import HIGHEST_NUMBER, HallConfig
from edge.config.toml import dotted, left_out, line_of, lines_of, table_of
from edge.drivers.config import KEYPAD_ROLES, DeviceConfig, Role, as_far_as_read, conflicts
from edge.drivers.modbus_bus import LONGEST_CYCLE_SECONDS, BusConfig, poll_cycle_seconds
from edge.drivers.modbus_io import ModbusIoConfig
from edge.health import JOURNAL
from edge.stations.desk import CALLER_KEYS, THANKS, TRANSFER
from edge.stations.dispenser import meaning_of
from edge.stations.presses import ACCEPTED, REFUSED


def contradictions(config: HallConfig, file: File) -> Iterator[Problem]:
    """What is wrong with the tables together, as far as they could be read: ``config`` may lack
    tables, and tables may lack fields (``load.as_far_as_right``). ``file``: as it was written."""
    parts = {section: getattr(config, section, {}) for section in _SECTIONS}
    draft = HallConfig.model_construct(**{**config.__dict__, **parts})
    complete = {
        section
        for section, tables in parts.items()
        if isinstance(file.get(section, {}), dict) and len(tables) == len(file.get(section, {}))
    }
    if draft.services:  # else that is what is wrong, not every word that speaks of one
        yield from _unknown_skills(draft)
    if "windows" in complete:
        yield from as_far_as_read(lambda: _unserved(draft))
    yield from _overlapping_numbers(draft)
    for name, device in draft.devices.items():
        yield from as_far_as_read(partial(_wrong_keys, name, device, draft, file))
        yield from as_far_as_read(partial(_wrong_window, name, device, draft))
        yield from as_far_as_read(partial(_wrong_bus, name, device, draft))
    if "devices" in complete:
        yield from as_far_as_read(lambda: _no_printer(draft, file))
    yield from _names_of_others(draft)
    yield from _claimed_twice(draft)
    yield from _missing_files(draft)


def _names_of_others(config: HallConfig) -> Iterator[Problem]:
    """Health, counters and events tell devices, buses and the journal by name alone."""
    for section, names in (("buses", config.buses), ("devices", config.devices)):
        for name in names:
            other = "the journal's" if name == JOURNAL else ""
            if section == "devices" and name in config.buses:
                other = f"that of buses.{name}"
            if other:
                right = next(f"{name}-{n}" for n in count(2) if f"{name}-{n}" not in names)
                yield Problem(
                    f"{section}.{name}",
                    f"this name is {other}, too: nobody could tell which of the two is in trouble",
                    f"[{dotted((section, right))}]",
                )


_SECTIONS = ("services", "windows", "buses", "devices")


def _unknown_skills(config: HallConfig) -> Iterator[Problem]:
    for number, window in config.windows.items():
        for service in as_far_as_read(partial(window.preference, config.services)):
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
        if service not in taken and config.windows:
            number, window = next(iter(config.windows.items()))
            skills = [*_known(window.skills, config.services), service]
            yield Problem(
                f"services.{service}",
                "no window takes this service: its customers would wait for ever",
                table_of(("windows", str(number)), {"skills": skills}),
            )


def _known(
    skills: str | Sequence[ServiceId | Sequence[ServiceId]], services: Collection[ServiceId]
) -> Iterator[ServiceId | list[ServiceId]]:
    """A window's skills without those that are no service, in their order and in their groups."""
    for entry in () if isinstance(skills, str) else skills:
        if isinstance(entry, str):
            yield from (entry,) if entry in services else ()
        elif group := [each for each in entry if each in services]:
            yield group


def _overlapping_numbers(config: HallConfig) -> Iterator[Problem]:
    ranges = [
        (name, service.prefix, *service.numbers)
        for name, service in config.services.items()
        if {"prefix", "numbers"} <= service.__dict__.keys()
        and service.numbers[0] <= service.numbers[1]
    ]
    for index, (name, prefix, first, last) in enumerate(ranges):
        for other_name, other_prefix, other_first, other_last in ranges[:index]:
            if prefix == other_prefix and first <= other_last and other_first <= last:
                beyond = max(top for _, its, _, top in ranges if its == prefix) + 1
                numbers = [beyond, beyond + last - first]
                prefixes = {its for _, its, _, _ in ranges}
                free = next((each for each in _PREFIXES if each not in prefixes), None)
                if numbers[1] <= HIGHEST_NUMBER:
                    example = line_of("numbers", numbers)
                elif free is not None:
                    example = line_of("prefix", free)
                else:
                    example = left_out(("services", name), {})
                yield Problem(
                    f"services.{name}.numbers",
                    f"{prefix}{first}–{last} overlaps with services.{other_name}: two people would "
                    "hold the same number",
                    example,
                )


_PREFIXES = [*ascii_uppercase, *map("".join, product(ascii_uppercase, repeat=2))]


def _wrong_keys(
    name: str, device: DeviceConfig, config: HallConfig, file: File
) -> Iterator[Problem]:
    """Keys of a keypad mean something: a service, a caller's action, a rating. Their names are
    looked at also where what stands behind one of them can't be read."""
    model = type(device)
    written = file["devices"][name].get("keys")
    if device.role not in KEYPAD_ROLES or "keys" not in model.model_fields:
        return
    if not isinstance(written, dict):
        return
    right: dict[str, object] = {}
    for key, at in written.items():
        what, known = _meaning(key, device.role, config)
        if not what or not known:
            right[key] = at
        elif free := [each for each in known if each not in {*written, *right}]:
            right[next(iter(difflib.get_close_matches(key, free, n=1)), free[0])] = at
    keys = model.model_fields["keys"]
    for key, at in right.items():
        if not fits(keys, {key: at}):
            right[key] = free_number(bounds_of(keys), [file, list(right.values())], at)
    for key in written:
        what, known = _meaning(key, device.role, config)
        if what and known:
            yield Problem(
                dotted(("devices", name, "keys", key)),
                f"{what}; there are: {', '.join(known)}",
                line_of("keys", right),
            )


def _meaning(key: str, role: Role, config: HallConfig) -> tuple[str, list[str]]:
    """What is wrong with a key's name ("" for nothing), and which names there are."""
    services = list(config.services)
    if role is Role.EVALUATOR:
        return "" if key in set(Rating) else "is no rating", list(Rating)
    if role is Role.CALLER:
        known = sorted(CALLER_KEYS) + [f"{TRANSFER}{service}" for service in services]
        return "" if key in known else "is no key of a caller", known
    meaning = meaning_of(key, tuple(services))
    return "" if meaning is not None else "no service has this name", services


def _wrong_window(name: str, device: DeviceConfig, config: HallConfig) -> Iterator[Problem]:
    if device.window is not None and device.window not in config.windows:
        known = ", ".join(map(str, config.windows)) or "none"
        yield Problem(
            dotted(("devices", name, "window")),
            f"there is no window {device.window}; there are: {known}",
            line_of("window", next(iter(config.windows)))
            if config.windows
            else table_of(("windows", str(device.window)), {"skills": "all"}),
        )


def _wrong_bus(name: str, device: DeviceConfig, config: HallConfig) -> Iterator[Problem]:
    bus = device.bus if "bus" in type(device).model_fields else None  # type: ignore[attr-defined]
    if bus is not None and bus not in config.buses:
        known = ", ".join(config.buses) or "none"
        yield Problem(
            dotted(("devices", name, "bus")),
            f"there is no bus {bus!r}; there are: {known}",
            line_of("bus", next(iter(config.buses)))
            if config.buses
            else table_of(("buses", bus), {"port": _port_for(bus)}),
        )


def _no_printer(config: HallConfig, file: File) -> Iterator[Problem]:
    printers, dispensers = config.with_role(Role.PRINTER), config.with_role(Role.DISPENSER)
    if not dispensers or len(printers) == 1:
        return
    if not printers:
        values = {"driver": "escpos", "role": "printer", "port": "/dev/usb/lp0"}
        right = table_of(("devices", right_name("devices", "printer", file)), values)
        yield Problem("devices", "ticket buttons need a printer, there is none", right)
    for name in list(printers)[1:]:
        yield Problem(
            dotted(("devices", name)),
            f"ticket buttons need one printer, there are {len(printers)}: {', '.join(printers)}",
            left_out(("devices", name), {}),
        )


def _claimed_twice(config: HallConfig) -> Iterator[Problem]:
    tables: dict[tuple[str, str], DeviceConfig | BusConfig] = {
        **{("devices", name): device for name, device in config.devices.items()},
        **{("buses", name): bus for name, bus in config.buses.items()},
    }
    claims = {dotted(path): as_far_as_read(table.claims) for path, table in tables.items()}
    taken = {claim for each in claims.values() for claim in each}
    paths = {dotted(path): path for path in tables}
    for claim, (first, *others) in conflicts(claims):
        for other in others:
            path = paths[other]
            field, right = _elsewhere(path, tables[path], claim, taken)
            taken.update(tables[path].model_copy(update=right).claims())  # for the next
            yield Problem(
                dotted((*path, *field)),
                f"{claim} is claimed by {first} and {other}; only one can have it",
                lines_of(right) if right else left_out(path, {}),
            )


def _elsewhere(
    path: tuple[str, str], table: DeviceConfig | BusConfig, claim: str, taken: Collection[str]
) -> tuple[tuple[str, ...], dict[str, object]]:
    """The field that makes a claim, and a value of it with which nobody else's is claimed; nothing
    where no such field is found."""
    own = set(table.claims())
    for place, value in _alternatives(path, table):
        claims = table.model_copy(update={place[0]: value}).claims()
        new = set(claims) - own
        if claim not in claims and new.isdisjoint(taken) and len(set(claims)) == len(claims):
            return place, {place[0]: value}
    return (), {}


def _alternatives(
    path: tuple[str, str], table: BaseModel
) -> Iterator[tuple[tuple[str, ...], object]]:
    """Other values for each field that may make a claim: a port, a number, numbers by name."""
    for field, info in type(table).model_fields.items():
        value = table.__dict__.get(field)
        if field == "port" and value is not None:
            yield (field,), _port_for(path[1])
            host, colon, port = str(value).rpartition(":")
            if colon and port.isdecimal():
                for number in range(int(port) + 1, int(port) + 100):
                    yield (field,), f"{host}:{number}"
        elif isinstance(value, dict):
            for name in value:
                for number in _others(value[name], info):
                    yield (field, name), {**value, name: number}
        elif type(value) is int:
            for number in _others(value, info):
                yield (field,), number


def _others(number: int, info: FieldInfo) -> Iterator[int]:
    """Numbers that the field may have as well, beginning with the next."""
    bounds = bounds_of(info)
    low = int(bounds.low or 0)
    high = int(bounds.high) if bounds.high is not None else number
    yield from range(number + 1, min(high, number + 300) + 1)
    yield from range(low, min(number, low + 300))


def _port_for(name: str) -> str:
    return f"/dev/serial/by-id/usb-{name}"


def _missing_files(config: HallConfig) -> Iterator[Problem]:
    """Files that are not there. What can't be looked at by whoever checks may be there."""
    parts = config.__dict__
    journal = getattr(parts.get("journal"), "path", None)
    if journal is not None:
        yield from _wrong_journal(journal)
    uplink = parts.get("uplink")
    password_file = getattr(uplink, "password_file", None)
    if password_file is not None and _is_missing(password_file):
        yield Problem(
            "uplink.password_file",
            f"there is no file {password_file}: write the hall's MQTT password into it, readable "
            "by the controller alone, or let systemd hand it over",
            'password_file = "/run/credentials/nowserving-edge.service/mqtt-password"',
            may_pass=True,
        )
    elif password_file is not None and not _may_be_a_password(password_file):
        yield Problem(
            "uplink.password_file",
            f"{password_file} holds no password: one line in UTF-8, at most {_LONGEST_PASSWORD} "
            "bytes",
            'password_file = "/run/credentials/nowserving-edge.service/mqtt-password"',
        )
    tls = getattr(uplink, "tls", None)
    for field in () if tls is None else type(tls).model_fields:
        file = getattr(tls, field, None)
        if file is not None and _is_missing(file):
            yield Problem(
                f"uplink.tls.{field}",
                f"there is no file {file}: broker-config/README.md says how a hall gets it; "
                "without TLS leave the whole table out",
                left_out(("uplink", "tls"), {}),
                may_pass=True,
            )


def _wrong_journal(path: Path) -> Iterator[Problem]:
    right = 'path = "/var/lib/nowserving/journal.db"'
    folder = path.absolute().parent
    mode = _mode_of(folder)
    if _is_missing(folder):
        yield Problem(
            "journal.path",
            f"there is no folder {path.parent}: make it, on a disk that survives a power cut",
            right,
            may_pass=True,
        )
    elif mode and not S_ISDIR(mode):
        yield Problem("journal.path", f"{path.parent} is no folder", right)
    elif path.absolute() in MADE_AT_START or S_ISDIR(_mode_of(path) or 0):
        yield Problem("journal.path", f"{path} is a folder; the journal is a file", right)
    elif not S_ISREG(_mode_of(path) or S_IFREG) or path.name == ":memory:":  # SQLite's own word
        yield Problem("journal.path", f"{path} keeps nothing; the journal is a file", right)


_LONGEST_PASSWORD = 65535
"""MQTT's: a length of two bytes (MQTT 5.0, 1.5.6)."""


def _may_be_a_password(path: Path) -> bool:
    """As far as whoever checks may look; the file may be for the controller alone."""
    mode = _mode_of(path) or 0
    if not S_ISREG(mode):
        return not S_ISDIR(mode)
    try:
        with path.open("rb") as file:
            text = file.read(_LONGEST_PASSWORD + 3)  # with the end of the line
        return len(text.decode("utf-8").strip().encode()) <= _LONGEST_PASSWORD
    except UnicodeDecodeError:
        return False
    except OSError:
        return True


MADE_AT_START = (Path("/var/lib/nowserving"), Path("/run/credentials"))
"""The unit lets systemd make these; at a check before its first start they are not there yet."""


def _is_missing(path: Path) -> bool:
    if any(path.absolute().is_relative_to(made) for made in MADE_AT_START):
        return False
    return _mode_of(path) == 0


def _mode_of(path: Path) -> int | None:
    """What is there, as ``stat`` has it; 0: nothing; ``None``: whoever checks may not look."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0
    except OSError:
        return None


ANSWERING_LAMPS = {
    Role.CALLER: frozenset({ACCEPTED}),
    Role.EVALUATOR: frozenset({ACCEPTED, THANKS}),
}
"""Lamps of which one tells who pressed that it counts. A ticket button is answered by paper."""
USERS_OF_OTHERS = frozenset({"centre", "dashboards"})
"""See broker-config/README.md."""


def warnings(config: HallConfig) -> list[str]:
    """What will work, and may still disappoint somebody."""
    return list(_warnings(config))


VOLATILE = frozenset({"tmpfs", "ramfs", "overlay", "squashfs"})
WITHOUT_INODES = frozenset({"vfat", "msdos", "exfat"})
"""A file has another number there after each mount: see ``edge.journal.companion.Companion``."""


def file_system_of(path: Path, mounts: str) -> str:
    """The kind of file system that ``path`` will be on, by the text of ``/proc/mounts``."""
    kinds = {Path(line.split()[1]): line.split()[2] for line in mounts.splitlines() if line}
    return next((kinds[folder] for folder in path.resolve().parents if folder in kinds), "unknown")


def about_disk(journal: Path, mounts: str) -> Iterator[str]:
    """What may disappoint about the disk that the journal will be on."""
    kind = file_system_of(journal, mounts)
    if kind in VOLATILE:
        yield (
            f"journal.path: {journal} is on {kind}, which forgets at a power cut; give the journal "
            "a disk of its own"
        )
    if kind in WITHOUT_INODES:
        yield (
            f"journal.path: {journal} is on {kind}, where every boot would take it for an old copy "
            "and leave numbers out; use a disk with ext4"
        )


def _warnings(config: HallConfig) -> Iterator[str]:
    if (mounts := Path("/proc/mounts")).exists():
        yield from about_disk(config.journal.path, mounts.read_text(encoding="utf-8"))
    if not config.journal.path.is_absolute():
        yield (
            f"journal.path: {config.journal.path} depends on the folder that the controller is "
            "started in; from another one it would begin with a new journal"
        )
    yield from _presses_without_an_answer(config)
    callers = {device.window for device in config.with_role(Role.CALLER).values()}
    for number, window in config.windows.items():
        if number not in callers:
            yield f"windows.{number}: nobody can call there, no caller belongs to it"
        elif window.clerk is None:
            yield f"windows.{number}: no clerk is set, so the sign_on key there does nothing"
    yield from _clerks_at_two_windows(config)
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
    yield from _about_the_uplink(config)


def _about_the_uplink(config: HallConfig) -> Iterator[str]:
    if config.uplink is None:
        yield "uplink: there is none, so the centre will hear nothing of this hall"
        return
    user = config.uplink.username or config.hall.id
    if user != config.hall.id:
        yield (
            f"uplink.username: our brokers let a user write only of the hall of its own name, so "
            f"what {user!r} sends of hall {config.hall.id!r} goes nowhere. Leave username out"
        )
    elif user in USERS_OF_OTHERS:
        yield (
            f"hall.id: {user!r} is another's user at our brokers, so nothing of this hall gets "
            "through. Name the hall after its place"
        )
    if config.uplink.tls is None and config.uplink.host not in {"localhost", "127.0.0.1", "::1"}:
        yield "uplink: no TLS, so the password crosses the network in the clear"


def _presses_without_an_answer(config: HallConfig) -> Iterator[str]:
    """A refused press has no paper and no call to show for it: only a lamp or a buzzer answers.
    One that counts is seen on the screen above its window, too."""
    seen = {screen.window for screen in config.with_role(Role.CALL_SCREEN).values()}
    for name, device in config.devices.items():
        lamps = getattr(device, "lamps", None)
        if device.role in KEYPAD_ROLES and isinstance(lamps, dict) and REFUSED not in lamps:
            yield (
                f"devices.{name}: no lamp or buzzer is called {REFUSED!r}, so a press that the "
                "rules refuse is not answered there"
            )
        if device.role in ANSWERING_LAMPS and isinstance(lamps, dict):
            wanted = ANSWERING_LAMPS[device.role]
            if not wanted & set(lamps) and not (
                device.role is Role.CALLER and device.window in seen
            ):
                yield (
                    f"devices.{name}: a press that counts is not answered there: give it a lamp "
                    f"called {' or '.join(map(repr, sorted(wanted)))}"
                    + (", or its window a call screen" if device.role is Role.CALLER else "")
                )


def _clerks_at_two_windows(config: HallConfig) -> Iterator[str]:
    seats: dict[str, int] = {}
    for number, window in config.windows.items():
        if window.clerk is None:
            continue
        if window.clerk in seats:
            yield (
                f"windows.{number}.clerk: {window.clerk} is the clerk of window "
                f"{seats[window.clerk]} too, and can be signed on at one of them only"
            )
        seats.setdefault(window.clerk, number)
