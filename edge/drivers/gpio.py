"""Keys and lamps on GPIO pins, by gpiozero.

gpiozero calls back on another thread, and its calls may block (a remote pin is a round trip over
the network): edges are handed over with their time, and every call runs on one worker thread.
"""

import asyncio
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Annotated, Any, ClassVar, Literal, Protocol, TypeVar, runtime_checkable

from gpiozero import Device, DigitalInputDevice, DigitalOutputDevice
from pydantic import Field, StrictInt

from contract.names import DeviceId
from edge.drivers.config import (
    KEYPAD_ROLES,
    DeviceConfig,
    Fault,
    InputName,
    Role,
    each_on_its_own,
    moved,
    port_claim,
)
from edge.drivers.keypad import KeypadCore
from edge.drivers.roles import LampPattern, PressCallback, StatusCallback
from edge.drivers.supervisor import run_together

_log = logging.getLogger(__name__)

_CALL_SECONDS = 2.0
"""A call on pins that takes longer never returns."""
_OPEN_SECONDS = 10.0
_LOOK_SECONDS = 0.5
"""How often the pins are read: notices a lost connection, and mends a lost edge."""
_MAX_EDGES = 512
"""Waiting to be looked at; a burst beyond it loses its oldest edges, never its last level."""

_Result = TypeVar("_Result")
MakeFactory = Callable[[], Any]
"""Gives a ``gpiozero.pins.Factory``; called at every (re)opening, on the worker thread."""

LAST_PIN = 27
FIRST_PLAIN_PIN = 4
"""Those before it also carry I2C and the HAT's EEPROM."""

HOST_AND_PORT_PATTERN = r"^[^:/\s]+:[0-9]{1,5}$"
Pin = Annotated[StrictInt, Field(ge=0, le=LAST_PIN)]


class GpioConfig(DeviceConfig):
    """A keypad on this machine's GPIO pins, or on those of a Pi elsewhere."""

    roles: ClassVar[frozenset[Role]] = KEYPAD_ROLES

    driver: Literal["gpio"] = Field(title="Driver", description="Keys and lamps on GPIO pins.")
    keys: dict[InputName, Pin] = Field(
        default_factory=dict,
        title="Keys",
        description="Pins by key name, in BCM numbers (GPIO17, not the header's pin 11).",
        examples=[{"call_next": 17}],
    )
    lamps: dict[InputName, Pin] = Field(
        default_factory=dict,
        title="Lamps",
        description="Pins by lamp name, in BCM numbers.",
        examples=[{"accepted": 5}],
    )
    keys_active_low: bool = Field(
        default=True,
        title="Keys active low",
        description="A pressed key connects its pin to ground; false: to 3.3 V.",
    )
    pull: bool = Field(
        default=True,
        title="Pull resistor",
        description="Use the Pi's own resistor against the key; false: there is one on the board.",
    )
    lamps_active_low: bool = Field(
        default=False, title="Lamps active low", description="A lit lamp is a pin at 0 V."
    )
    pigpio: Annotated[str, Field(pattern=HOST_AND_PORT_PATTERN)] | None = Field(
        default=None,
        title="pigpio daemon",
        description="host:port of a pigpio daemon that has the pins; without: this machine's own.",
        examples=["192.0.2.7:8888"],
    )

    def rules(self) -> list[Callable[[], Iterator[Fault]]]:
        return [*super().rules(), self._keys_apart, self._lamps_apart, self._lamps_beside_keys]

    def _keys_apart(self) -> Iterator[Fault]:
        return each_on_its_own("keys", self.keys, "pin", self._free())

    def _lamps_apart(self) -> Iterator[Fault]:
        return each_on_its_own("lamps", self.lamps, "pin", self._free())

    def _lamps_beside_keys(self) -> Iterator[Fault]:
        free = self._free()
        for name, pin in self.lamps.items():
            if pin in self.keys.values():
                what = f"lamp {name} is on pin {pin}, which is a key's"
                yield Fault(("lamps", name), what, {"lamps": moved(self.lamps, name, free)})

    def _free(self) -> Iterator[int]:
        used = {*self.keys.values(), *self.lamps.values()}
        return (pin for pin in range(FIRST_PLAIN_PIN, LAST_PIN + 1) if pin not in used)

    def claims(self) -> list[str]:
        pins = (*self.keys.values(), *self.lamps.values())
        if self.pigpio is None:
            return [f"gpio:{pin}" for pin in pins]
        return [port_claim(f"pigpio://{self.pigpio}/{pin}") for pin in pins]


@runtime_checkable
class Severable(Protocol):
    """A factory of one keypad alone, whose pins can be lost; see ``pigpio_pins.PigpioPins``."""

    def sever(self) -> None: ...
    def discard(self) -> None: ...
    def close(self) -> None: ...


