"""The window bar's driver against a virtual bar on a real pty and on TCP."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from contract.names import DeviceStatus
from edge.drivers import onbon_screen
from edge.drivers.framing import Reassembler
from edge.drivers.health import OncePerChange
from edge.drivers.onbon_bx import CONTROLLER, MAX_FRAME_BYTES, Frame, decode, encode_frame
from edge.drivers.onbon_screen import OnbonConfig, OnbonScreen
from edge.drivers.roles import ScreenLine
from edge.drivers.supervisor import Supervisor
from simulator.devices.bx_screen import ScreenUpdate, VirtualBxScreen
from simulator.devices.endpoint import Endpoint, PtyEndpoint, TcpEndpoint
from tests.integration.drivers.far_end import TIMEOUT, Plug, Statuses, until

CALL = ScreenLine("A012 请到 3 号窗口")


@pytest.fixture(params=["serial", "tcp"])
async def far(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[VirtualBxScreen]:
    endpoint: Endpoint = (
        PtyEndpoint(tmp_path / "bar") if request.param == "serial" else TcpEndpoint()
    )
    device = VirtualBxScreen(endpoint)
    await device.start()
    yield device
    await device.stop()


@asynccontextmanager
async def served(url: str) -> AsyncIterator[tuple[OnbonScreen, Statuses]]:
    """The driver under its supervisor, without back-off."""
    statuses = Statuses()
    once = OncePerChange(statuses)
    config = OnbonConfig(driver="onbon_bx", role="call_screen", window=3, port=url)
    screen = OnbonScreen("bar-3", config, once)
    supervisor = Supervisor(screen, once, sleep=lambda _: asyncio.sleep(0.02))
    task = asyncio.create_task(supervisor.run())
    try:
        yield screen, statuses
        assert supervisor.counters().get("crashed", 0) == 0
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Updates:
    """What the bar showed, one after the other."""

    def __init__(self, far: VirtualBxScreen) -> None:
        self.texts: list[str] = []
        far.on_update(self._note)

    def _note(self, update: ScreenUpdate) -> None:
        self.texts.append(update.text)


async def test_a_line_is_shown_as_it_was_meant(far: VirtualBxScreen) -> None:
    async with served(far.endpoint.url) as (screen, statuses):
        screen.show(ScreenLine(CALL.text, colour="green"))
        await until(lambda: far.text == CALL.text)
        assert far.colour == "green"
        await statuses.reach(DeviceStatus.ONLINE)
        assert statuses.seen == [DeviceStatus.ONLINE]
        (area,) = far.areas.values()
        assert (area.width, area.height, area.effect) == (128, 16, "static")


async def test_of_many_wishes_the_last_one_is_shown_and_few_are_sent(
    far: VirtualBxScreen,
) -> None:
    async with served(far.endpoint.url) as (screen, statuses):
        await statuses.reach(DeviceStatus.ONLINE)
        updates = Updates(far)
        for number in range(1000):
            screen.show(ScreenLine(f"A{number:03}"))
        await until(lambda: far.text == "A999")
        assert len(set(updates.texts)) <= 2  # each is sent again while it is unanswered


async def test_after_a_replug_the_present_line_is_there_again(far: VirtualBxScreen) -> None:
    async with served(far.endpoint.url) as (screen, statuses):
        screen.show(CALL)
        await until(lambda: far.text == CALL.text)
        far.endpoint.unplug()
        await statuses.reach(DeviceStatus.OFFLINE)
        far.areas.clear()
        screen.show(ScreenLine("B001 请到 3 号窗口"))
        screen.show(ScreenLine("B002 请到 3 号窗口"))
        updates = Updates(far)
        far.endpoint.plug()
        await until(lambda: far.text == "B002 请到 3 号窗口")
        await statuses.reach(DeviceStatus.ONLINE)
        assert set(updates.texts) == {"B002 请到 3 号窗口"}, "no backlog"


async def test_a_recall_goes_dark_and_bright_again(far: VirtualBxScreen) -> None:
    async with served(far.endpoint.url) as (screen, _):
        screen.show(CALL)
        await until(lambda: far.text == CALL.text)
        updates = Updates(far)
        screen.show(ScreenLine(CALL.text, blink=True))
        # A text is sent again while it is unanswered.
        await until(lambda: len(list(itertools.groupby(updates.texts))) >= 7)
        different = [text for text, _ in itertools.groupby(updates.texts)]
        assert different == [CALL.text, *[" ", CALL.text] * 3]


async def test_a_new_call_ends_the_blinking_of_the_old_one(far: VirtualBxScreen) -> None:
    async with served(far.endpoint.url) as (screen, _):
        updates = Updates(far)
        screen.show(ScreenLine(CALL.text, blink=True))
        await until(lambda: updates.texts[-2:] == [CALL.text, " "])
        screen.show(ScreenLine("B002"))
        await until(lambda: far.text == "B002")
        at = updates.texts.index("B002")
        assert CALL.text not in updates.texts[at:]


async def test_a_bar_that_answers_with_an_error_is_at_fault_until_it_works(
    far: VirtualBxScreen, caplog: pytest.LogCaptureFixture
) -> None:
    far.error_reply = 0x05
    async with served(far.endpoint.url) as (screen, statuses):
        await statuses.reach(DeviceStatus.FAULT)
        assert screen.counters()["replies_error"] >= 3
        assert "a3 06 05 00 00" in caplog.text, "unverified values are logged as they came"
        far.error_reply = None
        screen.show(CALL)
        await statuses.reach(DeviceStatus.ONLINE)
        assert far.text == CALL.text


async def test_a_bar_that_goes_on_answering_with_errors_does_not_fill_the_log(
    far: VirtualBxScreen, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onbon_screen, "_RETRY_SECONDS", 0.02)
    far.error_reply = 0x05
    async with served(far.endpoint.url) as (screen, _):
        await until(lambda: screen.counters().get("replies_error", 0) >= 30)
    assert 1 <= caplog.text.count("answered with error") <= 3, "until it is known to be at fault"


async def test_a_call_whose_bright_frame_was_lost_is_not_left_in_the_dark(
    far: VirtualBxScreen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onbon_screen, "_REFRESH_SECONDS", 600.0)
    async with served(far.endpoint.url) as (screen, statuses):
        await statuses.reach(DeviceStatus.ONLINE)
        updates = Updates(far)
        screen.show(ScreenLine(CALL.text, blink=True))

        def dark_for_the_last_time() -> bool:
            since_call = itertools.dropwhile(lambda text: text != CALL.text, updates.texts)
            return [text.strip() for text, _ in itertools.groupby(since_call)].count("") == 3

        await until(dark_for_the_last_time)
        far.power_off()
        await statuses.reach(DeviceStatus.OFFLINE)
        far.power_on()
        await until(lambda: far.text == CALL.text)


async def test_a_silent_bar_is_offline_and_the_line_is_there_when_it_answers(
    far: VirtualBxScreen,
) -> None:
    async with served(far.endpoint.url) as (screen, statuses):
        await statuses.reach(DeviceStatus.ONLINE)
        far.power_off()
        screen.show(CALL)
        await statuses.reach(DeviceStatus.OFFLINE)
        assert screen.counters()["replies_missing"] >= 3
        far.power_on()
        await until(lambda: far.text == CALL.text)
        await statuses.reach(DeviceStatus.ONLINE)


async def test_the_late_answer_to_an_old_line_does_not_confirm_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A card that is busy answers the first frame only when the second is on its way."""
    plug = Plug(tmp_path)
    answer = encode_frame(Frame(CONTROLLER, 1, b"\xa3\x06\x00\x00\x00"))

    async def shown(text: str) -> None:
        """Return when a frame with this text was received."""
        data = b""
        async with asyncio.timeout(TIMEOUT):
            while text.encode("gb2312") not in data or not data.endswith(b"\x5a"):
                data += await plug.receive(1)

    try:
        async with served(plug.path) as (screen, statuses):
            screen.show(ScreenLine("A001"))
            await shown("A001")
            # From the second line on, a busy machine must not make our answers late as well.
            monkeypatch.setattr(onbon_screen, "_REPLY_SECONDS", 3.0)
            screen.show(ScreenLine("A002"))
            await shown("A002")
            plug.send(answer)
            await until(lambda: screen.counters().get("replies_unexpected", 0) == 1)
            assert screen.counters().get("shown", 0) == 0
            assert DeviceStatus.ONLINE not in statuses.seen
            await shown("A002")
            plug.send(answer)
            await statuses.reach(DeviceStatus.ONLINE)
            assert screen.counters()["shown"] == 1
    finally:
        plug.pull()


