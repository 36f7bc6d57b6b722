"""Values, lines and tables as they stand in a TOML file."""

import json
import re
from collections.abc import Iterable, Mapping

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def toml_value(value: object) -> str:
    """A value as it stands in a TOML file."""
    match value:
        case bool():
            return str(value).lower()
        case Mapping():
            inside = ", ".join(line_of(name, each) for name, each in value.items())
            return f"{{ {inside} }}" if inside else "{}"
        case list() | tuple():
            return "[" + ", ".join(map(toml_value, value)) + "]"
        case int() | float():
            return str(value)
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def line_of(key: str, value: object) -> str:
    return f"{dotted((key,))} = {toml_value(value)}"


def lines_of(values: Mapping[str, object]) -> str:
    return "\n".join(line_of(key, value) for key, value in values.items())


def table_of(path: Iterable[str], values: Mapping[str, object]) -> str:
    """A table with its head."""
    return f"[{dotted(path)}]\n{lines_of(values)}".rstrip()


def dotted(path: Iterable[object]) -> str:
    """A key with all the tables that it is in; names that are not plain are quoted."""
    names = map(str, path)
    return ".".join(name if _BARE.fullmatch(name) else toml_value(name) for name in names)


def left_out(path: Iterable[str], value: object) -> str:
    """A line, or the head of a table, that is not to be there."""
    *_, name = path = list(path)
    what = f"[{dotted(path)}]" if isinstance(value, Mapping) else line_of(name, value)
    return f"# {what}  is left out"
