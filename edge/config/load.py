"""From a file to a configuration, or to everything that is wrong with it."""

import difflib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, StringConstraints, TypeAdapter, ValidationError

from contract.names import SLUG_PATTERN
from edge.config import examples
from edge.config.checks import contradictions
from edge.config.problems import ConfigInvalid, Problem, problem_of_fault, problems_of
from edge.config.sections import HallConfig
from edge.config.toml import dotted, left_out, line_of, table_of
from edge.drivers import registry
from edge.drivers.config import DeviceConfig, Table, as_far_as_read
from edge.drivers.escpos_printer import EscposConfig

_Model = TypeVar("_Model", bound=BaseModel)
_DeviceName = Annotated[str, StringConstraints(pattern=SLUG_PATTERN)]


FIRST_HALL = """\
[hall]
id = "my-first-hall"
name = { zh = "我的营业厅", en = "My first hall" }
time_zone = "Asia/Shanghai"

[journal]
path = "journal.db"

[services.payment]
name = { zh = "缴费", en = "Payment" }
prefix = "A"

[windows.1]
skills = "all"
clerk = "1001"

[devices.buttons]
driver = "gpio"
role = "dispenser"
keys = { payment = 17 }
lamps = { ready = 5, refused = 6 }

[devices.printer]
driver = "escpos"
role = "printer"
port = "/dev/usb/lp0"

[devices.caller-1]
driver = "gpio"
role = "caller"
window = 1
keys = { sign_on = 22, call_next = 23, start = 24 }
lamps = { accepted = 25, refused = 26 }
"""
"""The smallest hall that works, as the tutorial has it: for who has no file yet."""


DEEPEST = 10
"""Tables and lists in each other; half as many are used."""


def load(path: Path) -> HallConfig:
    """Read and check a hall's file. Raises ``ConfigInvalid`` with all problems at once."""
    text = ""
    try:
        text = path.read_text(encoding="utf-8-sig")  # Notepad writes a BOM
        file = tomllib.loads(text)
    except IsADirectoryError:
        what = "is a folder; name the file in it, for example --config " + str(path / "hall.toml")
        raise ConfigInvalid(path, [Problem("the file", what)]) from None
    except OSError as error:
        example = FIRST_HALL if isinstance(error, FileNotFoundError) else ""
        raise ConfigInvalid(
            path, [Problem("the file", f"can't be read: {error.strerror}", example)]
        ) from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        what = "is not UTF-8 (is it GBK?); save the file as UTF-8"
        raise ConfigInvalid(path, [Problem(f"line {line}", what)]) from None
    except (ValueError, RecursionError) as error:  # TOML's own, and what Python can't hold
        raise ConfigInvalid(path, [_not_toml(text, error)]) from None
    if (unfit := _unfit(file)) is not None:
        raise ConfigInvalid(path, [Problem("the file", unfit)])

    problems: list[Problem] = []
    devices = dict(_devices(file, problems))
    rest = {key: value for key, value in file.items() if key != "devices"}
    try:
        config = HallConfig.model_validate(rest)
    except ValidationError as error:
        problems += problems_of(error, (), HallConfig, rest, file)
        config = as_far_as_right(HallConfig, rest)
    config = config.model_copy(update={"devices": devices})
    problems += _faults(config, (), file)
    problems += contradictions(config, file)
    if problems:
        raise ConfigInvalid(path, _as_in_the_file(_told_once(problems), file))
    return config


def _not_toml(text: str, error: Exception) -> Problem:
    """With the line as it stands there, where TOML says which one it is."""
    what, lines = f"is not TOML: {error}", text.rstrip().split("\n")
    found = re.search(r"at line ([0-9]+)", str(error))
    number = int(found[1]) if found else len(lines) if "end of document" in str(error) else 0
    if not 0 < number <= len(lines):
        return Problem("the file", what, _LINES)
    line = lines[number - 1].strip()
    shown = f"{line[:_MOST_SHOWN]} …" if len(line) > _MOST_SHOWN else line
    return Problem(f"line {number}", f"{what}: {shown!r}", _LINES)


_LINES = """name = "a text"
number = 15
list = ["one", "two"]
table = { key = 17 }"""
_MOST_SHOWN = 100


def _unfit(file: Mapping[str, Any]) -> str | None:
    """What no hall's file has and what comes behind would choke on."""
    inside: list[Any] = [file]
    for _ in range(DEEPEST):
        for value in inside:
            if isinstance(value, str) and "\0" in value:  # no path, host or name can have one
                return r"has a character \u0000 in a text"
            if isinstance(value, int) and not -(2**63) <= value < 2**63:
                return "has a number of more than 64 bits"
        inside = [each for value in inside for each in _inside(value)]
    return "is nested too deep" if inside else None


def _inside(value: object) -> Iterable[Any]:
    if isinstance(value, dict):
        return (each for pair in value.items() for each in pair)
    return value if isinstance(value, list) else ()


def _told_once(problems: list[Problem]) -> list[Problem]:
    """One problem for each key. What was found later knows more of the file: its example holds."""
    found: dict[str, Problem] = {}
    for problem in problems:
        same = found.get(problem.key)
        both = {each.what: None for each in (same, problem) if each is not None}
        found[problem.key] = replace(problem, what="; ".join(both))
    return list(found.values())


