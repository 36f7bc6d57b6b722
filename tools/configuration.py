"""Write docs/reference/configuration.md from the models that read a hall's file.

python -m tools.configuration [--check]
"""

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from edge.config.sections import (
    HallConfig,
    HallSection,
    JournalSection,
    RulesSection,
    ServiceSection,
    TlsSection,
    UplinkSection,
    WindowSection,
)
from edge.config.toml import toml_value
from edge.drivers import registry
from edge.drivers.modbus_bus import BusConfig

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "configuration.md"

TABLES: tuple[tuple[str, type[BaseModel]], ...] = (
    ("[hall]", HallSection),
    ("[journal]", JournalSection),
    ("[services.NAME]", ServiceSection),
    ("[windows.NUMBER]", WindowSection),
    ("[rules]", RulesSection),
    ("[uplink]", UplinkSection),
    ("[uplink.tls]", TlsSection),
    ("[buses.NAME]", BusConfig),
)

INTRODUCTION = """\
# Configuration of a hall

Made by `python -m tools.configuration` from the models in `edge/config/` and `edge/drivers/`.

One TOML file. `nowserving-edge check --config hall.toml` names every problem of it at once, with a
line that would be right; nothing starts before they are gone. Unknown keys are errors.
"""

DEVICES = """\
## Devices

Each device is a table `[devices.NAME]` with a `driver`. What a key or a lamp may be called is in
[devices and wiring](devices.md).
"""


def page() -> str:
    """The whole page, in Markdown."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield INTRODUCTION
    missing = set(HallConfig.model_fields) - {"devices"} - {_key(name) for name, _ in TABLES}
    if missing:
        raise SystemExit(f"tables without a place on the page: {sorted(missing)}")
    for name, model in TABLES:
        yield from _table(name, model)
    yield DEVICES
    for name, driver in sorted(registry.drivers().items()):
        yield from _table(f'[devices.NAME] with driver = "{name}"', driver.config)


def _key(table: str) -> str:
    match = re.match(r"\[([a-z]+)", table)
    return match[1] if match else ""


def _table(name: str, model: type[BaseModel]) -> Iterator[str]:
    yield f"## `{name}`"
    yield ""
    yield " ".join((model.__doc__ or "").split("\n\n")[0].split()).replace("``", "`")
    yield ""
    yield "| key | what | default |"
    yield "|---|---|---|"
    for key, info in model.model_fields.items():
        yield f"| `{key}` | {_what(info)} | {_default(info)} |"
    yield ""


def _what(info: FieldInfo) -> str:
    title = f"**{info.title}.** " if info.title else ""
    limits = _limits(info)
    return f"{title}{info.description or ''}{limits}".replace("|", "\\|").replace("\n", " ")


def _limits(info: FieldInfo) -> str:
    found = {}
    for item in info.metadata:
        for name in ("ge", "gt", "le", "lt"):
            value = getattr(item, name, None)
            if value is not None:
                found[name] = value
    low, high = found.get("ge", found.get("gt")), found.get("le", found.get("lt"))
    words = [str(arg) for arg in get_args(info.annotation) if isinstance(arg, str)]
    if words and info.annotation is not None and "Literal" in str(info.annotation):
        return " One of: " + ", ".join(f"`{word}`" for word in words) + "."
    if low is not None and high is not None:
        return f" {low} to {high}."
    return ""


def _default(info: FieldInfo) -> str:
    if info.is_required():
        example = info.examples[0] if info.examples else None
        return "required" + (f", e.g. `{toml_value(example)}`" if example is not None else "")
    default: Any = info.get_default(call_default_factory=True, validated_data={})
    if default is None or default == {} or isinstance(default, BaseModel):
        return "none"
    return f"`{toml_value(default)}`"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail on a difference")
    options = parser.parse_args()
    text = page()
    if options.check:
        return int(not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text)
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