class GpioKeypad:
    """A ``Keypad``."""

    def __init__(
        self,
        device_id: DeviceId,
        config: GpioConfig,
        on_status: StatusCallback,
        *,
        make_factory: MakeFactory | None = None,
    ) -> None:
        self.id = device_id
        self._config = config
        self._make_factory = make_factory or factory_of(config)
        self._core = KeypadCore(device_id, config.keys, config.lamps, on_status)
        self._lamp_wish = asyncio.Event()
        self._edges = _Edges()

    def on_press(self, callback: PressCallback) -> None:
        self._core.on_press(callback)

    def lamps(self) -> frozenset[str]:
        return frozenset(self._config.lamps)

    def set_lamp(self, lamp: str, pattern: LampPattern) -> None:
        self._core.set_lamp(lamp, pattern, _now())
        self._lamp_wish.set()

    def counters(self) -> Mapping[str, int]:
        """Of the keypad, and ``edges`` of its keys, ``edges_dropped`` among them."""
        edges = {"edges": self._edges.count, "edges_dropped": self._edges.dropped}
        return {**self._core.counters(), **edges}

    async def run(self) -> None:
        pins = _Pins(self._config, self._make_factory, self._edges.put)
        worker = _Worker(self.id)
        try:
            await worker.call(_OPEN_SECONDS, pins.open)
            self._edges.open()
            self._take_levels(await worker.call(_CALL_SECONDS, pins.read))
            self._core.present()
            await run_together(
                self._serve_keys(), self._serve_lamps(worker, pins), self._look(worker, pins)
            )
        except Exception as error:  # lost, or a bug of which the supervisor says that it is one
            if isinstance(error, OSError):
                pins.lost()
            self._core.absent(str(error), asyncio.get_running_loop().time())
            raise
        finally:
            self._edges.close()
            await worker.end(pins)

    async def _serve_keys(self) -> None:
        """Edges and the passing of time, until cancelled."""
        while True:
            due = self._core.due()
            # A key that is held is due in 10 s, one that bounces in 20 ms.
            with suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._edges.ready.wait()
            for key, down, at in self._edges.take():
                self._core.sample(key, down, at)
            self._core.advance(_now())

    async def _serve_lamps(self, worker: "_Worker", pins: "_Pins") -> None:
        """The latest wish, whatever it was before; blinking included."""
        written: dict[str, bool] = {}
        while True:
            self._lamp_wish.clear()
            now = _now()
            lit = self._core.lit(now)
            changed = {lamp: on for lamp, on in lit.items() if written.get(lamp) is not on}
            if changed:
                await worker.call(_CALL_SECONDS, pins.write, changed)
                written.update(changed)
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._core.next_lamp_change(now)):
                    await self._lamp_wish.wait()

    async def _look(self, worker: "_Worker", pins: "_Pins") -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            seen = self._edges.count
            levels = await worker.call(_CALL_SECONDS, pins.read)
            if seen == self._edges.count:  # else an edge is newer than what was read
                self._take_levels(levels)

    def _take_levels(self, levels: Mapping[str, bool]) -> None:
        for key, down in levels.items():
            self._core.sample(key, down, _now())
        self._edges.ready.set()  # a changed level has changed what is due


class _Edges:
    """Edges on their way from the pins' thread to the event loop: bounded, with their times."""

    def __init__(self) -> None:
        self.ready = asyncio.Event()
        self.count = 0
        self.dropped = 0
        self._lock = threading.Lock()
        self._edges: deque[tuple[str, bool, float]] = deque(maxlen=_MAX_EDGES)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._announced = False

    def open(self) -> None:
        """From now on edges are taken in, for the running loop."""
        with self._lock:
            self._edges.clear()
            self._announced = False
            self._loop = asyncio.get_running_loop()

    def close(self) -> None:
        with self._lock:
            self._loop = None

    def put(self, key: str, down: bool) -> None:
        """Called on the pins' thread."""
        with self._lock:
            if self._loop is None:
                return
            self.count += 1
            self.dropped += len(self._edges) == _MAX_EDGES
            self._edges.append((key, down, time.monotonic()))  # the event loop's clock
            if not self._announced:  # one wake-up, however many edges
                self._announced = True
                self._loop.call_soon_threadsafe(self.ready.set)

    def take(self) -> list[tuple[str, bool, float]]:
        with self._lock:
            edges = list(self._edges)
            self._edges.clear()
            self._announced = False
            self.ready.clear()
        return edges


