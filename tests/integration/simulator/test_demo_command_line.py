"""The demo's command line: what can't work is said before anything starts, with what would."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from simulator.cli import EXIT_FAILED, EXIT_USAGE
from simulator.ports import free_ports


def nowserving(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "simulator.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_without_a_command_there_is_help() -> None:
    said = nowserving()
    assert said.returncode == EXIT_USAGE
    assert "run a virtual hall and its centre" in said.stderr


@pytest.mark.parametrize(
    ("option", "value", "right"),
    [
        ("--speed", "abc", "a number from 1 to 120, not 'abc'"),
        ("--speed", "nan", "a number from 1 to 120, not 'nan'"),
        ("--for", "0", "a number from 1 to 604800, not '0'"),
        ("--port", "x", "a whole number from 1 to 65534, not 'x'"),
        ("--windows", "0", "a whole number from 1 to"),
    ],
)
def test_a_number_that_is_none_is_refused_with_its_bounds(
    option: str, value: str, right: str
) -> None:
    said = nowserving("demo", option, value)
    assert said.returncode == EXIT_USAGE
    assert f"argument {option}: must be {right}" in said.stderr


def test_a_file_is_no_folder_to_keep_things_in(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("mine")
    for place in (file, file / "deeper", file / "much" / "deeper"):
        said = nowserving("demo", "--keep", place)
        assert said.returncode == EXIT_USAGE
        assert "is a file: name a folder" in said.stderr
        assert "Traceback" not in said.stderr
    assert file.read_text() == "mine"


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    said = nowserving("demo", "--keep", tmp_path)
    assert said.returncode == EXIT_USAGE
    assert "is not empty: name a new folder" in said.stderr


def first_of_two_free_ports() -> int:
    """In a row, and outside the range from which others are served meanwhile."""
    while True:
        (first,) = free_ports(0)
        if free_ports(first + 1) == [first + 1]:
            return first


@pytest.mark.parametrize("which", [0, 1])
def test_a_port_that_is_taken_is_said_before_anything_starts(tmp_path: Path, which: int) -> None:
    first = first_of_two_free_ports()
    port = first + which
    with socket.create_server(("127.0.0.1", port)):
        said = nowserving("demo", "--port", str(first), "--keep", tmp_path / "kept")
    assert said.returncode == EXIT_FAILED
    assert f"port {port}, for the page of the {('virtual hall', 'centre')[which]}" in said.stderr
    assert "choose others with --port" in said.stderr
    assert "broker" not in said.stdout + said.stderr
    assert not (tmp_path / "kept").exists()
