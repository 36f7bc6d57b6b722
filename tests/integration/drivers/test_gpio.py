"""Keys and lamps by gpiozero: on its mock pins, and on pigpio's client over a real socket."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from gpiozero.pins.mock import MockFactory

from contract.names import DeviceStatus
from edge.drivers.gpio import GpioConfig, GpioKeypad, _Edges
from edge.drivers.roles import LampPattern
from simulator.devices.pigpiod import VirtualPigpiod
from tests.integration.drivers.watch import TIMEOUT, Log, supervised

KEY, OTHER_KEY, LAMP = 17, 27, 22


def config(**more: Any) -> GpioConfig:
    return GpioConfig.model_validate(
        {
            "driver": "gpio",
            "role": "dispenser",
            "keys": {"payment": KEY, "enquiry": OTHER_KEY},
            "lamps": {"refused": LAMP},
        }
        | more
    )


@pytest.fixture
def board() -> Iterator[MockFactory]:
    factory = MockFactory()
    yield factory
    factory.reset()


def keypad_on(log: Log, make_factory: Callable[[], Any] | None = None, **more: Any) -> GpioKeypad:
    keypad = GpioKeypad("buttons", config(**more), log.on_status, make_factory=make_factory)
    keypad.on_press(log.press_of("buttons"))
    return keypad


async def in_thread(work: Callable[[], None]) -> None:
    """As gpiozero's own threads would."""
    await asyncio.get_running_loop().run_in_executor(None, work)


def bounce(pin: Any, *, ends_high: bool) -> None:
    """Edges as fast as Python makes them."""
    for _ in range(9):
        pin.drive_low()
        pin.drive_high()
    if not ends_high:
        pin.drive_low()


async def test_fifty_noisy_presses_are_fifty(board: MockFactory) -> None:
    log = Log()
    keypad = keypad_on(log, lambda: board)
    async with supervised([keypad], log):
        await log.status("buttons", DeviceStatus.ONLINE)
        pin = board.pin(KEY)
        for count in range(1, 51):
            await in_thread(lambda: bounce(pin, ends_high=False))
            await log.until(lambda count=count: len(log.presses) == count)
            await in_thread(lambda: bounce(pin, ends_high=True))
            await asyncio.sleep(0.03)  # a person's finger is away for longer
        assert log.presses == [("buttons", "payment")] * 50
        assert keypad.counters()["presses"] == 50
        assert keypad.counters()["bounces"] > 0
        assert keypad.counters()["edges_dropped"] == 0


async def test_a_spike_is_no_press(board: MockFactory) -> None:
    log = Log()
    keypad = keypad_on(log, lambda: board)
    async with supervised([keypad], log):
        await log.status("buttons", DeviceStatus.ONLINE)
        await in_thread(lambda: bounce(board.pin(KEY), ends_high=True))
        board.pin(OTHER_KEY).drive_low()
        await log.until(lambda: bool(log.presses))
    assert log.presses == [("buttons", "enquiry")]


@pytest.mark.parametrize("active_low", [True, False])
@pytest.mark.parametrize("pull", [True, False])
async def test_keys_to_ground_and_to_3v3_with_and_without_the_pis_resistor(
    board: MockFactory, active_low: bool, pull: bool
) -> None:
    log = Log()
    pin = board.pin(KEY)
    if active_low:
        pin.drive_high()  # the board's own resistor
        board.pin(OTHER_KEY).drive_high()
    keypad = keypad_on(log, lambda: board, keys_active_low=active_low, pull=pull)
    async with supervised([keypad], log):
        await log.status("buttons", DeviceStatus.ONLINE)
        assert pin.pull == ({True: "up", False: "down"}[active_low] if pull else "floating")
        pin.drive_low() if active_low else pin.drive_high()
        await log.until(lambda: log.presses == [("buttons", "payment")])


@pytest.mark.parametrize("active_low", [True, False])
async def test_a_blinking_lamp_changes_and_a_dark_one_is_dark(
    board: MockFactory, active_low: bool
) -> None:
    log = Log()
    keypad = keypad_on(log, lambda: board, lamps_active_low=active_low)
    async with supervised([keypad], log):
        await log.status("buttons", DeviceStatus.ONLINE)
        pin = board.pin(LAMP)
        assert pin.state is active_low
        keypad.set_lamp("not wired", LampPattern.ON)
        keypad.set_lamp("refused", LampPattern.BLINK)
        async with asyncio.timeout(TIMEOUT):
            while len(pin.states) < 5:
                await asyncio.sleep(0.01)
        keypad.set_lamp("refused", LampPattern.OFF)
        async with asyncio.timeout(TIMEOUT):
            while bool(pin.state) is not active_low:
                await asyncio.sleep(0.01)


