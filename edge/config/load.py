"""From a file to a configuration, or to everything that is wrong with it."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import StringConstraints, TypeAdapter, ValidationError

from contract.names import SLUG_PATTERN
from edge.config.checks import contradictions
from edge.config.problems import ConfigInvalid, Problem, dotted, problem_of
from edge.config.sections import HallConfig
from edge.drivers import registry
from edge.drivers.config import DeviceConfig

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
    try:
        config = HallConfig.model_validate(raw)
    except ValidationError as error:
        problems += [problem_of((), HallConfig, detail) for detail in error.errors()]
        raise ConfigInvalid(path, problems) from None
    config = config.model_copy(update={"devices": devices})
    problems += contradictions(config)
    if problems:
        raise ConfigInvalid(path, problems)
    return config


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
