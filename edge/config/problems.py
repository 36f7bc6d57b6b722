"""What is wrong with a file: where, what, and lines that would be right. All of it at once."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from contract.names import SLUG_PATTERN
from edge.config import examples
from edge.config.examples import File
from edge.config.sections import HOST_PATTERN, PREFIX_PATTERN
from edge.config.toml import dotted, left_out, line_of, lines_of, table_of
from edge.drivers.config import Contradicts, Fault
from edge.drivers.gpio import HOST_AND_PORT_PATTERN

CLERK_PATTERN = r"^[A-Za-z0-9_-]{1,32}$"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a file."""

    key: str
    what: str
    example: str = ""
    """TOML: a line in the place of the one that is wrong, or a table."""
    may_pass: bool = False
    """The machine lacks something, which it may have at the next start: a disk is mounted late."""

    def __str__(self) -> str:
        if not self.example:
            return f"  {self.key}: {self.what}"
        first = f"  {self.key}: {self.what}\n      right would be, for example:"
        if "\n" not in self.example:
            return f"{first}  {self.example}"
        return first + "".join(f"\n        {line}" for line in self.example.splitlines())


class ConfigInvalid(Exception):
    """The file can't be used; the message lists every problem."""

    def __init__(self, path: Path, problems: list[Problem]) -> None:
        many = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(f"{path}: {many}\n" + "\n".join(map(str, problems)))
        self.problems = problems
        self.may_pass = all(problem.may_pass for problem in problems)


def problems_of(
    error: ValidationError,
    where: tuple[str, ...],
    model: type[BaseModel],
    table: object,
    file: File,
) -> list[Problem]:
    """Each field that is wrong on its own, in words. ``where``: the path of ``table``, which was
    read by ``model``; fields that don't fit together are the business of ``Table.rules``."""
    found: dict[str, Problem] = {}
    for detail in error.errors(include_url=False):
        if not isinstance(detail.get("ctx", {}).get("error"), Contradicts):
            problem = _Reading(where, model, table, file).problem(detail)
            same = found.get(problem.key)
            # What may be one of several kinds is refused once for each of them.
            if same is not None and problem.what not in same.what:
                what = f"{same.what}, or {problem.what.removeprefix('must be ')}"
                problem = Problem(same.key, what, same.example)
            found[problem.key] = problem
    return list(found.values())


def problem_of_fault(
    where: tuple[str, ...], model: type[BaseModel], fault: Fault, table: Any, file: File
) -> Problem:
    """A contradiction within the table at ``where``."""
    field = fault.path[0]
    right = fault.right
    if right is None:
        right = {field: examples.right_value(model, field, file, table)}
    example = lines_of(right) or left_out((*where, field), table.get(field))
    return Problem(dotted((*where, *fault.path)), fault.what, example)


class _Reading:
    """One table, what reads it, and where in the file it is."""

    def __init__(
        self, where: tuple[str, ...], model: type[BaseModel], table: object, file: File
    ) -> None:
        self._where = where
        self._model = model
        self._table = table
        self._file = file

    def problem(self, detail: ErrorDetails) -> Problem:
        path, of_a_name = _written(detail, self._table)
        key = dotted((*self._where, *path)) or "the file"
        if of_a_name and self._is_section(path[:-1]):
            return self._name(key, path[-2], path[-1])
        owner, at, field, rest = self._locate(path)
        wrong = _value_at(self._table, path)
        place = (*self._where, *path[:at])
        info = owner.model_fields.get(field) if field else None
        if detail["type"] == "extra_forbidden":
            return self._unknown(key, (*self._where, *path), owner, wrong)
        if info is None:  # the table itself
            own = detail["type"] == "value_error"  # a rule of a driver that is not ours
            what = in_words(detail, "", "") if own else "must be a table"
            return Problem(key, what, self._table_example(place, owner))
        model = next(examples.models_in(info.annotation), None)
        if model is not None:
            what = {"missing": "is missing", "too_short": "has no table"}.get(
                detail["type"], "must be a table"
            )
            place = (*place, field)
            if examples.is_section(info.annotation):
                place = (*place, examples.name_in(field))
                what = what.replace("a table", "tables")
            return Problem(key, what, self._table_example(place, model))
        what = in_words(detail, str(examples.bounds_of(info)), info.description or "")
        whole = _value_at(self._table, (*path[:at], field))
        mended = (value for value in self._mended(info, whole, rest) if examples.fits(info, value))
        right = next(mended, None)
        if right is None:
            right = examples.right_value(owner, field, self._file, self._table)
        return Problem(key, what, line_of(field, right))

    def _locate(self, path: Sequence[str]) -> tuple[type[BaseModel], int, str, Sequence[str]]:
        """The model of the innermost table, how deep in ``path`` that is, the field of it ("" for
        the table itself), and where in the field's value."""
        model, at = self._model, 0
        while at < len(path):
            info = model.model_fields.get(path[at])
            inner = None if info is None else next(examples.models_in(info.annotation), None)
            deeper = at + 1
            if info is not None and examples.is_section(info.annotation):
                deeper += 1
            if inner is None or deeper > len(path) or (deeper == len(path) and deeper == at + 1):
                return model, at, path[at], path[at + 1 :]
            model, at = inner, deeper
        return model, at, "", ()

    def _is_section(self, path: Sequence[str]) -> bool:
        owner, _, field, rest = self._locate(path)
        return (
            bool(field) and not rest and examples.is_section(owner.model_fields[field].annotation)
        )

    def _unknown(
        self, key: str, path: tuple[str, ...], owner: type[BaseModel], wrong: object
    ) -> Problem:
        known = sorted(owner.model_fields)
        near = next(iter(difflib.get_close_matches(path[-1], known, n=1)), None)
        if near is None:
            return Problem(
                key, f"unknown key; known here: {', '.join(known)}", left_out(path, wrong)
            )
        info = owner.model_fields[near]
        if next(examples.models_in(info.annotation), None) and isinstance(wrong, dict):
            example = table_of((*path[:-1], near), {})
        elif next(examples.models_in(info.annotation), None):
            example = left_out(path, wrong)
        else:
            value = wrong if examples.fits(info, wrong) else None
            if value is None:
                value = examples.right_value(owner, near, self._file, self._table)
            example = line_of(near, value)
        return Problem(key, f"unknown key; did you mean {near}?", example)

    def _name(self, key: str, section: str, wrong: str) -> Problem:
        """A table that has a name it can't have: its head, as it could be."""
        if section == "windows":
            what, right = _WINDOW_NAME, examples.right_window(wrong, self._file)
        else:
            what, right = _SLUG_NAME, examples.right_name(section, wrong, self._file)
        example = (
            left_out((section, wrong), {}) if right is None else table_of((section, right), {})
        )
        return Problem(key, what, example)

    def _table_example(self, place: tuple[str, ...], model: type[BaseModel]) -> str:
        return examples.table_example(place, model, self._file)

    def _mended(self, info: FieldInfo, whole: object, rest: Sequence[str]) -> Iterator[object]:
        """A field's value with what is wrong in it put right; perhaps it is still wrong."""
        if not rest or not isinstance(whole, dict | list):
            return
        number = examples.free_number(examples.bounds_of(info), self._file, _value_at(whole, rest))
        yield _with(whole, rest, number)
        if isinstance(whole, dict):  # all that is wrong in it at once
            yield {
                examples.slug_of(name): at if examples.fits(info, {"name": at}) else number
                for name, at in whole.items()
            }