async def test_pins_are_free_again_after_a_run_and_of_two_keypads_one_may_end(
    board: MockFactory,
) -> None:
    log = Log()
    other = GpioKeypad(
        "other", config(keys={"next": 5}, lamps={}), log.on_status, make_factory=lambda: board
    )
    other.on_press(log.press_of("other"))
    async with supervised([other], log):
        for _ in range(2):
            first = Log()
            async with supervised([keypad_on(first, lambda: board)], first):
                await first.status("buttons", DeviceStatus.ONLINE)
        await log.status("other", DeviceStatus.ONLINE)
        board.pin(5).drive_low()
        await log.until(lambda: log.presses == [("other", "next")])


async def test_a_pin_that_is_taken_is_an_offline_device_and_no_crash(board: MockFactory) -> None:
    log = Log()
    async with supervised([keypad_on(log, lambda: board)], log):
        await log.status("buttons", DeviceStatus.ONLINE)
        second = GpioKeypad("second", config(), log.on_status, make_factory=lambda: board)
        with pytest.raises(OSError, match="GPIO22"):
            await second.run()
        assert log.last("second") is DeviceStatus.OFFLINE


async def test_a_machine_without_pins_is_an_offline_device_that_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "nonsense")
    log = Log()
    with pytest.raises(OSError, match="nonsense"):
        await keypad_on(log).run()
    assert log.last("buttons") is DeviceStatus.OFFLINE


async def test_keys_whose_edges_are_lost_are_heard_by_reading_their_pins(
    board: MockFactory,
) -> None:
    log = Log()
    async with supervised([keypad_on(log, lambda: board)], log):
        await log.status("buttons", DeviceStatus.ONLINE)
        pins = {"payment": board.pin(KEY), "enquiry": board.pin(OTHER_KEY)}
        for pin in pins.values():
            pin.when_changed = None
        for key in ("payment", "enquiry", "payment", "enquiry"):
            heard = len(log.presses)
            # With this one's going down, the release of the one before is read.
            pins[key].drive_low()
            await log.until(lambda heard=heard: len(log.presses) > heard)
            pins[key].drive_high()
        assert [key for _, key in log.presses] == ["payment", "enquiry"] * 2


async def test_a_flood_of_edges_is_bounded_and_ends_with_the_right_level() -> None:
    edges = _Edges()
    edges.open()

    def flood() -> None:
        for count in range(10_001):
            edges.put("payment", count % 2 == 0)

    await in_thread(flood)
    async with asyncio.timeout(TIMEOUT):
        await edges.ready.wait()
    taken = edges.take()
    assert len(taken) == 512
    assert taken[-1][:2] == ("payment", True)
    assert edges.dropped == 10_001 - 512


async def test_an_edge_after_the_end_is_nobodys() -> None:
    edges = _Edges()
    edges.open()
    edges.close()
    await in_thread(lambda: edges.put("payment", True))
    assert edges.count == 0


# --- remote pins ------------------------------------------------------------------------------


async def test_remote_pins_bring_presses_and_light_lamps() -> None:
    log = Log()
    far = VirtualPigpiod()
    await far.start()
    try:
        keypad = keypad_on(log, pigpio=f"127.0.0.1:{far.port}")
        async with supervised([keypad], log):
            await log.status("buttons", DeviceStatus.ONLINE)
            await far.press(KEY, 0.1, bounce=0.005)
            await log.until(lambda: log.presses == [("buttons", "payment")])
            keypad.set_lamp("refused", LampPattern.ON)
            async with asyncio.timeout(TIMEOUT):
                while not far.level(LAMP):
                    await asyncio.sleep(0.01)
    finally:
        await far.stop()


