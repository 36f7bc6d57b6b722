"""A machine that lacks something is told the one command that mends it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "tools/find-python.sh"
BY_APT = "apt-get install -y "

WITHOUT_VENV = "import sys; sys.modules['ensurepip'] = None; "
PYTHON_3_9 = "import sys; sys.version_info = (3, 9, 2, 'final', 0); "


class Machine:
    """One with the programs that are put on it, and no others."""

    def __init__(self, programs: Path) -> None:
        self.programs = programs
        programs.mkdir()
        for name in ("sh", "grep", "ls"):
            found = shutil.which(name)
            assert found is not None
            (programs / name).symlink_to(found)
        self.program("id", "echo 0")

    def program(self, name: str, body: str) -> None:
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def python(self, name: str, like: str = "") -> None:
        """A Python on which ``like`` was run before everything else."""
        self.program(name, f'shift; code=$1; exec {sys.executable} -c "{like}$code"')

    def with_apt(self, *offers: str) -> None:
        self.program("apt-get", "exit 1")
        known = " ".join(offers) or "nothing"
        self.program(
            "apt-cache", f'for p in {known}; do [ "$2" != $p ] || echo "Package: $p"; done'
        )

    def finds(self, **env: str) -> tuple[int, str, list[str]]:
        done = subprocess.run(
            ["sh", str(SCRIPT)],
            env={"PATH": str(self.programs), **env},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout.strip(), done.stderr.splitlines()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "bin")


def test_a_python_that_can_make_environments_is_taken(machine: Machine) -> None:
    machine.python("python3")
    assert machine.finds() == (0, str(machine.programs / "python3"), [])


def test_an_old_python3_does_not_hide_a_newer_one(machine: Machine) -> None:
    machine.python("python3", PYTHON_3_9)
    machine.python("python3.12")
    assert machine.finds()[:2] == (0, str(machine.programs / "python3.12"))


def test_without_python_one_command_installs_it(machine: Machine) -> None:
    machine.with_apt()
    code, found, said = machine.finds()
    assert (code, found) == (1, "")
    assert said[0].startswith("There is no python3")
    assert said[-1].endswith(BY_APT + "python3-venv")


def test_a_missing_venv_is_one_command(machine: Machine) -> None:
    machine.python("python3", WITHOUT_VENV)
    machine.with_apt()
    code, _, said = machine.finds()
    assert code == 1
    assert "can't make a virtual environment" in said[0]
    assert said[-1].endswith(BY_APT + "python3-venv")


def test_the_venv_of_the_python_that_was_asked_for_is_named(machine: Machine) -> None:
    machine.python("python3.12", WITHOUT_VENV)
    machine.with_apt()
    code, _, said = machine.finds(PYTHON="python3.12")
    assert code == 1
    assert f"-y python{sys.version_info.major}.{sys.version_info.minor}-venv" in said[-1]


def test_an_old_python_is_told_what_this_system_offers(machine: Machine) -> None:
    machine.python("python3", PYTHON_3_9)
    machine.with_apt("python3.12-venv", "python3.11-venv")
    code, _, said = machine.finds()
    assert code == 1
    assert "is Python 3.9; Now Serving needs 3.11 or newer" in said[0]
    assert said[-1].endswith(BY_APT + "python3.12-venv")


def test_where_the_system_offers_none_the_way_out_is_said(machine: Machine) -> None:
    machine.python("python3", PYTHON_3_9)
    machine.with_apt()
    assert "make PYTHON=/path/to/python3.11" in machine.finds()[2][-1]


def test_a_user_who_is_not_root_is_shown_sudo(machine: Machine) -> None:
    machine.program("id", "echo 1000")
    machine.with_apt()
    assert "sudo apt-get install -y python3-venv" in machine.finds()[2][-1]


def test_a_python_that_is_no_program_is_said(machine: Machine) -> None:
    machine.python("python3")
    code, _, said = machine.finds(PYTHON="/nowhere/python3")
    assert code == 1
    assert said[0] == "PYTHON=/nowhere/python3 is not a program."
