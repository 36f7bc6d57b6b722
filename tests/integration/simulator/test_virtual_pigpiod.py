"""The virtual Pi against the real pigpio client and gpiozero on top of it."""

import asyncio
import signal
import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import gpiozero
import pigpio
import pytest
from gpiozero.pins.pigpio import PiGPIOFactory

from simulator.devices import VirtualPigpiod

Until = Callable[[VirtualPigpiod, Callable[[], bool]], Awaitable[None]]


@pytest.fixture
async def board() -> AsyncIterator[VirtualPigpiod]:
    device = VirtualPigpiod(resistors=(17,))
    await device.start()
    yield device
    await device.stop()


@pytest.fixture
async def factory(board: VirtualPigpiod) -> AsyncIterator[PiGPIOFactory]:
    """gpiozero's pins on the virtual board. Its calls block: they belong in ``to_thread``."""
    made = await asyncio.to_thread(PiGPIOFactory, "127.0.0.1", board.port)
    yield made
    await asyncio.to_thread(made.close)


class Presses:
    """Edges of one gpiozero button, handed over from its thread."""

    def __init__(self) -> None:
        self.edges: asyncio.Queue[str] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()

    def watch(self, button: gpiozero.Button) -> None:
        button.when_pressed = lambda: self._put("pressed")
        button.when_released = lambda: self._put("released")

    def _put(self, edge: str) -> None:
        self._loop.call_soon_threadsafe(self.edges.put_nowait, edge)

    async def next(self) -> str:
        async with asyncio.timeout(10):
            return await self.edges.get()


async def make(kind: type, *args: Any, **kwargs: Any) -> Any:
    return await asyncio.to_thread(kind, *args, **kwargs)


async def test_gpiozero_takes_it_for_a_raspberry_pi_4(factory: PiGPIOFactory) -> None:
    info = await asyncio.to_thread(lambda: factory.board_info)
    assert (info.model, info.memory) == ("4B", 4096)


async def test_a_button_sees_every_press_and_release(
    board: VirtualPigpiod, factory: PiGPIOFactory
) -> None:
    button = await make(gpiozero.Button, 17, pull_up=True, bounce_time=None, pin_factory=factory)
    presses = Presses()
    presses.watch(button)
    for _ in range(5):
        await board.press(17, 0.01)
        assert [await presses.next(), await presses.next()] == ["pressed", "released"]
    assert presses.edges.empty()
    await asyncio.to_thread(button.close)


async def test_without_a_resistor_the_client_misses_the_first_edge_as_on_a_real_pi(
    board: VirtualPigpiod, factory: PiGPIOFactory
) -> None:
    button = await make(gpiozero.Button, 26, pull_up=True, pin_factory=factory)
    presses = Presses()
    presses.watch(button)
    await board.press(26, 0.01)
    await board.press(26, 0.01)
    assert [await presses.next(), await presses.next()] == ["pressed", "released"]
    assert presses.edges.empty()
    await asyncio.to_thread(button.close)


async def test_two_buttons_don_t_hear_each_other(
    board: VirtualPigpiod, factory: PiGPIOFactory
) -> None:
    one = await make(gpiozero.Button, 5, pin_factory=factory)
    other = await make(gpiozero.Button, 6, pin_factory=factory)
    heard = {5: Presses(), 6: Presses()}
    heard[5].watch(one)
    heard[6].watch(other)
    await board.press(6, 0.01)
    assert [await heard[6].next(), await heard[6].next()] == ["pressed", "released"]
    assert heard[5].edges.empty()
    await asyncio.to_thread(one.close)
    await asyncio.to_thread(other.close)


async def test_a_bouncing_contact_makes_many_edges(
    board: VirtualPigpiod, factory: PiGPIOFactory
) -> None:
    button = await make(gpiozero.Button, 17, pin_factory=factory)
    presses = Presses()
    presses.watch(button)
    await board.press(17, 0.02, bounce=0.01)
    edges = [await presses.next() for _ in range(6)]
    assert edges == ["pressed", "released"] * 3
    await asyncio.to_thread(button.close)


