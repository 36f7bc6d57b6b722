"""``docs/reference/events.md``: the events, commands, refusals and documents, for people."""

import ast
import inspect
import json
from enum import StrEnum
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel

from contract import documents, names
from contract.commands import (
    CentralCommand,
    CentralReply,
    Command,
    Refusal,
    RefusalReason,
)
from contract.documents import (
    Ack,
    HallLive,
    HallReport,
    NetworkLive,
    Satisfaction,
    ServiceLive,
    WindowStatus,
)
from contract.envelope import CloudEvent, to_json
from contract.events import EVENT_TYPES, HallEvent, Place, TicketEvent, WindowEvent
from tools.asyncapi import docstrings, examples

INTRODUCTION = """\
<!-- Generated from contract/ by `make asyncapi`: don't edit, a test compares. -->
# Events, commands and documents

What crosses the wire, word by word. The same for machines: [asyncapi.yaml](../../asyncapi.yaml).
Consumers ignore fields that they don't know, and refuse majors that they don't know (the number
after the last `v` of a type). Times carry their zone; durations are seconds.
"""

DOCUMENTS: tuple[type[BaseModel], ...] = (
    HallReport,
    Ack,
    CentralCommand,
    CentralReply,
    HallLive,
    NetworkLive,
    ServiceLive,
    WindowStatus,
    Satisfaction,
)
VALUES: tuple[type[BaseModel], ...] = (names.Moment, Place)
PLAIN_TYPES = {
    "str": "text",
    "int": "whole number",
    "float": "number",
    "bool": "true or false",
    "date": "date",
    "AwareDatetime": "time",
}


def as_markdown() -> str:
    events = list(EVENT_TYPES.values())
    at_tickets = [model for model in events if issubclass(model, TicketEvent)]
    at_windows = [model for model in events if issubclass(model, WindowEvent)]
    of_the_hall = [model for model in events if model not in {*at_tickets, *at_windows}]
    commands = get_args(get_args(Command)[0])
    parts = [
        INTRODUCTION,
        "## Envelope\n",
        _model(CloudEvent, heading=""),
        _example(),
        "## Events of the hall\n",
        *map(_event, of_the_hall),
        "## Events of a ticket\n",
        *map(_event, at_tickets),
        "## Events of a window\n",
        *map(_event, at_windows),
        "## Commands\n",
        "What somebody wants. The answer is events, or one refusal.\n",
        *(_model(model, heading=f"`{_command_name(model)}`") for model in commands),
        "## Refusals\n",
        _model(Refusal, heading=""),
        _members(RefusalReason),
        "## Documents\n",
        "Absolute statements that replace the one before.\n",
        *map(_model, DOCUMENTS),
        "## Types\n",
        _aliases(),
        *map(_model, VALUES),
        *map(_enumeration, _enumerations()),
    ]
    return "\n".join(parts)


def _event(model: type[HallEvent]) -> str:
    return _model(model, heading=f"`{model.type}`")


def _model(model: type[BaseModel], heading: str | None = None) -> str:
    """A heading (the model's name by default, none where empty), what it is, and its fields."""
    if heading is None:
        heading = model.__name__
    rows = [
        f"| `{name}` | {_type_of(model, name)} | {_meaning(model, name)} |"
        for name in model.model_fields
        if name != "command" or model is Refusal
    ]
    table = ["| field | type | meaning |", "| --- | --- | --- |", *rows] if rows else []
    title = [f"### {heading}", ""] if heading else []
    return "\n".join([*title, *_text(model.__doc__), *table, ""])


def _type_of(model: type[BaseModel], name: str) -> str:
    """The field's type in the contract's words; a default makes it optional."""
    found = docstrings.of_member(model, name)
    if found is None:
        raise LookupError(f"{model.__name__}.{name} is declared outside contract/")
    words = _words(ast.parse(found.annotation, mode="eval").body)
    return words if not found.value else f"{words}, by default {_default(model, name)}"


def _default(model: type[BaseModel], name: str) -> str:
    default = model.model_fields[name].default
    return f"`{json.dumps(default, ensure_ascii=False)}`"


