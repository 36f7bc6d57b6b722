"""The virtual hall without its people: what a hand does to it, and what can be seen of it."""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from simulator.hall import BadAction, HallOptions, VirtualHall


@asynccontextmanager
async def virtual_hall(tmp_path: Path, *, start: bool = True) -> AsyncIterator[VirtualHall]:
    hall = VirtualHall(HallOptions(windows=2, speed=120.0, directory=tmp_path / "demo"))
    try:
        if start:
            await hall.start()
        yield hall
    finally:
        await hall.stop()
    failures = [failure for program in hall.programs.values() for failure in program.failures]
    assert failures == []


async def until(hall: VirtualHall, what: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The first snapshot of which this is true."""
    changed = asyncio.Event()
    hall.on_change(changed.set)
    async with asyncio.timeout(60):
        while True:
            snapshot = hall.snapshot()
            if what(snapshot):
                return snapshot
            changed.clear()
            await changed.wait()


def lamp(panel: dict[str, Any], name: str) -> bool:
    return next(bool(entry["lit"]) for entry in panel["lamps"] if entry["lamp"] == name)


def lines_on_paper(snapshot: dict[str, Any]) -> list[str]:
    papers = snapshot["dispenser"]["printer"]["papers"]
    return [item["text"] for paper in papers for item in paper["items"] if item["kind"] == "text"]


def screen(snapshot: dict[str, Any], window: int) -> str:
    return str(snapshot["windows"][window - 1]["screen"]["text"])


async def test_a_hand_takes_a_number_calls_it_serves_it_and_rates_it(tmp_path: Path) -> None:
    async with virtual_hall(tmp_path) as hall:
        await until(hall, lambda seen: lamp(seen["dispenser"], "ready"))
        hall.perform({"do": "press", "at": "dispenser", "key": "payment"})
        await until(hall, lambda seen: seen["figures"]["papers"] == 1)
        assert "A001" in lines_on_paper(hall.snapshot())
        for key, shown in [
            ("sign_on", "等候1人"),
            ("call_next", "A001 请到1号窗口"),
            ("start", "A001 正在办理"),
            ("finish", "欢迎光临"),
        ]:
            hall.perform({"do": "press", "at": "caller-1", "key": key})
            await until(hall, lambda seen: lamp(seen["windows"][0]["caller"], "accepted"))
            await until(hall, lambda seen, shown=shown: screen(seen, 1).startswith(shown))  # type: ignore[misc]
            # No finger is quicker than this; two keys within a tenth of a second are an elbow.
            await until(hall, lambda seen: not lamp(seen["windows"][0]["caller"], "accepted"))
        await until(hall, lambda seen: lamp(seen["windows"][0]["evaluator"], "asking"))
        hall.perform({"do": "press", "at": "evaluator-1", "key": "satisfied"})
        await until(hall, lambda seen: lamp(seen["windows"][0]["evaluator"], "thanks"))
        await until(hall, lambda seen: not lamp(seen["windows"][0]["caller"], "accepted"))
        hall.ledger.settle(asyncio.get_running_loop().time() + 60)
        assert hall.ledger.unanswered == []
        assert len(hall.ledger.press_to_led_seconds) == 1
        assert json.loads(json.dumps(hall.snapshot()))["figures"]["papers"] == 1


async def test_without_paper_the_dispenser_says_so_and_refuses(tmp_path: Path) -> None:
    async with virtual_hall(tmp_path) as hall:
        hall.perform({"do": "paper_out", "on": True})
        await until(hall, lambda seen: lamp(seen["dispenser"], "no_paper"))
        hall.perform({"do": "press", "at": "dispenser", "key": "enquiry"})
        await until(hall, lambda seen: lamp(seen["dispenser"], "refused"))
        hall.perform({"do": "paper_out", "on": False})
        await until(hall, lambda seen: lamp(seen["dispenser"], "ready"))
        assert hall.ledger.papers == []


async def test_a_printer_that_is_off_has_no_cable_to_plug_in(tmp_path: Path) -> None:
    async with virtual_hall(tmp_path) as hall:
        hall.perform({"do": "printer_off", "on": True})
        assert hall.faults()["printer_off"]
        assert hall.faults()["unplugged"] == []
        hall.perform({"do": "printer_off", "on": False})
        hall.perform({"do": "unplug", "cable": "printer", "on": True})
        assert hall.faults()["unplugged"] == ["printer"]


@pytest.mark.parametrize(
    "fault",
    [{"do": "printer_off"}, {"do": "paper_out"}, {"do": "unplug", "cable": "printer"}],
    ids=["power", "paper", "cable"],
)
async def test_a_printer_without_power_paper_or_cable_is_a_trouble_while_it_lasts(
    tmp_path: Path, fault: dict[str, Any]
) -> None:
    loop = asyncio.get_running_loop()
    async with virtual_hall(tmp_path, start=False) as hall:
        await hall.fittings.start()
        hall.daemon.readiness.set(True, 0.0)
        hall.perform({"do": "unplug", "cable": "screen-1", "on": True})
        assert hall.printing_troubles() == []
        began = loop.time()
        hall.perform({**fault, "on": True})
        (trouble,) = hall.printing_troubles()
        assert began <= trouble[0] <= loop.time()
        assert trouble[1] == math.inf
        hall.perform({**fault, "on": False})
        (trouble,) = hall.printing_troubles()
        assert loop.time() < trouble[1] < math.inf
        hall.daemon.readiness.set(False, loop.time())
        assert len(hall.printing_troubles()) == 2


async def test_a_fault_is_seen_and_ends_when_the_doors_close(tmp_path: Path) -> None:
    async with virtual_hall(tmp_path) as hall:
        hall.perform({"do": "unplug", "cable": "screen-2", "on": True})
        hall.perform({"do": "network_down", "minutes": 600})
        hall.perform({"do": "broker_down", "on": True})
        hall.perform({"do": "stuck_key", "at": "caller-2", "key": "recall", "on": True})
        faults = hall.snapshot()["faults"]
        assert faults["unplugged"] == ["screen-2"]
        assert faults["network_down"]
        assert faults["network_back_at"] is not None
        assert faults["broker_down"]
        await hall.close_doors()
        seen = await until(hall, lambda seen: seen["programs"]["broker"]["ready"])
        assert seen["faults"]["unplugged"] == []
        assert not seen["faults"]["network_down"]
        assert not any(key["stuck"] for key in seen["windows"][1]["caller"]["keys"])
        with pytest.raises(BadAction, match="ending"):
            hall.perform({"do": "press", "at": "dispenser", "key": "payment"})


async def test_the_network_comes_back_by_itself_in_hall_time(tmp_path: Path) -> None:
    async with virtual_hall(tmp_path) as hall:
        hall.perform({"do": "network_down", "minutes": 2})  # one second at 120 times the speed
        await until(hall, lambda seen: not seen["faults"]["network_down"])


async def test_what_happens_without_a_network_is_at_the_centre_after_it(tmp_path: Path) -> None:
    async with virtual_hall(tmp_path) as hall:
        await until(hall, lambda seen: lamp(seen["dispenser"], "ready"))
        hall.perform({"do": "network_down", "minutes": 24 * 60})
        hall.perform({"do": "press", "at": "dispenser", "key": "payment"})
        await until(hall, lambda seen: seen["figures"]["papers"] == 1)
        here, there = await asyncio.to_thread(hall.count_events)
        assert there < here, "the ticket waits in the journal"
        hall.perform({"do": "network_down", "minutes": 0})
        async with asyncio.timeout(60):
            while there < here:
                await asyncio.sleep(0.1)
                here, there = await asyncio.to_thread(hall.count_events)
        assert there == here


UP, DOWN = True, False


@pytest.mark.parametrize(
    ("what_changed", "excused"),
    [
        ([], False),
        ([("daemon", DOWN, 19.0)], True),
        ([("daemon", DOWN, 21.0)], True),
        ([("daemon", DOWN, 22.5)], False),
        ([("cable", DOWN, 21.0), ("cable", UP, 21.5)], True),
        ([("cable", DOWN, 15.0), ("cable", UP, 19.0), ("service", DOWN, 15.1)], True),
        ([("daemon", DOWN, 1.0), ("daemon", UP, 2.0), ("service", DOWN, 1.5)], False),
        ([("daemon", DOWN, 10.0), ("daemon", UP, 11.0)], False),
    ],
    ids=[
        "nothing was wrong",
        "the daemon was down",
        "the daemon went down with the press in its hands",
        "the daemon went down when the answer was long due",
        "the cable came out under the finger",
        "the cable was back and the device not found yet",
        "a device that is not found for very long",
        "a daemon that came back and serves the device",
    ],
)
async def test_a_silence_is_excused_only_while_nobody_could_answer(
    tmp_path: Path, what_changed: list[tuple[str, bool, float]], excused: bool
) -> None:
    async with virtual_hall(tmp_path, start=False) as hall:
        panel = hall.fittings.panels["caller-1"]
        histories = {
            "daemon": hall.daemon.readiness,
            "cable": panel.cable,
            "service": panel.service,
        }
        for history in histories.values():
            history.set(UP, 0.5)
        for name, up, at in what_changed:
            histories[name].set(up, at)
        hall.ledger.pressed("caller-1", "start", 20.0)
        hall.ledger.settle(1000.0)
        assert hall.ledger.excused == excused
        assert len(hall.ledger.unanswered) == (not excused)


@pytest.mark.parametrize(
    ("killed", "excused", "decided_at"),
    [
        (None, False, 55.1),
        (54.0, False, 54.0),
        (30.0, False, 66.0),
        (49.5, True, 50.5),
    ],
    ids=[
        "nobody was killed",
        "the daemon was killed when the paper was long due",
        "the daemon was killed over it, and owes it from when it is back",
        "the daemon is back when nobody stands there any more",
    ],
)
async def test_accepted_and_no_paper_is_excused_only_where_nobody_could_print_it(
    tmp_path: Path, killed: float | None, excused: bool, decided_at: float
) -> None:
    """Accepted at 20.1; a daemon that was killed is back a second later."""
    async with virtual_hall(tmp_path, start=False) as hall:
        panel = hall.fittings.panels["dispenser"]
        for history in (hall.daemon.readiness, panel.cable, panel.service):
            history.set(UP, 0.5)
        for loop in (0.0, 100.0):
            hall.timeline.note(120.0 * loop, loop)
        hall.ledger.pressed("dispenser", "payment", 20.0)
        hall.ledger.lamp("dispenser", "accepted", True, 20.1)
        hall.ledger.lamp("dispenser", "accepted", False, 20.4)
        if killed is not None:
            hall.daemon.readiness.set(DOWN, killed)
            hall.daemon.readiness.set(UP, killed + 1.0)
        hall.ledger.settle(decided_at - 0.1)
        assert hall.ledger.unsettled == 1
        hall.ledger.settle(decided_at + 0.1)
        assert hall.ledger.excused == excused
        assert len(hall.ledger.unanswered) == (not excused)


@pytest.mark.parametrize(
    ("action", "why"),
    [
        ({}, "no action None"),
        ({"do": "explode"}, "no action 'explode'"),
        ({"do": ["press"]}, "no action"),
        ({"do": "press", "at": "moon", "key": "payment"}, "no keys at 'moon'"),
        ({"do": "press", "at": ["dispenser"], "key": "payment"}, "no keys at"),
        ({"do": "press", "at": "dispenser", "key": "recall"}, "has no key 'recall'"),
        ({"do": "press", "at": "dispenser", "key": {}}, "has no key"),
        ({"do": "paper_out", "on": "yes"}, "true or false"),
        ({"do": "unplug", "cable": "mains", "on": True}, "no cable 'mains'"),
        ({"do": "network_down", "minutes": -1}, "a number from 0"),
        ({"do": "network_down", "minutes": float("nan")}, "a number from 0"),
        ({"do": "speed", "value": 121}, "1 to 120"),
        ({"do": "speed", "value": True}, "1 to 120"),
        ({"do": "kill", "program": "init"}, "no such program"),
        ({"do": "kill", "program": []}, "no such program"),
    ],
)
async def test_what_no_hand_can_do_is_refused_with_a_reason(
    tmp_path: Path, action: dict[str, Any], why: str
) -> None:
    async with virtual_hall(tmp_path, start=False) as hall:
        with pytest.raises(BadAction, match=why):
            hall.perform(action)
