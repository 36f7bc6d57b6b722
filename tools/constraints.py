"""Write requirements/constraints.txt: what a clean installation of everything resolves to today.

    python tools/constraints.py python3.11 python3.13

Installs the product with its extras, the test requirements and the oracles into a new environment
per Python, freezes it, and writes one line per distribution; where the Pythons differ, one line
each with a marker. No addresses and no hashes: where packages come from is the machine's affair.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "requirements" / "constraints.txt"
TEST_REQUIREMENTS = ROOT / "requirements" / "test.in"
ORACLES = ROOT / "requirements" / "oracles.in"
DISTRIBUTIONS = [  # what is needed comes before what needs it: old pips look no further
    "contract",
    "messaging",
    "edge[pigpio]",
    "cloud-sync",
    "simulator[broker,broker-fallback]",
]
# The edge's extra "pi" has wheels for the Raspberry Pi only, so it can't be frozen elsewhere.
ON_A_PI = [
    "adafruit-lgpio==0.2.2.0 ; python_version >= '3.13'",
    "lgpio==0.2.2.0 ; python_version < '3.13'",
]
UNPINNED = {"pip"}  # comes with the Python

HEADER = """\
# The versions that Now Serving is built and tested with. Made by `make constraints`: a frozen
# clean installation per Python version. Use: pip install -c requirements/constraints.txt …
"""


def main(pythons: list[str]) -> None:
    if not pythons:
        sys.exit("usage: python tools/constraints.py PYTHON…  (one per version to support)")
    frozen = dict(freeze(python) for python in pythons)
    CONSTRAINTS.write_text(
        HEADER + "".join(f"{line}\n" for line in sorted(merge(frozen) + ON_A_PI))
    )
    print(f"{CONSTRAINTS.relative_to(ROOT)}: for Python {', '.join(sorted(frozen, key=_order))}")


def freeze(python: str) -> tuple[str, dict[str, str]]:
    """Version of ``python`` (``3.11``), and distribution → version of a clean installation."""
    with tempfile.TemporaryDirectory(prefix="constraints-") as directory:
        venv = Path(directory)
        subprocess.run([python, "-m", "venv", venv], check=True)
        pip = [str(venv / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
        ours = [part for name in DISTRIBUTIONS for part in ("-e", f"{ROOT / name}")]
        _run([*pip, "install", "-q", "--upgrade", "setuptools"])
        _run([*pip, "install", "-q", "--no-build-isolation", *ours, "-r", f"{TEST_REQUIREMENTS}"])
        _run([*pip, "install", "-q", "--no-deps", "-r", f"{ORACLES}"])
        lines = _run([*pip, "freeze", "--all", "--exclude-editable"]).splitlines()
        version = _run([python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]).strip()
    pins = dict(line.split("==", 1) for line in lines)
    return version, {_normal(name): pin for name, pin in pins.items() if name not in UNPINNED}


def merge(frozen: dict[str, dict[str, str]]) -> list[str]:
    """Constraint lines, sorted by name; a marker where not all of the Pythons agree."""
    pythons = sorted(frozen, key=_order)
    lines = []
    for name in sorted({name for pins in frozen.values() for name in pins}):
        versions = [frozen[python].get(name) for python in pythons]
        if len(set(versions)) == 1:
            lines.append(f"{name}=={versions[0]}")
            continue
        for python, version in zip(pythons, versions, strict=True):
            if version is not None:
                lines.append(f"{name}=={version} ; {_marker(python, pythons)}")
    return lines


def _marker(python: str, pythons: list[str]) -> str:
    """The span of Python versions that ``python`` stands for: from itself to before the next."""
    place = pythons.index(python)
    since = [f"python_version >= '{python}'"] if place > 0 else []
    before = [f"python_version < '{pythons[place + 1]}'"] if place + 1 < len(pythons) else []
    return " and ".join(since + before)


def _order(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _run(command: list[str]) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    main(sys.argv[1:])
