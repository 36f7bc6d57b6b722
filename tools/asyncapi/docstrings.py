"""The docstrings that Python does not keep at run time: those under fields, aliases, enum members.

Read from the source with ``ast``, so that ``contract`` pays nothing for it where it runs.
"""

import ast
import inspect
from dataclasses import dataclass, field
from functools import cache
from types import ModuleType


@dataclass(frozen=True)
class Assignment:
    """``name: annotation = value`` with the docstring that follows it."""

    name: str
    annotation: str
    value: str
    doc: str


@dataclass
class Source:
    """What one module says: its assignments, and those of its classes by class name."""

    assignments: dict[str, Assignment] = field(default_factory=dict)
    classes: dict[str, dict[str, Assignment]] = field(default_factory=dict)


@cache
def read(module: ModuleType) -> Source:
    tree = ast.parse(inspect.getsource(module))
    source = Source(_assignments(tree.body))
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            source.classes[node.name] = _assignments(node.body)
    return source


def of_member(cls: type, name: str) -> Assignment | None:
    """The assignment of ``name`` in ``cls``, or in the class that it inherits it from."""
    for base in cls.__mro__:
        module = inspect.getmodule(base)
        if module is None or not module.__name__.startswith("contract."):
            continue
        found = read(module).classes.get(base.__name__, {}).get(name)
        if found is not None:
            return found
    return None


def _assignments(body: list[ast.stmt]) -> dict[str, Assignment]:
    found: dict[str, Assignment] = {}
    for node, after in zip(body, [*body[1:], None], strict=True):
        match node:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=value):
                annotated = ast.unparse(annotation)
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                annotated = ""
            case _:
                continue
        found[name] = Assignment(
            name, annotated, ast.unparse(value) if value is not None else "", _docstring(after)
        )
    return found


def _docstring(node: ast.stmt | None) -> str:
    match node:
        case ast.Expr(value=ast.Constant(value=str(text))):
            return inspect.cleandoc(text)
    return ""
