"""The demo as a newcomer runs it: whole, in its own process, judged by its exit code."""

import asyncio
import importlib.util
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import psutil
import pytest

from simulator.broker import mosquitto_path

FIGURES = {
    *("presses", "presses_unanswered", "issued", "printed", "voided", "called", "finished"),
    *("no_show", "rated", "waiting", "events_journaled", "events_at_centre"),
    *("duplicates_at_centre", "gaps_at_centre", "double_calls", "duplicate_numbers"),
    *("press_to_led_ms", "press_to_paper_ms", "daemon_rss_mb", "kills", "broker"),
}
GENEROUS_SECONDS = 240


class Demo:
    """A running ``nowserving demo``."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.said: list[str] = []
        """Lines of stderr."""

    async def says(self, text: str) -> str:
        """The next line of stderr with this in it."""
        assert self.process.stderr is not None
        async with asyncio.timeout(GENEROUS_SECONDS):
            while line := await self.process.stderr.readline():
                self.said.append(line.decode())
                if text in self.said[-1]:
                    return self.said[-1]
        raise AssertionError(f"never said {text!r}: {''.join(self.said)}")

    async def end(self) -> tuple[int, str]:
        """Exit code and stdout."""
        async with asyncio.timeout(GENEROUS_SECONDS):
            out, err = await self.process.communicate()
        self.said += err.decode().splitlines(keepends=True)
        assert self.process.returncode is not None
        return self.process.returncode, out.decode()

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)


@asynccontextmanager
async def running(
    tmp_path: Path,
    *arguments: str,
    how: Sequence[str] = ("--headless",),
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[Demo]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "simulator.cli", "demo", *how, "--json", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path), **(environment or {})},
        start_new_session=True,
    )
    demo = Demo(process)
    try:
        yield demo
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def run(
    tmp_path: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> tuple[int, str, str]:
    async with running(tmp_path, *arguments, environment=environment) as demo:
        code, out = await demo.end()
        return code, out, "".join(demo.said)


async def all_gone(processes: Sequence[psutil.Process]) -> None:
    """Return when none of them lives; zombies of a dead parent are reaped by others."""
    _, alive = await asyncio.to_thread(psutil.wait_procs, processes, 20)
    assert [p for p in alive if p.status() != psutil.STATUS_ZOMBIE] == []


async def test_a_short_morning_loses_nothing_and_says_so_in_json(tmp_path: Path) -> None:
    code, out, err = await run(tmp_path, "--for", "12", "--speed", "60", "--seed", "7")
    assert code == 0, err
    assert "not counted as unanswered" not in err  # nothing was down, so no press has an excuse
    figures = json.loads(out.splitlines()[-1])
    assert set(figures) == FIGURES
    assert figures["presses"] > 0
    assert figures["issued"] >= figures["called"] > 0
    assert figures["events_journaled"] == figures["events_at_centre"] > 0
    assert set(figures["kills"]) == {"daemon", "broker", "centre"}
    assert figures["press_to_led_ms"]["p50"] > 0
    assert figures["daemon_rss_mb"] > 10
    assert os.listdir(tmp_path) == []  # nothing is left behind


async def test_kill_9_of_everything_three_times_loses_nothing(tmp_path: Path) -> None:
    code, out, err = await run(tmp_path, "--for", "45", "--speed", "60", "--seed", "11", "--chaos")
    assert code == 0, err
    figures = json.loads(out.splitlines()[-1])
    assert all(count >= 3 for count in figures["kills"].values())
    assert figures["finished"] > 0  # and the hall went on working


async def test_ctrl_c_ends_it_cleanly_with_everything_it_started(tmp_path: Path) -> None:
    """As a newcomer runs it: with pages, at the addresses that it prints."""
    async with running(tmp_path, how=()) as demo:
        await demo.says("edge daemon ready")
        hall = (await demo.says("the virtual hall: ")).split()[-1]
        centre = (await demo.says("the centre: ")).split()[-1]
        async with aiohttp.ClientSession() as browser:
            for address in (hall, centre):
                async with browser.get(address) as response:
                    assert response.status == 200
                    assert "<html" in await response.text()
        children = demo.children()
        assert len(children) >= 3
        demo.process.send_signal(signal.SIGINT)
        code, _ = await demo.end()
        assert code == 0, "".join(demo.said)
        await all_gone(children)
    assert os.listdir(tmp_path) == []


async def test_ctrl_c_before_it_has_begun_ends_it_too(tmp_path: Path) -> None:
    async with running(tmp_path) as demo:
        await demo.says("broker: ")
        demo.process.send_signal(signal.SIGINT)
        code, out = await demo.end()
    assert code == 130, "".join(demo.said)
    assert out == ""
    assert os.listdir(tmp_path) == []


async def test_a_killed_demo_leaves_no_process(tmp_path: Path) -> None:
    async with running(tmp_path, "--speed", "20") as demo:
        await demo.says("edge daemon ready")
        children = demo.children()
        assert len(children) >= 3
        demo.process.kill()
        await demo.end()
        await all_gone(children)


async def test_a_daemon_that_stops_answering_is_found_out(tmp_path: Path) -> None:
    """The whole point of the figures: a frozen daemon says "ready" and answers nobody."""
    async with running(tmp_path, "--speed", "60") as demo:
        await demo.says("edge daemon ready")
        while presses_in(await demo.says("presses ")) == 0:
            pass
        daemons = [c for c in demo.children() if "edge.cli" in " ".join(c.cmdline())]
        assert len(daemons) == 1
        daemons[0].suspend()
        while unanswered_in(await demo.says("presses ")) == 0:
            pass
        daemons[0].resume()
        demo.process.send_signal(signal.SIGINT)
        code, out = await demo.end()
    said = "".join(demo.said)
    assert code == 1, said
    assert json.loads(out.splitlines()[-1])["presses_unanswered"] > 0
    assert "unanswered: " in said


SABOTAGED = """
import sys

