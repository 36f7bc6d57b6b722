"""The first commands of a newcomer, and those of whoever installs one part alone: as they are
written in README.md and systemd/README.md, in environments that are made for it."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edge.config.load import FIRST_HALL

ROOT = Path(__file__).parents[2]
AT_MOST_SECONDS = 280


def run(*command: str | Path, env: Mapping[str, str] | None = None, cwd: Path = ROOT) -> str:
    """What it says on stdout. It has to succeed."""
    done = subprocess.run(
        [str(each) for each in command],
        capture_output=True,
        text=True,
        timeout=AT_MOST_SECONDS,
        cwd=cwd,
        env=None if env is None else {**os.environ, **env},
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def verdict(said: str) -> dict[str, object]:
    result: dict[str, object] = json.loads(said.splitlines()[-1])
    return result


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of this tree as a clone has them: nothing that was made from them."""
    copy = tmp_path_factory.mktemp("clone") / "now-serving"
    made = ("*.egg-info", "__pycache__", "build", "node_modules")
    shutil.copytree(
        ROOT, copy, symlinks=True, ignore=lambda folder, names: (
            {name for name in names if name.startswith(".")} if Path(folder) == ROOT else set()
        ) | set(shutil.ignore_patterns(*made)(folder, names)),
    )  # fmt: skip
    return copy


@pytest.fixture(scope="module")
def demonstrated(tree: Path) -> dict[str, object]:
    """What the README's first command printed last, where nothing was run before it."""
    arguments = "--headless --for 8 --speed 60 --seed 7 --json"
    return verdict(run("make", "demo", f"ARGS={arguments}", f"PYTHON={sys.executable}", cwd=tree))


def test_make_demo_needs_nothing_before_it(demonstrated: dict[str, object], tree: Path) -> None:
    assert demonstrated["presses_unanswered"] == 0
    assert demonstrated["events_at_centre"] == demonstrated["events_journaled"] != 0
    assert (tree / ".venv/bin/nowserving").exists()


@pytest.mark.usefixtures("demonstrated")
def test_where_there_is_no_mosquitto_a_broker_comes_from_pypi(tree: Path) -> None:
    without = os.pathsep.join(
        folder
        for folder in os.environ["PATH"].split(os.pathsep)
        if not (Path(folder) / "mosquitto").exists()
    )
    run("tools/demo-broker.sh", ".venv", env={"PATH": without}, cwd=tree)
    said = run(
        tree / ".venv/bin/nowserving", "demo", "--headless", "--for", "5", "--json",
        "--broker", "iotcore", cwd=tree,
    )  # fmt: skip
    assert verdict(said)["broker"] == "iotcore"
    assert verdict(said)["presses_unanswered"] == 0


@pytest.mark.usefixtures("demonstrated")
def test_the_demos_console_command_teaches(tree: Path) -> None:
    assert "demo" in run(tree / ".venv/bin/nowserving", "--help")
    assert "--chaos" in run(tree / ".venv/bin/nowserving", "demo", "--help")


def test_make_help_lists_every_target() -> None:
    phony = re.search(r"^\.PHONY: ((?:.*\\\n)*.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    targets = set(phony[1].replace("\\\n", " ").split()) - {"system-packages"}
    listed = {line.split()[0] for line in run("make", "help").splitlines() if line[:2] == "  "}
    assert listed == targets
    assert "--help" in run("make", "help"), "how the demo's own options are found"


@pytest.fixture(scope="module")
def installed(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each part alone, by the commands of systemd/README.md; the folders of their programs."""
    folders = {part: tmp_path_factory.mktemp("alone") / part for part in ("edge", "sync")}
    with ThreadPoolExecutor() as both:
        made = {
            part: both.submit(installed_alone, tree, part, folder)
            for part, folder in folders.items()
        }
    return {part: each.result() for part, each in made.items()}


def installed_alone(tree: Path, part: str, folder: Path) -> Path:
    text = (tree / "systemd/README.md").read_text(encoding="utf-8")
    commands = re.findall(
        rf"^python3 -m venv (/opt/nowserving/{part})\n/opt/nowserving/{part}/bin/pip (install .*)$",
        text,
        re.MULTILINE,
    )
    ((_, arguments),) = commands
    run(sys.executable, "-m", "venv", folder)
    run(folder / "bin/pip", *arguments.split(), cwd=tree)
    return folder / "bin"


def importable(programs: Path, *modules: str) -> list[str]:
    looking = f"import importlib.util as u; print([m for m in {modules!r} if u.find_spec(m)])"
    found: list[str] = json.loads(
        run(programs / "python", "-I", "-c", looking, cwd=programs).replace("'", '"')
    )
    return found


def test_the_edge_is_installed_without_the_centre(
    installed: dict[str, Path], tmp_path: Path
) -> None:
    programs = installed["edge"]
    assert importable(
        programs, "edge", "contract", "cloud_sync", "aiohttp", "simulator", "bench", "tests"
    ) == ["edge", "contract"]
    assert "check" in run(programs / "nowserving-edge", "--help", cwd=tmp_path)
    hall = tmp_path / "hall.toml"
    hall.write_text(FIRST_HALL.replace("journal.db", f"{tmp_path}/journal.db"), encoding="utf-8")
    assert "good" in run(programs / "nowserving-edge", "check", "--config", hall)
    with subprocess.Popen(
        [programs / "nowserving-edge", "run", "--config", hall], stderr=subprocess.PIPE, text=True
    ) as daemon:
        assert daemon.stderr is not None
        said = []
        for line in daemon.stderr:
            said.append(line)
            if "ready" in line:
                daemon.terminate()
    assert daemon.returncode == 0, "".join(said)
    assert "day.opened" in run(
        programs / "nowserving-edge", "journal", "show", tmp_path / "journal.db"
    )


def test_the_centre_is_installed_without_the_edge_and_its_devices(
    installed: dict[str, Path], tmp_path: Path
) -> None:
    programs = installed["sync"]
    assert importable(
        programs, "cloud_sync", "contract", "edge", "gpiozero", "serial", "simulator", "bench"
    ) == ["cloud_sync", "contract"]
    assert "rebuild" in run(programs / "nowserving-sync", "--help", cwd=tmp_path)
    config = tmp_path / "sync.toml"
    config.write_text(
        f'[mqtt]\nhost = "127.0.0.1"\n[store]\npath = "{tmp_path}/centre.db"\n', encoding="utf-8"
    )
    assert "good" in run(programs / "nowserving-sync", "check", "--config", config, cwd=tmp_path)
    rebuilt = run(programs / "nowserving-sync", "rebuild", "--config", config, cwd=tmp_path)
    assert "rebuilt from 0 events" in rebuilt