def _words(annotation: ast.expr) -> str:
    """A type expression as prose: ``tuple[X, ...]`` is a list, ``None`` is ``null``."""
    match annotation:
        case ast.Constant(value=None):
            words = "null"
        case ast.BinOp(left=left, right=right):
            words = f"{_words(left)} or {_words(right)}"
        case ast.Subscript(
            value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[base, *constraints])
        ):
            limits = [limit for constraint in constraints for limit in _limits(constraint)]
            words = ", ".join([_words(base), *limits])
        case ast.Subscript(value=ast.Name(id="tuple"), slice=ast.Tuple(elts=[item, _])):
            words = f"list of {_words(item)}"
        case ast.Subscript(slice=ast.Tuple(elts=[_, ast.Name(id="Any")])):
            words = "object"
        case ast.Subscript(value=ast.Name(id="dict"), slice=ast.Tuple(elts=[key, value])):
            words = f"{_words(value)} by {_words(key)}"
        case ast.Subscript(value=ast.Name(id="Literal"), slice=ast.Constant(value=value)):
            words = f"`{json.dumps(value)}`"
        case _:
            name = ast.unparse(annotation)
            words = PLAIN_TYPES.get(name, name)
    return words


def _limits(constraint: ast.expr) -> list[str]:
    if not isinstance(constraint, ast.Call):
        raise TypeError(f"no words for the constraint {ast.unparse(constraint)}")
    signs = {"ge": "≥ {}", "le": "≤ {}", "max_length": "at most {} characters", "pattern": "`{}`"}
    limits = []
    for keyword in constraint.keywords:
        if keyword.arg in signs:
            value = eval(ast.unparse(keyword.value), vars(names))
            limits.append(signs[keyword.arg].format(str(value).replace("|", "\\|")))
    return limits


def _meaning(model: type[BaseModel], name: str) -> str:
    """What stands under the field, else the first sentence about its type."""
    found = docstrings.of_member(model, name)
    if found is None:
        return ""
    about_type = _types().get(found.annotation.removesuffix(" | None"), "")
    return _one_line(found.doc or about_type.split("\n\n", maxsplit=1)[0])


def _aliases() -> str:
    """The named types that are no models: identifiers, numbers."""
    rows = []
    for alias in _alias_assignments():
        words = _words(ast.parse(alias.value, mode="eval").body)
        rows.append(f"| `{alias.name}` | {words} | {_one_line(alias.doc)} |")
    return "\n".join(["| type | is | meaning |", "| --- | --- | --- |", *rows, ""])


def _alias_assignments() -> list[docstrings.Assignment]:
    """``Name = type`` in the contract; constants are in capitals."""
    modules = (names, documents)
    found = [a for module in modules for a in docstrings.read(module).assignments.values()]
    return [alias for alias in found if not alias.name.isupper()]


@cache
def _types() -> dict[str, str]:
    """What the contract says of its types, by name."""
    classes: list[type] = [*_enumerations(), *VALUES]
    told = {cls.__name__: inspect.cleandoc(vars(cls).get("__doc__") or "") for cls in classes}
    return told | {alias.name: alias.doc for alias in _alias_assignments()}


def _enumerations() -> list[type[StrEnum]]:
    return [
        member
        for member in vars(names).values()
        if inspect.isclass(member) and issubclass(member, StrEnum) and member is not StrEnum
    ]


def _enumeration(enumeration: type[StrEnum]) -> str:
    doc = vars(enumeration).get("__doc__")
    return "\n".join([f"### {enumeration.__name__}", "", *_text(doc), _members(enumeration)])


def _members(enumeration: type[StrEnum]) -> str:
    told = [(m.value, docstrings.of_member(enumeration, m.name)) for m in enumeration]
    if not any(a is not None and a.doc for _, a in told):
        return ", ".join(f"`{value}`" for value, _ in told) + "\n"
    if unsaid := [value for value, a in told if a is None or not a.doc]:
        raise LookupError(f"{enumeration.__name__}: no docstring behind {', '.join(unsaid)}")
    rows = [f"| `{value}` | {_one_line(a.doc)} |" for value, a in told if a is not None]
    return "\n".join(["| value | meaning |", "| --- | --- |", *rows, ""])


def _command_name(model: type[Any]) -> str:
    return str(model.model_fields["command"].default)


def _example() -> str:
    event = examples.EVENTS["TicketCalled"]
    wire = json.loads(to_json(event, hall=examples.HALL, epoch=examples.EPOCH, seq=examples.SEQ))
    text = json.dumps(wire, indent=2, ensure_ascii=False)
    return f"A ticket is called, as it is sent:\n\n```json\n{text}\n```\n"


def _text(doc: str | None) -> list[str]:
    return [_markup(inspect.cleandoc(doc)), ""] if doc else []


def _one_line(text: str) -> str:
    return _markup(" ".join(text.split())).replace("|", "\\|")


def _markup(text: str) -> str:
    return text.replace("``None``", "`null`").replace("``", "`")
