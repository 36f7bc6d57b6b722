"""From a file to a configuration, or to everything that is wrong with it."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, StringConstraints, TypeAdapter, ValidationError

from contract.names import SLUG_PATTERN
from edge.config.checks import contradictions
from edge.config.problems import ConfigInvalid, Problem, dotted, problem_of
from edge.config.sections import HallConfig, ServiceSection, WindowSection
from edge.drivers import registry
from edge.drivers.config import DeviceConfig
from edge.drivers.modbus_bus import BusConfig

_Section = TypeVar("_Section", bound=BaseModel)
_DeviceName = Annotated[str, StringConstraints(pattern=SLUG_PATTERN)]


def load(path: Path) -> HallConfig:
    """Read and check a hall's file. Raises ``ConfigInvalid`` with all problems at once."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigInvalid(
            path, [Problem("the file", f"can't be read: {error.strerror}")]
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigInvalid(path, [Problem("the file", f"is not TOML: {error}")]) from None

    problems: list[Problem] = []
    devices = dict(_devices(raw.pop("devices", {}), problems))
    all_devices_read = not problems
    try:
        config = HallConfig.model_validate(raw)
    except ValidationError as error:
        problems += [problem_of((), HallConfig, detail) for detail in error.errors()]
        config = _what_can_be_read(raw)
    config = config.model_copy(update={"devices": devices})
    problems += contradictions(config, all_devices_read=all_devices_read)
    if problems:
        raise ConfigInvalid(path, problems)
    return config


def _what_can_be_read(raw: dict[str, Any]) -> HallConfig:
    """Enough of a faulty file to look for contradictions in the rest of it: a table that can't be
    read keeps its name, and gets a stand-in that contradicts nothing."""
    return HallConfig.model_construct(  # type: ignore[call-arg] # hall and journal are not looked at
        services={
            name: _read(
                ServiceSection,
                table,
                ServiceSection.model_construct(name={}, prefix=f"({name})", numbers=(1, 1)),
            )
            for name, table in _tables(raw, "services")
        },
        windows={
            int(number): _read(
                WindowSection, table, WindowSection.model_construct(skills="all", clerk=None)
            )
            for number, table in _tables(raw, "windows")
            if number.isdecimal()
        },
        buses={
            name: _read(BusConfig, table, BusConfig.model_construct(port=f"({name})"))
            for name, table in _tables(raw, "buses")
        },
    )


def _tables(raw: dict[str, Any], section: str) -> list[tuple[str, object]]:
    tables = raw.get(section)
    return list(tables.items()) if isinstance(tables, dict) else []


def _read(model: type[_Section], table: object, stand_in: _Section) -> _Section:
    try:
        return model.model_validate(table)
    except ValidationError:
        return stand_in


def _devices(raw: object, problems: list[Problem]) -> Iterator[tuple[str, DeviceConfig]]:
    if not isinstance(raw, dict):
        problems.append(Problem("devices", "must be tables", "[devices.printer]"))
        return
    known = registry.drivers()
    for name, table in raw.items():
        where = ("devices", name)
        try:
            TypeAdapter(_DeviceName).validate_python(name)
        except ValidationError:
            problems.append(
                Problem(dotted(where), "a device's name is in small letters", "[devices.bar-1]")
            )
        if not isinstance(table, dict):
            problems.append(Problem(dotted(where), "must be a table", f"[devices.{name}]"))
            continue
        try:
            model = registry.driver_of(table, known).config
            yield name, model.model_validate(table)
        except registry.UnknownDriver as unknown:
            problems.append(Problem(dotted((*where, "driver")), str(unknown)))
        except ValidationError as error:
            problems += [problem_of(where, model, detail) for detail in error.errors()]
