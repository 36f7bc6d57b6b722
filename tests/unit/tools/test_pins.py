"""What is pinned is pinned by name and version, and never by an address."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PINNED = [
    *sorted((ROOT / "requirements").iterdir()),
    *sorted(ROOT.glob("*/pyproject.toml")),
    ROOT / "tools/asyncapi/package-lock.json",
    ROOT / "tools/asyncapi/package.json",
]


@pytest.mark.parametrize("path", PINNED, ids=lambda path: path.name)
def test_no_registry_is_named(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert '"resolved"' not in text
    assert not re.search(r"^\s*(-i|-f|--(extra-)?index-url|--find-links)\b", text, re.MULTILINE)
    assert not re.search(r"https?://[^\s\"]*(pypi|pythonhosted|npmjs|registry)", text)


def test_every_pin_is_one_version() -> None:
    pins = [
        line
        for line in (ROOT / "requirements/constraints.txt").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert len(pins) > 20
    assert [pin for pin in pins if not re.match(r"^[A-Za-z0-9._-]+==\S+", pin)] == []