def _as_in_the_file(problems: list[Problem], file: Mapping[str, Any]) -> list[Problem]:
    """Table by table, in the order in which they were written; what is missing comes last."""
    tables = [
        dotted(path)
        for section, value in file.items()
        for path in [
            *((section, name) for name in (value if isinstance(value, dict) else ())),
            (section,),
        ]
    ]

    def place(problem: Problem) -> int:
        places = (
            index for index, table in enumerate(tables) if f"{problem.key}.".startswith(f"{table}.")
        )
        return next(places, len(tables))

    return sorted(problems, key=place)


def _devices(
    file: Mapping[str, Any], problems: list[Problem]
) -> Iterator[tuple[str, DeviceConfig]]:
    """Every device, as far as it can be read."""
    tables = file.get("devices", {})
    if not isinstance(tables, dict):
        example = examples.table_example(("devices", "printer"), EscposConfig, file)
        problems.append(Problem("devices", "must be tables", example))
        return
    known = registry.drivers()
    for name, table in tables.items():
        where = ("devices", name)
        try:
            TypeAdapter(_DeviceName).validate_python(name)
        except ValidationError:
            right = ("devices", examples.right_name("devices", name, file))
            what = "a device's name is in small letters, digits, - and _, at most 48"
            problems.append(Problem(dotted(where), what, table_of(right, {})))
        if not isinstance(table, dict):
            example = (
                left_out(where, table)
                if _has_printer(tables)
                else examples.table_example(where, EscposConfig, file)
            )
            problems.append(Problem(dotted(where), "must be a table", example))
            continue
        yield name, _device(where, table, known, file, problems)


def _has_printer(tables: Mapping[str, object]) -> bool:
    return any(isinstance(each, dict) and each.get("role") == "printer" for each in tables.values())


def _device(
    where: tuple[str, str],
    table: dict[str, Any],
    known: Mapping[str, registry.Driver[Any]],
    file: Mapping[str, Any],
    problems: list[Problem],
) -> DeviceConfig:
    try:
        model: type[DeviceConfig] = registry.driver_of(table, known).config
    except registry.UnknownDriver as unknown:
        example = line_of("driver", _driver_for(table, known))
        problems.append(Problem(dotted((*where, "driver")), str(unknown), example))
        return as_far_as_right(DeviceConfig, table)  # whatever it is, it has a role
    try:
        return model.model_validate(table)
    except ValidationError as error:
        problems += problems_of(error, where, model, table, file)
        return as_far_as_right(model, table)


def _driver_for(table: dict[str, Any], known: Mapping[str, registry.Driver[Any]]) -> str:
    """The driver that was probably meant: it can fill the role and knows most of the fields."""
    able = [
        name for name, driver in known.items() if table.get("role") in list(driver.config.roles)
    ]
    near = difflib.get_close_matches(str(table.get("driver")), able or known, n=1)
    return max(
        near or able or sorted(known),
        key=lambda name: len(table.keys() & known[name].config.model_fields.keys()),
    )


def as_far_as_right(model: type[_Model], table: object) -> _Model:
    """``table`` with those fields that are right, each on its own. Of the others there is nothing,
    not even a default: asking for one raises ``AttributeError`` (see ``as_far_as_read``)."""
    written = table if isinstance(table, dict) else dict.fromkeys(model.model_fields)
    unknown = [key for key in written if key not in model.model_fields]
    meant = {near for key in unknown for near in difflib.get_close_matches(key, model.model_fields)}
    values: dict[str, Any] = {}
    for name, info in model.model_fields.items():
        inner = next(examples.models_in(info.annotation), None)
        if name not in written:
            if not info.is_required() and name not in meant:
                values[name] = info.get_default(call_default_factory=True, validated_data={})
            continue
        value = written[name]
        if inner is None or not isinstance(value, dict):
            values |= _right_part(name, info, value)
        elif examples.is_section(info.annotation):
            key, _ = get_args(info.annotation)
            values[name] = dict(_named_tables(value, key, inner))
        else:
            values[name] = as_far_as_right(inner, value)
    draft = model.model_construct(**values)
    for name in model.model_fields:
        if name not in values:
            draft.__dict__.pop(name, None)  # a default that nobody has chosen
    return draft


def _named_tables(
    tables: Mapping[str, object], key: Any, model: type[BaseModel]
) -> Iterator[tuple[Any, BaseModel]]:
    for name, table in tables.items():
        try:
            known_by = TypeAdapter(key).validate_python(name)
        except ValidationError:
            continue
        try:
            yield known_by, model.model_validate(table)
        except ValidationError:
            yield known_by, as_far_as_right(model, table)


def _right_part(name: str, info: Any, value: object) -> dict[str, Any]:
    """The field, if it is right; of names with values, those that are."""
    try:
        return {name: examples.read_field(info, value)}
    except ValidationError as error:
        wrong = {detail["loc"][0] for detail in error.errors() if detail["loc"]}
    if not isinstance(value, dict) or wrong.isdisjoint(value):
        return {}
    return _right_part(name, info, {k: v for k, v in value.items() if k not in wrong})


def _faults(table: BaseModel, where: tuple[str, ...], file: Mapping[str, Any]) -> Iterator[Problem]:
    """What does not fit together within a table, and within each that is in it."""
    if isinstance(table, Table):
        written: Any = file
        for part in where:
            written = written.get(part, {}) if isinstance(written, dict) else {}
        for rule in table.rules():
            for fault in as_far_as_read(rule):
                yield problem_of_fault(where, type(table), fault, written, file)
    for name, value in table.__dict__.items():
        inner = value if isinstance(value, dict) else {None: value}
        for each, part in inner.items():
            if isinstance(part, BaseModel):
                path = (name,) if each is None else (name, str(each))
                yield from _faults(part, (*where, *path), file)
