"""What a whole hall logs of its devices: the tutorial's without a Pi, and one whose bus is cut."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.real_hall import real_hall, until

TUTORIAL = Path(__file__).parents[3] / "docs" / "tutorial" / "your-first-hall.md"
HAS_PINS = Path("/dev/gpiochip0").exists() and importlib.util.find_spec("lgpio") is not None


def run_until_all_is_said(folder: Path) -> subprocess.CompletedProcess[str]:
    """Long enough for several attempts at every device that is not there."""
    command = [sys.executable, "-m", "edge.cli", "run", "--config", "hall.toml"]
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        try:
            run.wait(timeout=5)
        except subprocess.TimeoutExpired:
            run.terminate()
        out, err = run.communicate(timeout=30)
    return subprocess.CompletedProcess(command, run.returncode, out, err)


@pytest.fixture
def tutorial(tmp_path: Path) -> Path:
    """A folder with the file that the tutorial has people write."""
    found = re.search(r"```toml\n(.*?)```", TUTORIAL.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    (tmp_path / "hall.toml").write_text(found[1], encoding="utf-8")
    return tmp_path


@pytest.mark.skipif(HAS_PINS, reason="this machine has GPIO pins")
def test_the_tutorials_hall_says_once_what_this_machine_lacks(tutorial: Path) -> None:
    said = run_until_all_is_said(tutorial)
    assert said.returncode == 0
    assert said.stdout == ""
    lines = said.stderr.splitlines()
    assert len(lines) <= 8, said.stderr
    for device in ("buttons", "caller-1", "printer"):
        (line,) = [line for line in lines if device in line]
        assert f"{device} is offline: " in line
    assert said.stderr.count("install ./edge[pi]; for pins elsewhere set pigpio") == 2
    assert "ready: 1 window, 0 of 3 devices online" in said.stderr
    for line in lines:
        if "is offline" in line:
            told = line.removeprefix("WARNING edge.device_log: ").split(" (")[0]
            assert told.split(": ")[0] in TUTORIAL.read_text(encoding="utf-8")


async def test_a_bus_that_is_cut_and_mended_is_two_lines(tmp_path: Path) -> None:
    async with real_hall(tmp_path) as hall:
        await hall.start()
        units = 2 * len(hall.numbers)
        together = f"desks is online, and with it its {units} units"
        await until(lambda: together in hall.log.read_text())
        before = len(hall.log.read_text())
        hall.bus.unplug()
        await until(lambda: "desks is offline" in hall.log.read_text()[before:])
        hall.bus.plug()
        await until(lambda: together in hall.log.read_text()[before:])
        log = hall.log.read_text()[before:].splitlines()
    lines = [line for line in log if "would have been missed" not in line]  # this machine is busy
    assert len(lines) == 2, lines
    cut, mended = lines
    assert "desks is offline, and with it caller-1, evaluator-1, caller-2, evaluator-2: " in cut
    assert "Errno" not in cut
    assert mended.endswith(together)
