"""The systemd units are accepted by systemd itself, are hardened, and leave the daemons alive."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SYSTEMD = ROOT / "systemd"
UNITS = sorted(SYSTEMD.glob("*.service"))
GREATEST_EXPOSURE = 2.0


@pytest.fixture
def analyze() -> Callable[..., str]:
    """Runs ``systemd-analyze`` and returns all that it says; its exit code must be 0."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")

    def run(*arguments: str | Path) -> str:
        done = subprocess.run(
            [program, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    return run


def _exposure(report: str) -> float:
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", report)
    assert found, report
    return float(found[1])


def test_both_services_have_a_unit() -> None:
    assert [unit.name for unit in UNITS] == ["nowserving-edge.service", "nowserving-sync.service"]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_the_service_manager_is_told_of_the_start_and_watches_the_life(unit: Path) -> None:
    lines = unit.read_text().splitlines()
    assert "Type=notify" in lines
    assert "Restart=always" in lines
    assert any(re.fullmatch(r"WatchdogSec=\d+", line) for line in lines)
    assert any(line.startswith("WorkingDirectory=%S/") for line in lines)


def test_the_pins_library_writes_its_pipes_where_they_vanish() -> None:
    assert "Environment=LG_WD=%t/nowserving" in (SYSTEMD / "nowserving-edge.service").read_text()


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_the_exposure_is_small(unit: Path, analyze: Callable[..., str]) -> None:
    exposure = _exposure(analyze("security", "--offline=yes", "--no-pager", unit))
    print(f"{unit.name}: exposure {exposure}")

    assert exposure <= GREATEST_EXPOSURE


def test_a_unit_without_hardening_would_be_noticed(
    tmp_path: Path, analyze: Callable[..., str]
) -> None:
    bare = tmp_path / "nowserving-bare.service"
    bare.write_text("[Service]\nExecStart=/bin/true\nUser=nowserving-edge\n")

    assert _exposure(analyze("security", "--offline=yes", "--no-pager", bare)) > GREATEST_EXPOSURE


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_has_no_complaint(unit: Path, tmp_path: Path, analyze: Callable[..., str]) -> None:
    copy = tmp_path / unit.name
    # On this machine nothing is installed in /opt: any program stands for the service's.
    copy.write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text()))

    said = analyze("verify", "--man=no", copy)

    assert unit.stem not in said, said


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_the_readme_states_the_exposure(unit: Path, analyze: Callable[..., str]) -> None:
    exposure = _exposure(analyze("security", "--offline=yes", "--no-pager", unit))
    row = next(
        line for line in (SYSTEMD / "README.md").read_text().splitlines() if "| exposure" in line
    )

    # Newer systemd versions know more settings: theirs may be a little more.
    assert any(abs(float(stated) - exposure) <= 0.3 for stated in re.findall(r"\d\.\d", row))


def test_the_users_and_groups_of_the_units_are_declared(tmp_path: Path) -> None:
    program = shutil.which("systemd-sysusers")
    if program is None:
        pytest.skip("systemd-sysusers is not installed")
    (tmp_path / "etc").mkdir()

    subprocess.run(
        [program, f"--root={tmp_path}", SYSTEMD / "nowserving.sysusers"], check=True, timeout=60
    )

    users = _names(tmp_path / "etc" / "passwd")
    groups = _names(tmp_path / "etc" / "group")
    for unit in UNITS:
        settings = dict(
            re.findall(r"(?m)^(User|Group|SupplementaryGroups)=(.*)$", unit.read_text())
        )
        assert settings["User"] in users
        assert {settings["Group"], *settings.get("SupplementaryGroups", "").split()} <= groups


def _names(database: Path) -> set[str]:
    return {line.split(":", 1)[0] for line in database.read_text().splitlines()}


WITHOUT_WRITABLE_CODE = """
import ctypes, mmap, sqlite3, sys
PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 65, 1
if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0):
    sys.exit(77)
try:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
except PermissionError:
    pass
else:
    sys.exit("the kernel still gives memory that is writable and executable")
import importlib
module, *libraries = sys.argv[1:]
for name in libraries:
    importlib.import_module(name)
sys.argv[1:] = ["--help"]
importlib.import_module(module).main()
"""


@pytest.mark.parametrize(
    ("module", "libraries"),
    [
        ("edge.cli", ["aiosqlite", "gpiozero", "paho.mqtt.client", "pydantic", "serial"]),
        ("cloud_sync.cli", ["aiosqlite", "aiohttp", "paho.mqtt.client", "pydantic"]),
    ],
)
def test_the_daemons_live_without_memory_that_is_writable_and_executable(
    module: str, libraries: list[str]
) -> None:
    """``MemoryDenyWriteExecute=``, by the kernel's own switch for one process (Linux 6.3)."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_WRITABLE_CODE, module, *libraries],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if done.returncode == 77:
        pytest.skip("this kernel is older than 6.3: it has no PR_SET_MDWE")

    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout
