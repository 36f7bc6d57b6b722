"""What is wrong with a file: where, what, and a line that would be right. All of it at once."""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a file."""

    key: str
    what: str
    example: str = ""

    def __str__(self) -> str:
        right = f"\n      right would be, for example:  {self.example}" if self.example else ""
        return f"  {self.key}: {self.what}{right}"


class ConfigInvalid(Exception):
    """The file can't be used; the message lists every problem."""

    def __init__(self, path: Path, problems: list[Problem]) -> None:
        many = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(f"{path}: {many}\n" + "\n".join(map(str, problems)))
        self.path = path
        self.problems = problems


def problem_of(where: tuple[str, ...], model: type[BaseModel], detail: ErrorDetails) -> Problem:
    """A pydantic error as a sentence for the person who wrote the file."""
    location = tuple(part for part in detail["loc"] if not _is_type_tag(part))
    key = dotted((*where, *location))
    last = str(location[-1]) if location else ""
    owner = _model_at(model, location[:-1])
    if detail["type"] == "extra_forbidden":
        known = sorted(owner.model_fields) if owner else []
        near = difflib.get_close_matches(last, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
        return Problem(key, f"unknown key; {hint}", _example(owner, near[0]) if near else "")
    what = (
        "is missing" if detail["type"] == "missing" else detail["msg"].removeprefix("Value error, ")
    )
    return Problem(key or "the file", what, _example(owner, last))


def _is_type_tag(part: int | str) -> bool:
    """pydantic names branches of a union and dictionary keys; people did not write those."""
    return isinstance(part, str) and (part == "[key]" or part[:1].isupper() or "[" in part)


def dotted(parts: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in parts)


def _model_at(model: type[BaseModel], location: tuple[int | str, ...]) -> type[BaseModel] | None:
    """The model that the table at ``location`` is read by."""
    current: type[BaseModel] | None = model
    for part in location:
        if current is None:
            return None
        info = current.model_fields.get(str(part))
        if info is None:
            continue  # the name of a table in a dictionary of tables
        current = next(_models_in(info.annotation), None)
    return current


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


def _example(owner: type[BaseModel] | None, key: str) -> str:
    info = owner.model_fields.get(key) if owner else None
    if info is None:
        return ""
    if next(_models_in(info.annotation), None):
        return f"[{key}]"
    if info.examples:
        return f"{key} = {toml_value(info.examples[0])}"
    if info.is_required() or info.default is None:
        return ""
    return f"{key} = {toml_value(info.default)}"


def toml_value(value: object) -> str:
    """A value as it stands in a TOML file."""
    match value:
        case bool():
            return str(value).lower()
        case dict():
            return "{ " + ", ".join(f"{k} = {toml_value(v)}" for k, v in value.items()) + " }"
        case list() | tuple():
            return "[" + ", ".join(map(toml_value, value)) + "]"
        case int() | float():
            return str(value)
    return f'"{value}"'