def _written(detail: ErrorDetails, table: object) -> tuple[tuple[str, ...], bool]:
    """Where in ``table`` the fault is, in what people wrote (pydantic also names the branches of a
    union and the like), and whether the name there is what is wrong."""
    path: list[str] = []
    here: Any = table
    for part in detail["loc"]:
        if isinstance(here, dict) and str(part) in here:
            here = here[str(part)]
            path.append(str(part))
        elif isinstance(here, list) and isinstance(part, int) and 0 <= part < len(here):
            here = here[part]
            path.append(str(part))
    missing = detail["type"] == "missing" and isinstance(detail["loc"][-1], str)
    if missing:
        path.append(str(detail["loc"][-1]))
    return tuple(path), detail["loc"][-1:] == ("[key]",)


def _value_at(value: Any, path: Sequence[str]) -> Any:
    for part in path:
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, list):
            value = value[int(part)]
        else:
            return None
    return value


def _with(value: Any, path: Sequence[str], leaf: object) -> Any:
    """A copy of ``value`` with ``leaf`` at ``path``."""
    if not path:
        return leaf
    if isinstance(value, dict):
        return {**value, path[0]: _with(value[path[0]], path[1:], leaf)}
    if isinstance(value, list):
        at = int(path[0])
        return [*value[:at], _with(value[at], path[1:], leaf), *value[at + 1 :]]
    return leaf


_SLUG = "small letters, digits, - and _, at most 48, with a letter or a digit first"
_SLUG_NAME = f"a name must be of {_SLUG}"
_WINDOW_NAME = "a window's name is its number, 1 to 999, without zeros in front"
_PATTERNS = {
    SLUG_PATTERN: f"must be of {_SLUG}",
    PREFIX_PATTERN: "must be one or two capital letters",
    HOST_PATTERN: "must be a name or an address, without spaces, slashes, brackets and the port",
    HOST_AND_PORT_PATTERN: "must be a host and a port with a colon between them",
    CLERK_PATTERN: "must be of letters, digits, - and _, 1 to 32",
}
_KINDS = {
    "string": "text in quotes",
    "bool": "true or false",
    "list": "a list in brackets",
    "tuple": "a list in brackets",
    "dict": "names with values in braces",
    "model": "a table",
    "path": "a path in quotes",
    "time": "a time of day in quotes",
}


def in_words(detail: ErrorDetails, bounds: str, description: str) -> str:
    """What pydantic found, for the person who wrote the file. ``bounds``: of the number that a
    field is; ``description``: what a field is, where no words are better."""
    kind, context = detail["type"], detail.get("ctx", {})
    subject = kind.split("_")[0]
    if kind == "missing":
        return "is missing" if isinstance(detail["loc"][-1], str) else "has too few entries"
    if kind == "value_error":
        return str(context["error"])
    if kind == "string_pattern_mismatch":
        return _PATTERNS.get(context["pattern"], f"is not as it must be: {description}")
    if kind in {"string_too_short", "too_short"}:
        return "must not be empty"
    if kind == "string_too_long":
        return f"must be at most {context['max_length']} characters long"
    if kind == "too_long":
        return f"must have at most {context['max_length']} entries"
    if kind in {"literal_error", "enum"}:
        return f"must be {context['expected']}"
    if subject in {"int", "float", "greater", "less", "finite"}:
        return f"must be {bounds}"
    if subject in _KINDS:
        return f"must be {_KINDS[subject]}"
    return f"is not as it must be: {description}"
