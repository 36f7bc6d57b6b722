"""What would be right in a hall's file: fields, lines and tables, as they fit into this file."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import count, islice
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from contract.names import SLUG_PATTERN, Rating
from edge.config.sections import is_window_name
from edge.config.toml import table_of
from edge.drivers.config import Role

File = Mapping[str, Any]
"""The whole file, as TOML has it."""

_NAMES = {"services": "payment", "windows": "1", "buses": "desks", "devices": "printer"}
"""What tables of these sections are called in examples."""
_MOST_TRIES = 1000


@dataclass(frozen=True)
class Bounds:
    """Of a number; ``None``: none on this side."""

    low: float | None = None
    high: float | None = None
    whole: bool = True
    low_is_out: bool = False
    """The number must be above ``low``."""

    def __str__(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        low, high = (
            f"{bound:g}" if bound is not None and bound < 1e6 else f"{bound}"
            for bound in (self.low, self.high)
        )
        if self.low is not None and self.high is not None:
            return (
                f"{kind} above {low}, at most {high}"
                if self.low_is_out
                else f"{kind} from {low} to {high}"
            )
        if self.low is not None:
            return f"{kind} above {low}" if self.low_is_out else f"{kind}, at least {low}"
        return f"{kind}, at most {high}" if self.high is not None else kind


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that a field's value is read by."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from models_in(argument)


def is_section(annotation: Any) -> bool:
    """Whether a field is a dictionary of tables, each with a name of its own."""
    return get_origin(annotation) is dict and next(models_in(annotation), None) is not None


def bounds_of(info: FieldInfo) -> Bounds:
    """Of the numbers in a field, wherever in it they are."""
    found: dict[str, float] = {}
    kinds: set[type] = set()
    _gather(info.annotation, found, kinds)
    _gather_bounds(info.metadata, found)
    low = found.get("ge", found.get("gt"))
    high = found.get("le")
    if high is None and "lt" in found:
        high = found["lt"] - 1  # only whole numbers have it
    return Bounds(low, high, float not in kinds, low_is_out="gt" in found)


def _gather(annotation: Any, found: dict[str, float], kinds: set[type]) -> None:
    if annotation in {int, float}:
        kinds.add(annotation)
    if get_origin(annotation) is Annotated:
        _gather_bounds(annotation.__metadata__, found)
    for argument in get_args(annotation):
        _gather(argument, found, kinds)


def _gather_bounds(metadata: Any, found: dict[str, float]) -> None:
    for item in metadata:
        if isinstance(item, FieldInfo):
            _gather_bounds(item.metadata, found)
        for name in ("ge", "gt", "le", "lt"):
            value = getattr(item, name, None)
            if value is not None:
                found[name] = value


def free_number(bounds: Bounds, file: object, wrong: object = None) -> int:
    """A number within ``bounds``, near to ``wrong``, that stands nowhere else in the file."""
    low = int(bounds.low or 0) + bounds.low_is_out
    high = int(bounds.high) if bounds.high is not None else low + _MOST_TRIES
    downwards = isinstance(wrong, int | float) and wrong > high
    used = set(_numbers(file))
    choices = range(high, low - 1, -1) if downwards else range(low, high + 1)
    free = (number for number in islice(choices, _MOST_TRIES) if number not in used)
    return next(free, high if downwards else low)


def _numbers(value: object) -> Iterator[float]:
    if isinstance(value, int | float):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _numbers(each)
    elif isinstance(value, list):
        for each in value:
            yield from _numbers(each)


def fits(info: FieldInfo, value: object) -> bool:
    """Whether a field, on its own, may have this value."""
    try:
        read_field(info, value)
    except ValidationError:
        return False
    return True


def read_field(info: FieldInfo, value: object) -> Any:
    """A field's value, as its model would read it. Raises ``ValidationError``."""
    kind: Any = Annotated[info.annotation, "", *info.metadata]
    return TypeAdapter(kind).validate_python(value)


def right_value(model: type[BaseModel], field: str, file: File, table: object = None) -> Any:
    """A value that is right for a field of ``model`` in this file; ``None``: nobody can say.
    ``table``: where the field is or should be, as it was written."""
    info = model.model_fields[field]
    fitting = {
        "window": next((int(name) for name in names(file, "windows") if is_window_name(name)), 1),
        "bus": next(iter(names(file, "buses")), _NAMES["buses"]),
        "role": min(getattr(model, "roles", ()), default=None),
        "keys": _keys(info, table, file),
    }.get(field)
    if fitting is not None and fits(info, fitting):
        return fitting
    if info.examples:
        return info.examples[0]
    default = info.get_default(call_default_factory=True, validated_data={})
    if not info.is_required() and default is not None:
        return default
    return next((value for value in _of_type(info, file) if fits(info, value)), None)


def _keys(info: FieldInfo, table: object, file: File) -> dict[str, object] | None:
    """One key as the field's own example has it, but called as the table's role wants it."""
    example = next(iter(info.examples or ()), None)
    if not isinstance(example, dict) or not isinstance(table, Mapping):
        return None
    services = [name for name in names(file, "services") if re.match(SLUG_PATTERN, name)]
    name = {
        Role.DISPENSER: next(iter(services), _NAMES["services"]),
        Role.EVALUATOR: next(iter(Rating)),
    }.get(next((role for role in Role if role == table.get("role")), Role.CALLER))
    return None if name is None else {name: next(iter(example.values()), 0)}


def _of_type(info: FieldInfo, file: File) -> Iterator[object]:
    for argument in (info.annotation, *get_args(info.annotation)):
        if get_origin(argument) is Literal:
            yield from get_args(argument)
        if isinstance(argument, type) and issubclass(argument, Enum):
            yield from argument
    yield free_number(bounds_of(info), file)
    yield from ("name", "/dev/null", True, {}, [], {"name": 1}, ["name"])


def names(file: File, section: str) -> list[str]:
    """The names of a section's tables."""
    tables = file.get(section)
    return (
        [name for name, table in tables.items() if isinstance(table, dict)]
        if isinstance(tables, dict)
        else []
    )


def table_example(path: tuple[str, ...], model: type[BaseModel], file: File) -> str:
    """A table with everything in it that has to be; for a section, one of its tables."""
    values = {
        field: right_value(model, field, file)
        for field, info in model.model_fields.items()
        if info.is_required() or field == "driver"
    }
    role = values.get("role")
    if "window" in model.model_fields and role in {"caller", "evaluator", "call_screen"}:
        values["window"] = right_value(model, "window", file)
    return table_of(path, values)


def name_in(section: str) -> str:
    """A good name for a table of a section."""
    return _NAMES.get(section, "name")


def right_window(wrong: str, file: File) -> str | None:
    """A number that a window could have instead; ``None``: all are taken."""
    taken = file.get("windows", {})
    numbers = (wrong.lstrip("0"), *map(str, range(1, 1000)))
    return next((name for name in numbers if is_window_name(name) and name not in taken), None)


def right_name(section: str, wrong: str, file: File) -> str:
    """A name that a table could have instead, and that no other has."""
    taken = file.get(section, {})
    slug = slug_of(wrong)
    others = (f"{slug[:40]}-{number}" for number in count(2))
    return slug if slug not in taken else next(name for name in others if name not in taken)


def slug_of(text: str) -> str:
    """The nearest that is a name in this file: small letters, digits, ``-`` and ``_``."""
    slug = re.sub(r"[^a-z0-9_-]+", "-", text.lower()).strip("-_")[:48]
    return slug if re.match(SLUG_PATTERN, slug) else "name"