async def test_pulls_decide_what_an_open_contact_reads(
    board: VirtualPigpiod, factory: PiGPIOFactory
) -> None:
    high = await make(gpiozero.Button, 22, pull_up=True, pin_factory=factory)
    low = await make(gpiozero.Button, 23, pull_up=False, pin_factory=factory)
    assert board.level(22)
    assert not board.level(23)
    assert not await asyncio.to_thread(lambda: high.is_pressed or low.is_pressed)
    board.hold(22)
    assert await asyncio.to_thread(lambda: high.is_pressed)
    await asyncio.to_thread(high.close)
    await asyncio.to_thread(low.close)


async def test_a_lamp_is_seen_on_and_off_with_times(
    board: VirtualPigpiod, factory: PiGPIOFactory
) -> None:
    seen: list[tuple[int, bool]] = []
    board.on_output(lambda change: seen.append((change.pin, change.level)))
    led = await make(gpiozero.LED, 27, pin_factory=factory)
    await asyncio.to_thread(led.on)
    assert board.level(27)
    assert board.is_output(27)
    await asyncio.to_thread(led.off)
    assert not board.level(27)
    await asyncio.to_thread(led.on)
    await asyncio.to_thread(led.close)
    assert seen[:3] == [(27, True), (27, False), (27, True)]
    assert not board.is_output(27)
    times = [change.at for change in board.history]
    assert times == sorted(times)


async def test_an_active_low_lamp_is_driven_low(
    board: VirtualPigpiod, factory: PiGPIOFactory
) -> None:
    lamp = await make(gpiozero.DigitalOutputDevice, 24, active_high=False, pin_factory=factory)
    assert board.level(24)
    await asyncio.to_thread(lamp.on)
    assert not board.level(24)
    await asyncio.to_thread(lamp.close)


async def test_a_dimmed_lamp_counts_as_on(board: VirtualPigpiod, factory: PiGPIOFactory) -> None:
    lamp = await make(gpiozero.PWMLED, 18, pin_factory=factory)

    def dim() -> float:
        lamp.value = 0.25
        return float(lamp.value)

    assert await asyncio.to_thread(dim) == 0.25
    assert board.level(18)
    await asyncio.to_thread(lamp.close)


async def test_a_stuck_key_stays_pressed(board: VirtualPigpiod, factory: PiGPIOFactory) -> None:
    button = await make(gpiozero.Button, 17, pin_factory=factory)
    board.stick(17)
    await board.press(17, 0.01)
    assert await asyncio.to_thread(lambda: button.is_pressed)
    board.unstick(17)
    assert not await asyncio.to_thread(lambda: button.is_pressed)
    await asyncio.to_thread(button.close)


async def test_the_glitch_filter_swallows_what_is_too_short(
    board: VirtualPigpiod, factory: PiGPIOFactory
) -> None:
    button = await make(gpiozero.Button, 17, bounce_time=0.1, pin_factory=factory)
    presses = Presses()
    presses.watch(button)
    board.hold(17)
    board.release(17)
    board.hold(17)
    assert await presses.next() == "pressed"
    board.release(17)
    assert await presses.next() == "released"
    assert presses.edges.empty()
    await asyncio.to_thread(button.close)


async def test_all_clients_are_told_of_a_press(board: VirtualPigpiod) -> None:
    factories = [await asyncio.to_thread(PiGPIOFactory, "127.0.0.1", board.port) for _ in range(3)]
    buttons = [await make(gpiozero.Button, 17, pin_factory=factory) for factory in factories]
    heard = [Presses() for _ in buttons]
    for presses, button in zip(heard, buttons, strict=True):
        presses.watch(button)
    board.hold(17)
    assert [await presses.next() for presses in heard] == ["pressed"] * 3
    for button, factory in zip(buttons, factories, strict=True):
        await asyncio.to_thread(button.close)
        await asyncio.to_thread(factory.close)


