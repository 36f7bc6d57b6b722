"""The core imports plain data types and the contract: nothing that does or knows anything."""

import ast
from pathlib import Path

import edge.queue

FOLDER = Path(edge.queue.__file__).parent

DATA_TYPES = {
    "bisect",
    "collections",
    "collections.abc",
    "dataclasses",
    "datetime",
    "enum",
    "math",
    "typing",
    "zoneinfo",
}


def imports(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add("." * node.level + (node.module or ""))
    return found


def test_the_queue_core_is_pure() -> None:
    foreign = {
        f"{file.name}: {name}"
        for file in FOLDER.rglob("*.py")
        for name in imports(file)
        if name not in DATA_TYPES and not name.startswith(("contract.", "edge.queue."))
    }
    assert not foreign