async def test_two_late_answers_to_an_old_line_do_not_confirm_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was sent twice, since the bar took its time; and the new line is lost on the wire."""
    plug = Plug(tmp_path)
    answer = encode_frame(Frame(CONTROLLER, 1, b"\xa3\x06\x00\x00\x00"))
    stream: Reassembler[Frame] = Reassembler(decode, MAX_FRAME_BYTES)

    async def received(text: str) -> None:
        async with asyncio.timeout(TIMEOUT):
            while True:
                for frame in stream.feed(await plug.receive(1)):
                    if isinstance(frame, Frame) and text.encode() in frame.data:
                        return

    try:
        async with served(plug.path) as (screen, statuses):
            screen.show(ScreenLine("A001"))
            await received("A001")
            await received("A001")
            monkeypatch.setattr(onbon_screen, "_REPLY_SECONDS", 1.0)
            plug.send(answer)
            await statuses.reach(DeviceStatus.ONLINE)
            screen.show(ScreenLine("A002"))
            await received("A002")
            plug.send(answer)
            await received("A002")
            assert screen.counters()["shown"] == 1
            plug.send(answer)
            await until(lambda: screen.counters()["shown"] == 2)
    finally:
        plug.pull()


async def test_noise_and_losses_delay_a_line_and_never_stop_it(far: VirtualBxScreen) -> None:
    far.endpoint.set_faults(lose=0.002, corrupt=0.001, noise_per_second=20)
    async with served(far.endpoint.url) as (screen, _):
        for number in range(5):
            line = ScreenLine(f"A{number:03} 请到 3 号窗口")
            screen.show(line)
            await until(lambda line=line: far.text == line.text)  # type: ignore[misc]
        far.endpoint.set_faults(lose=0.0, corrupt=0.0, noise_per_second=0.0)


async def test_byte_by_byte_delivery_changes_nothing(far: VirtualBxScreen) -> None:
    far.endpoint.set_faults(one_byte_at_a_time=True)
    async with served(far.endpoint.url) as (screen, _):
        screen.show(CALL)
        await until(lambda: far.text == CALL.text)


async def test_showing_on_an_absent_bar_returns_at_once(tmp_path: Path) -> None:
    async with served(str(tmp_path / "absent")) as (screen, statuses):
        for number in range(100):
            screen.show(ScreenLine(f"A{number:03}"))
        await statuses.reach(DeviceStatus.OFFLINE)


async def test_after_a_clean_stop_no_call_stays_on_the_bar(far: VirtualBxScreen) -> None:
    async with served(far.endpoint.url) as (screen, _):
        screen.show(CALL)
        await until(lambda: far.text == CALL.text)
    assert not far.text.strip(), "the port was closed when the bar had answered, not before"


async def test_stopping_frees_the_port(far: VirtualBxScreen) -> None:
    for _ in range(3):
        async with served(far.endpoint.url) as (_, statuses):
            async with asyncio.timeout(TIMEOUT):
                await statuses.reach(DeviceStatus.ONLINE)