async def test_a_closed_client_leaves_nothing_behind(board: VirtualPigpiod, until: Until) -> None:
    factory = await asyncio.to_thread(PiGPIOFactory, "127.0.0.1", board.port)
    await until(board, lambda: board.snapshot()["clients"] == 2)
    await asyncio.to_thread(factory.close)
    await until(board, lambda: board.snapshot()["clients"] == 0)


async def test_a_killed_client_leaves_nothing_behind(board: VirtualPigpiod, until: Until) -> None:
    program = (
        "import sys, time, gpiozero\n"
        "from gpiozero.pins.pigpio import PiGPIOFactory\n"
        "factory = PiGPIOFactory('127.0.0.1', int(sys.argv[1]))\n"
        "button = gpiozero.Button(17, pin_factory=factory)\n"
        "button.when_pressed = print\n"
        "print('ready', flush=True)\n"
        "time.sleep(600)\n"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program, str(board.port)), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        assert await process.stdout.readline() == b"ready\n"
    assert board.snapshot()["pins"]["17"]["mode"] == "input"
    process.send_signal(signal.SIGKILL)
    await process.communicate()
    await until(board, lambda: board.snapshot()["clients"] == 0)
    await board.press(17, 0.01)
    assert board.snapshot()["pins"] == {}


async def test_a_client_that_takes_nothing_any_more_is_dropped(board: VirtualPigpiod) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", board.port, limit=1024)
    writer.write(struct.pack("<IIII", 99, 0, 0, 0) + struct.pack("<IIII", 19, 0, 1 << 17, 0))
    async with asyncio.timeout(10):
        await reader.readexactly(32)
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    for _ in range(1_000_000):
        board.hold(17)
        board.release(17)
        if board.counters["clients_stuck"]:
            break
    assert board.counters["clients_stuck"] == 1
    assert board.snapshot()["clients"] == 0
    writer.close()


async def test_errors_are_the_daemon_s_own_numbers(board: VirtualPigpiod) -> None:
    def provoke() -> list[str]:
        pi = pigpio.pi("127.0.0.1", board.port)
        said = []
        try:
            for call in (
                lambda: pi.set_mode(54, pigpio.INPUT),
                lambda: pi.set_mode(4, 9),
                lambda: pi.set_pull_up_down(4, 7),
                lambda: pi.write(4, 2),
                lambda: pi.set_PWM_dutycycle(40, 1),
                lambda: pi.get_PWM_dutycycle(4),
                lambda: pi.notify_close(17),
                lambda: pi.i2c_open(1, 0x20),
            ):
                with pytest.raises(pigpio.error) as raised:
                    call()
                said.append(str(raised.value))
        finally:
            pi.stop()
        return said

    assert await asyncio.to_thread(provoke) == [
        "'GPIO not 0-53'",
        "'mode not 0-7'",
        "'pud not 0-2'",
        "'level not 0-1'",
        "'GPIO not 0-31'",
        "'GPIO is not in use for PWM'",
        "'unknown handle'",
        "'unknown command'",
    ]


async def test_unplugged_it_ends_all_connections_and_comes_back_at_the_same_port(
    board: VirtualPigpiod,
) -> None:
    port = board.port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(struct.pack("<IIII", 17, 0, 0, 0))
    async with asyncio.timeout(10):
        reply = struct.unpack("<IIII", await reader.readexactly(16))
        assert reply == (17, 0, 0, 0xC03114)
        board.unplug()
        assert await reader.read() == b""
    writer.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    board.plug()
    assert board.port == port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()


async def test_a_request_in_pieces_is_answered_and_a_monstrous_one_ends_the_connection(
    board: VirtualPigpiod,
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", board.port)
    async with asyncio.timeout(10):
        for byte in struct.pack("<IIII", 26, 0, 0, 0):
            writer.write(bytes((byte,)))
            await writer.drain()
        assert struct.unpack("<IIII", await reader.readexactly(16))[3] == 79
        writer.write(struct.pack("<IIII", 28, 0, 0, 0xFFFFFFFF))
        assert await reader.read() == b""
    writer.close()