class _Pins:
    """gpiozero's devices of one keypad. All but ``lost`` is called on the worker thread."""

    def __init__(
        self, config: GpioConfig, make_factory: MakeFactory, on_edge: Callable[[str, bool], None]
    ) -> None:
        self._config = config
        self._make_factory = make_factory
        self._on_edge = on_edge
        self._factory: Any = None
        self._keys: dict[str, Any] = {}
        self._lamps: dict[str, Any] = {}
        self._lost = False

    def open(self) -> None:
        config = self._config
        self._factory = self._make_factory()
        for lamp, pin in config.lamps.items():
            self._lamps[lamp] = DigitalOutputDevice(
                pin, active_high=not config.lamps_active_low, pin_factory=self._factory
            )
        for key, pin in config.keys.items():
            device = DigitalInputDevice(
                pin,
                pull_up=config.keys_active_low if config.pull else None,
                active_state=None if config.pull else not config.keys_active_low,
                bounce_time=None,
                pin_factory=self._factory,
            )
            self._keys[key] = device
            device.when_activated = lambda key=key: self._on_edge(key, True)
            device.when_deactivated = lambda key=key: self._on_edge(key, False)

    def read(self) -> dict[str, bool]:
        return {key: bool(device.value) for key, device in self._keys.items()}

    def write(self, levels: Mapping[str, bool]) -> None:
        for lamp, on in levels.items():
            self._lamps[lamp].value = on

    def lost(self) -> None:
        """The pins are gone: end the call that is blocked on them. From any thread."""
        self._lost = True
        if isinstance(self._factory, Severable):
            self._factory.sever()

    def close(self) -> None:
        """Lamps off and pins released, where the pins are still there."""
        if self._lost and isinstance(self._factory, Severable):
            self._factory.discard()
        for device in (*self._keys.values(), *self._lamps.values()):
            device.close()
        # A connection is this keypad's own. This machine's pins are one factory for all keypads:
        # closing it would close theirs.
        if isinstance(self._factory, Severable):
            self._factory.close()


class _Worker:
    """One thread for the blocking calls of one keypad, in their order."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=f"gpio-{name}")

    async def call(
        self, seconds: float, function: Callable[..., _Result], *args: object
    ) -> _Result:
        """Raises ``OSError`` for whatever goes wrong, and when it takes too long."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(seconds):
                return await loop.run_in_executor(self._executor, function, *args)
        except TimeoutError as error:
            raise OSError(f"the pins don't answer within {seconds:g} s") from error
        except OSError:
            raise
        except Exception as error:
            # Each pin library raises its own: struct.error, pigpio.error, lgpio.error …
            raise OSError(f"the pins fail: {type(error).__name__}: {error}") from error

    async def end(self, pins: _Pins) -> None:
        """Close the pins, and the thread. Pins that are lost at this last moment are severed."""
        try:
            try:
                await self.call(_CALL_SECONDS, pins.close)
            except OSError:
                pins.lost()
                await self.call(_CALL_SECONDS, pins.close)
        except OSError as error:
            # Whoever cancelled us must get through; there is nothing left to be done here.
            _log.warning("%s: can't be closed: %s", self._name, error)
        finally:
            self._executor.shutdown(wait=False)


_local_pins = threading.Lock()


def factory_of(config: GpioConfig) -> MakeFactory:
    """What makes the pins of ``config``: those of a pigpio daemon, or this machine's own, by
    lgpio or as the environment's ``GPIOZERO_PIN_FACTORY`` says."""
    address = config.pigpio
    if address is None and os.environ.get("GPIOZERO_PIN_FACTORY") == "pigpio":
        address = f"{os.environ.get('PIGPIO_ADDR', 'localhost')}:" + (
            os.environ.get("PIGPIO_PORT", "8888")
        )
    if address is None:
        return _own_pins
    host, _, port = address.rpartition(":")

    def remote_pins() -> Any:
        # Imported here: it is an extra that a hall on its own pins doesn't need.
        from edge.drivers.pigpio_pins import PigpioPins  # noqa: PLC0415

        return PigpioPins(host, int(port))

    return remote_pins


NO_PINS = (
    "this machine has no GPIO pins, or the driver for them is missing: on a Raspberry Pi install "
    './edge[pi]; for pins elsewhere set pigpio = "host:port"'
)


def _own_pins() -> Any:
    """Raises ``OSError``, with the text ``NO_PINS`` and the cause."""
    with _local_pins:
        if Device.pin_factory is None:
            try:
                Device.pin_factory = _new_factory()
            except Exception as error:  # ImportError, lgpio.error, PinUnknownPi …
                raise OSError(f"{NO_PINS} ({error})") from error
        return Device.pin_factory


def _new_factory() -> Any:
    if "GPIOZERO_PIN_FACTORY" in os.environ:
        Device.ensure_pin_factory()
        return Device.pin_factory
    # gpiozero on its own would go on to try libraries that can't hear edges on today's kernels,
    # and pigpio's client, which prints a banner, every few seconds.
    from gpiozero.pins.lgpio import LGPIOFactory  # noqa: PLC0415 - an extra, as pigpio is

    return LGPIOFactory()


def _now() -> float:
    return asyncio.get_running_loop().time()