if "edge.cli" in sys.orig_argv:
    from contract.commands import CloseDay, OpenDay, Rate, Refusal, RefusalReason
    from edge.controller import Controller

    submit = Controller.submit

    async def instead(self, command):
        {instead}
        return await submit(self, command)

    Controller.submit = instead
"""
"""A ``sitecustomize`` of a daemon that looks well from the outside."""


def sabotage(folder: Path, instead: str) -> dict[str, str]:
    """The environment in which every daemon does this before it obeys a command."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SABOTAGED.format(instead=instead))
    path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
    return {"PYTHONPATH": path}


async def test_a_daemon_that_accepts_ratings_and_forgets_them_is_found_out(tmp_path: Path) -> None:
    environment = sabotage(tmp_path / "bad", "if isinstance(command, Rate): return ()")
    async with running(tmp_path, "--speed", "60", environment=environment) as demo:
        for _ in range(6):  # a status line each few seconds: somebody has rated by then
            await demo.says("presses ")
        demo.process.send_signal(signal.SIGINT)
        code, out = await demo.end()
    said = "".join(demo.said)
    assert code == 1, said
    assert re.search("accepted and not journaled: .*satisfied at evaluator-", said)
    figures = json.loads(out.splitlines()[-1])
    assert figures["finished"] > figures["rated"] == 0


async def test_a_daemon_that_refuses_everything_is_found_out(tmp_path: Path) -> None:
    """Every press has its answer, and nothing is lost: there is nothing to lose."""
    refusal = "Refusal(reason=RefusalReason.INTERNAL_ERROR, command=command.command)"
    environment = sabotage(
        tmp_path / "bad", f"if not isinstance(command, OpenDay | CloseDay): return {refusal}"
    )
    code, out, err = await run(tmp_path, "--for", "15", "--speed", "60", environment=environment)
    assert code == 1, err
    assert "no ticket was issued" in err
    figures = json.loads(out.splitlines()[-1])
    assert figures["presses"] > figures["issued"] == 0


def presses_in(status: str) -> int:
    """``… presses 17 (0 unanswered) …``"""
    return _number(r"presses (\d+)", status)


def unanswered_in(status: str) -> int:
    return _number(r"\((\d+) unanswered", status)


def _number(pattern: str, status: str) -> int:
    found = re.search(pattern, status)
    assert found is not None, status
    return int(found[1])


@pytest.mark.parametrize("kind", ["mosquitto", "iotcore", "amqtt"])
async def test_every_broker_carries_it(tmp_path: Path, kind: str) -> None:
    there = mosquitto_path() if kind == "mosquitto" else importlib.util.find_spec(kind)
    if there is None:
        pytest.skip(f"{kind} is not installed here")
    code, out, err = await run(tmp_path, "--for", "6", "--broker", kind)
    assert code == 0, err
    assert json.loads(out.splitlines()[-1])["broker"] == kind


async def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    code, out, err = await run(tmp_path, "--keep", str(tmp_path))
    assert code == 2
    assert "is not empty" in err
    assert out == ""