async def test_the_environment_chooses_a_daemon_where_the_configuration_names_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = Log()
    far = VirtualPigpiod()
    await far.start()
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "pigpio")
    monkeypatch.setenv("PIGPIO_ADDR", "127.0.0.1")
    monkeypatch.setenv("PIGPIO_PORT", str(far.port))
    try:
        async with supervised([keypad_on(log)], log):
            await log.status("buttons", DeviceStatus.ONLINE)
            await far.press(KEY, 0.1)
            await log.until(lambda: log.presses == [("buttons", "payment")])
    finally:
        await far.stop()


async def test_a_lost_daemon_is_offline_and_heals_with_lamps_and_keys() -> None:
    log = Log()
    far = VirtualPigpiod()
    await far.start()
    try:
        keypad = keypad_on(log, pigpio=f"127.0.0.1:{far.port}")
        async with supervised([keypad], log):
            for round_ in range(1, 4):
                await log.status("buttons", DeviceStatus.ONLINE)
                await far.press(KEY, 0.1)
                await log.until(lambda n=round_: len(log.presses) == n)
                far.unplug()
                await log.status("buttons", DeviceStatus.OFFLINE)
                keypad.set_lamp("refused", LampPattern.ON)
                far.plug()
            await log.status("buttons", DeviceStatus.ONLINE)
            async with asyncio.timeout(TIMEOUT):
                while not far.level(LAMP):
                    await asyncio.sleep(0.01)
        # A lost connection leaves no thread that spins, and none that waits.
        async with asyncio.timeout(TIMEOUT):
            while any(
                thread.name.startswith(("gpio-", "pigpio-")) for thread in threading.enumerate()
            ):
                await asyncio.sleep(0.01)
    finally:
        await far.stop()


async def test_reports_that_end_alone_are_offline_and_come_back() -> None:
    """Commands still work: without reports, a tap between two looks at the pins would be lost."""
    log = Log()
    far = VirtualPigpiod()
    await far.start()
    try:
        async with supervised([keypad_on(log, pigpio=f"127.0.0.1:{far.port}")], log):
            await log.status("buttons", DeviceStatus.ONLINE)
            far.end_reports()
            offline = ("buttons", DeviceStatus.OFFLINE)
            await log.until(lambda: offline in log.statuses)
            await log.status("buttons", DeviceStatus.ONLINE)
            reports = far.counters["reports"]
            await far.press(KEY, 0.1)
            await log.until(lambda: log.presses == [("buttons", "payment")])
            assert far.counters["reports"] == reports + 2
    finally:
        await far.stop()


async def test_a_daemon_that_freezes_is_offline_and_does_not_hold_the_event_loop() -> None:
    """Connected, and then nothing is answered any more: pigpio's client would wait for ever."""
    log = Log()
    far = VirtualPigpiod()
    await far.start()
    thaw = asyncio.Event()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_far, from_far = None, None
        try:
            from_far, to_far = await asyncio.open_connection("127.0.0.1", far.port)
            await asyncio.gather(pump(reader, to_far), pump(from_far, writer))
        finally:
            writer.close()
            if to_far is not None:
                to_far.close()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(4096):
            await thaw.wait()
            with suppress(ConnectionError):
                writer.write(data)
                await writer.drain()
        writer.close()

    thaw.set()
    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        async with supervised([keypad_on(log, pigpio=f"127.0.0.1:{port}")], log):
            await log.status("buttons", DeviceStatus.ONLINE)
            thaw.clear()
            ticks = 0
            while log.last("buttons") is not DeviceStatus.OFFLINE:
                await asyncio.sleep(0.01)
                ticks += 1
                assert ticks < 1500
            assert ticks > 10  # the event loop lived on meanwhile
            thaw.set()
            await log.status("buttons", DeviceStatus.ONLINE)
            await far.press(OTHER_KEY, 0.1)
            await log.until(lambda: log.presses == [("buttons", "enquiry")])
    finally:
        thaw.set()
        server.close()
        await far.stop()


async def test_no_daemon_is_an_offline_device_and_prints_nothing(
    capfd: pytest.CaptureFixture[str],
) -> None:
    log = Log()
    far = VirtualPigpiod()
    await far.start()
    port = far.port
    await far.stop()
    with pytest.raises(OSError, match="refused"):
        await keypad_on(log, pigpio=f"127.0.0.1:{port}").run()
    assert log.last("buttons") is DeviceStatus.OFFLINE
    assert capfd.readouterr().out == ""
