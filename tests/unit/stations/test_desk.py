"""A window's desk: every key is answered, the screen shows what is true, the evaluator asks."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest

from contract.commands import ConfirmPrint, IssueTicket, OpenDay, SignOn
from contract.events import TicketRated, TicketUnrated
from contract.names import Language, Rating, WindowState
from edge.clock import ManualClock
from edge.controller import Controller
from edge.drivers.roles import LampPattern
from edge.queue.estimate import QueueLength
from edge.queue.plan import WaitEstimate
from edge.queue.state import HallState
from edge.stations.desk import MOMENT_SECONDS, Desk
from edge.stations.waits import Waits
from tests.support.devices import MemoryKeypad, MemoryScreen
from tests.support.hall import MONDAY, MORNING, make_plan, ulid
from tests.support.memory_log import MemoryLog

RATING_SECONDS = 10.0


@dataclass
class Scene:
    controller: Controller
    clock: ManualClock
    log: MemoryLog
    desk: Desk
    caller: MemoryKeypad
    evaluator: MemoryKeypad
    screen: MemoryScreen

    async def customer(self, n: int) -> None:
        await self.controller.submit(IssueTicket(ticket=ulid(n), service="a"))
        await self.controller.submit(ConfirmPrint(ticket=ulid(n)))

    async def serve(self, n: int) -> None:
        await self.customer(n)
        for key in ("call_next", "start", "finish"):
            assert await self.caller.press_and_see(key) == "accepted", key


def desk_of(
    controller: Controller,
    clock: ManualClock,
    caller: MemoryKeypad,
    evaluator: MemoryKeypad,
    screen: MemoryScreen,
) -> Desk:
    return Desk(
        controller,
        clock,
        1,
        clerk="1001",
        callers=[caller],
        evaluators=[evaluator],
        screens=[screen],
        language=Language.ZH,
        rating_seconds=RATING_SECONDS,
        waits=Waits(controller, clock),
    )


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    log, clock = MemoryLog(), ManualClock(MORNING)
    controller = Controller(make_plan({1: "a"}), HallState(), 0, log, clock)
    caller, evaluator, screen = MemoryKeypad("caller"), MemoryKeypad("evaluator"), MemoryScreen()
    desk = desk_of(controller, clock, caller, evaluator, screen)
    tasks = [asyncio.create_task(controller.run()), asyncio.create_task(desk.run())]
    await controller.submit(OpenDay(business_day=MONDAY))
    await controller.submit(SignOn(window=1, clerk="1001"))
    desk.refresh()
    yield Scene(controller, clock, log, desk, caller, evaluator, screen)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def settle(clock: ManualClock, seconds: float) -> None:
    for _ in range(5):
        await asyncio.sleep(0)
    clock.advance(seconds)
    for _ in range(20):
        await asyncio.sleep(0)


async def test_call_next_shows_the_number_and_lights_accepted(scene: Scene) -> None:
    await scene.customer(0)
    assert await scene.caller.press_and_see("call_next") == "accepted"
    assert scene.screen.text == "A001 请到1号窗口"
    assert scene.screen.shown[-1].blink


async def test_an_idle_screen_tells_how_many_wait_and_how_long_as_a_range(scene: Scene) -> None:
    for n in range(3):
        await scene.customer(n)
    scene.desk.refresh()
    text = re.fullmatch(r"等候3人 约(\d+)-(\d+)分钟", scene.screen.text)
    assert text is not None, scene.screen.text
    assert int(text[1]) < int(text[2])


async def test_an_estimator_that_fails_leaves_the_screen_and_the_keys_alive(scene: Scene) -> None:
    class Broken(QueueLength):
        def estimate(self, *_: object, **__: object) -> WaitEstimate:  # type: ignore[override]
            raise ZeroDivisionError

    await scene.customer(0)
    await scene.customer(1)
    scene.controller.plan = replace(scene.controller.plan, estimator=Broken())
    scene.desk._waits.forget()
    scene.desk.refresh()
    assert scene.screen.text == "等候2人"
    assert await scene.caller.press_and_see("call_next") == "accepted"


async def test_a_call_with_nobody_waiting_is_answered_by_refused(scene: Scene) -> None:
    assert await scene.caller.press_and_see("call_next") == "refused"


async def test_a_recall_is_shown_again_though_the_text_is_the_same(scene: Scene) -> None:
    await scene.customer(0)
    await scene.caller.press_and_see("call_next")
    shown = len(scene.screen.shown)
    assert await scene.caller.press_and_see("recall") == "accepted"
    assert len(scene.screen.shown) == shown + 1


async def test_the_pause_key_goes_back_and_forth(scene: Scene) -> None:
    assert await scene.caller.press_and_see("pause") == "accepted"
    assert scene.screen.text == "暂停服务"
    scene.clock.advance(MOMENT_SECONDS)
    assert await scene.caller.press_and_see("pause") == "accepted"
    assert scene.controller.state.window(1).state is WindowState.IDLE


async def test_the_sign_on_key_signs_the_window_s_clerk_off_and_on(scene: Scene) -> None:
    assert await scene.caller.press_and_see("sign_on") == "accepted"
    assert scene.screen.text == "窗口关闭"
    scene.clock.advance(MOMENT_SECONDS)
    assert await scene.caller.press_and_see("sign_on") == "accepted"
    assert scene.controller.state.window(1).clerk == "1001"


async def test_the_park_key_sets_aside_and_takes_back(scene: Scene) -> None:
    await scene.customer(0)
    for key in ("call_next", "start", "park"):
        assert await scene.caller.press_and_see(key) == "accepted"
    assert scene.controller.state.window(1).state is WindowState.IDLE
    scene.clock.advance(MOMENT_SECONDS)
    assert await scene.caller.press_and_see("park") == "accepted"
    assert scene.controller.state.window(1).state is WindowState.SERVING


@pytest.mark.parametrize("key", ["pause", "sign_on", "park"])
async def test_a_double_tap_does_not_take_back_what_it_did(scene: Scene, key: str) -> None:
    await scene.customer(0)
    for before in ("call_next", "start"):
        assert await scene.caller.press_and_see(before) == "accepted"
    if key != "park":
        assert await scene.caller.press_and_see("finish") == "accepted"
    assert await scene.caller.press_and_see(key) == "accepted"
    state = scene.controller.state.window(1)
    scene.clock.advance(1.0)
    assert await scene.caller.press_and_see(key) == "refused"
    assert scene.controller.state.window(1) == state


async def test_a_double_tap_announces_once(scene: Scene) -> None:
    await scene.customer(0)
    assert await scene.caller.press_and_see("call_next") == "accepted"
    assert await scene.caller.press_and_see("recall") == "accepted"
    assert await scene.caller.press_and_see("recall") == "refused"
    scene.clock.advance(MOMENT_SECONDS)
    assert await scene.caller.press_and_see("recall") == "accepted"


ALL_KEYS = ("call_next", "recall", "start", "finish", "pause", "sign_on")


async def test_an_elbow_whose_keys_are_seen_at_once_does_nothing(scene: Scene) -> None:
    await scene.customer(0)
    before = scene.controller.state
    for key in ALL_KEYS:
        scene.caller.press(key, seconds_later=0.0)
    async with asyncio.timeout(20):
        while scene.caller.history.count(("refused", LampPattern.FLASH)) < len(ALL_KEYS):
            await asyncio.sleep(0)
    assert scene.controller.state == before


@pytest.mark.parametrize("gap", [0.01, 0.03, 0.09])
async def test_of_an_elbow_whose_keys_go_down_one_by_one_only_the_first_counts(
    scene: Scene, gap: float
) -> None:
    await scene.customer(0)
    answers = [await scene.caller.press_and_see(key, seconds_later=gap) for key in ALL_KEYS]
    assert answers == ["accepted", *["refused"] * 5]
    assert scene.controller.state.window(1).state is WindowState.CALLING


async def test_a_quick_hand_is_no_elbow(scene: Scene) -> None:
    await scene.customer(0)
    for key in ("call_next", "start", "finish"):
        assert await scene.caller.press_and_see(key, seconds_later=0.15) == "accepted"


async def test_one_key_that_is_tapped_fast_is_no_elbow(scene: Scene) -> None:
    await scene.customer(0)
    await scene.customer(1)
    assert await scene.caller.press_and_see("call_next", seconds_later=0.15) == "accepted"
    assert await scene.caller.press_and_see("start", seconds_later=0.15) == "accepted"
    assert await scene.caller.press_and_see("start", seconds_later=0.05) == "refused"
    assert await scene.caller.press_and_see("call_next", seconds_later=0.15) == "accepted"


async def test_a_key_that_means_nothing_is_refused(scene: Scene) -> None:
    assert await scene.caller.press_and_see("coffee") == "refused"


async def test_the_evaluator_asks_at_finish_and_thanks_for_the_rating(scene: Scene) -> None:
    await scene.serve(0)
    assert scene.evaluator.lamp("asking") is LampPattern.BLINK
    assert await scene.evaluator.press_and_see("satisfied") == "accepted"
    assert scene.evaluator.lamp("asking") is LampPattern.OFF
    assert ("thanks", LampPattern.FLASH) in scene.evaluator.history
    rated = [event for event in scene.log.events if isinstance(event, TicketRated)]
    assert [(event.ticket, event.rating) for event in rated] == [(ulid(0), Rating.SATISFIED)]


async def test_of_five_presses_one_counts_and_all_are_answered(scene: Scene) -> None:
    await scene.serve(0)
    answers = [await scene.evaluator.press_and_see("dissatisfied") for _ in range(5)]
    assert answers == ["accepted"] + 4 * ["refused"]


async def test_silence_is_not_rated_when_the_time_is_over(scene: Scene) -> None:
    await scene.serve(0)
    await settle(scene.clock, RATING_SECONDS + 0.1)
    assert scene.evaluator.lamp("asking") is LampPattern.OFF
    assert isinstance(scene.log.events[-1], TicketUnrated)
    assert await scene.evaluator.press_and_see("satisfied") == "refused"


async def test_each_ticket_is_asked_about_for_its_own_time(scene: Scene) -> None:
    await scene.serve(0)
    await settle(scene.clock, 4.0)
    await scene.serve(1)  # ends the question about the first
    await settle(scene.clock, 7.0)
    assert scene.controller.state.window(1).asking == ulid(1)
    await settle(scene.clock, 3.5)
    assert scene.controller.state.window(1).asking is None


async def test_after_a_restart_the_evaluator_asks_again_and_the_time_ends(scene: Scene) -> None:
    await scene.serve(0)
    state, log, clock = scene.controller.state, MemoryLog(), ManualClock(MORNING)
    controller = Controller(make_plan({1: "a"}), state, len(scene.log.events), log, clock)
    caller, evaluator, screen = MemoryKeypad(), MemoryKeypad(), MemoryScreen()
    desk = desk_of(controller, clock, caller, evaluator, screen)
    tasks = [asyncio.create_task(controller.run()), asyncio.create_task(desk.run())]
    await settle(clock, RATING_SECONDS - 0.1)
    assert evaluator.lamp("asking") is LampPattern.BLINK
    assert controller.state.window(1).asking == ulid(0)
    await settle(clock, 0.2)
    assert evaluator.lamp("asking") is LampPattern.OFF
    assert [type(event) for event in log.events] == [TicketUnrated]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_full_disk_is_said_on_the_screen_and_taken_back(scene: Scene) -> None:
    await scene.customer(0)
    scene.log.full = True
    assert await scene.caller.press_and_see("call_next") == "refused"
    assert scene.screen.text == "系统故障 请稍候"
    scene.log.full = False
    assert await scene.caller.press_and_see("call_next") == "accepted"
    assert scene.screen.text.startswith("A001")


async def test_somebody_who_leans_on_the_keys_gets_an_answer_to_every_press(scene: Scene) -> None:
    for _ in range(100):
        scene.caller.press("call_next")
    async with asyncio.timeout(5):
        while sum(lamp == "refused" for lamp, _ in scene.caller.history) < 100:
            await asyncio.sleep(0)
