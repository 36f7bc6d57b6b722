"""A Waveshare Modbus RTU IO 8CH module as a keypad: up to 8 keys and 8 lamps on an RS-485 bus.

Source: the maker's protocol manual: discrete inputs 0 to 7 by FC02, outputs 0 to 7 by FC01, FC05
and FC15. Inputs read 1 while their contact is closed to the common terminal.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from math import inf
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StrictInt

from contract.names import SLUG_PATTERN, DeviceId, DeviceStatus
from edge.drivers.config import (
    KEYPAD_ROLES,
    DeviceConfig,
    Fault,
    InputName,
    Role,
    each_on_its_own,
)
from edge.drivers.keypad import KeypadCore
from edge.drivers.modbus_bus import ModbusBus
from edge.drivers.modbus_rtu import (
    MAX_UNIT,
    Function,
    Reply,
    Request,
    read_inputs,
    write_coil,
    write_coils,
)
from edge.drivers.roles import LampPattern, PressCallback, StatusCallback

CHANNELS = 8
_REWRITE_SECONDS = 5.0
"""A module that lost its power for a moment comes back dark and says nothing of it."""
_FLASH_WITHIN_SECONDS = 2.0
"""A flash answers a press. The bus may be busy with units that are away for longer than it lasts:
it is shown late rather than never."""

Channel = Annotated[StrictInt, Field(ge=0, lt=CHANNELS)]


class ModbusIoConfig(DeviceConfig):
    """A keypad on one I/O module, e.g. the caller of window 3."""

    roles: ClassVar[frozenset[Role]] = KEYPAD_ROLES

    driver: Literal["modbus_io"] = Field(title="Driver", description="Modbus RTU I/O module.")
    bus: Annotated[str, Field(pattern=SLUG_PATTERN)] = Field(
        title="Bus", description="The NAME of the [buses.NAME] that the module is on."
    )
    unit: Annotated[int, Field(ge=1, le=MAX_UNIT)] = Field(
        title="Unit", description="The module's Modbus address; each on a bus has its own."
    )
    keys: dict[InputName, Channel] = Field(
        default_factory=dict,
        title="Keys",
        description="Inputs 0 to 7 by key name.",
        examples=[{"call_next": 0}],
    )
    lamps: dict[InputName, Channel] = Field(
        default_factory=dict,
        title="Lamps",
        description="Outputs 0 to 7 by lamp name.",
        examples=[{"accepted": 0}],
    )
    keys_active_low: bool = Field(
        default=False, title="Keys active low", description="A pressed key reads 0."
    )
    lamps_active_low: bool = Field(
        default=False, title="Lamps active low", description="A lit lamp is an output that is off."
    )

    def rules(self) -> list[Callable[[], Iterator[Fault]]]:
        return [*super().rules(), self._inputs_apart, self._outputs_apart]

    def _inputs_apart(self) -> Iterator[Fault]:
        free = sorted(set(range(CHANNELS)) - set(self.keys.values()))
        return each_on_its_own("keys", self.keys, "input", free)

    def _outputs_apart(self) -> Iterator[Fault]:
        free = sorted(set(range(CHANNELS)) - set(self.lamps.values()))
        return each_on_its_own("lamps", self.lamps, "output", free)

    def claims(self) -> list[str]:
        return [f"bus:{self.bus}/unit {self.unit}"]

    def poll(self) -> Request:
        """What is asked of the module in every cycle of the bus."""
        return read_inputs(self.unit, 0, CHANNELS)


class ModbusKeypad:
    """A ``Keypad``. It lives on its bus, which has to run beside it."""

    def __init__(
        self, device_id: DeviceId, config: ModbusIoConfig, bus: ModbusBus, on_status: StatusCallback
    ) -> None:
        self.id = device_id
        self.address = config.unit
        self.poll = config.poll()
        self._config = config
        self._bus = bus
        # Polls come at best every few milliseconds and at worst every 60: the first that sees a
        # key down counts, else a short tap would need two.
        self._core = KeypadCore(
            device_id,
            config.keys,
            config.lamps,
            on_status,
            press_seconds=0.0,
            flash_within_seconds=_FLASH_WITHIN_SECONDS,
        )
        self._written: tuple[bool, ...] | None = None
        """The outputs as the module confirmed them; ``None``: not known for sure."""
        self._sent: tuple[bool, ...] = ()
        self._polled = False
        """Its keys were seen: a module that only took its lamps would not see a press yet."""
        self._rewrite_at = 0.0
        self._levels: tuple[int, ...] | None = None
        """The inputs as they were read last."""
        self._refused: dict[Function, int] = {}
        """Exception codes by the functions that the module refuses now."""

    def on_press(self, callback: PressCallback) -> None:
        self._core.on_press(callback)

    def lamps(self) -> frozenset[str]:
        return frozenset(self._config.lamps)

    def set_lamp(self, lamp: str, pattern: LampPattern) -> None:
        self._core.set_lamp(lamp, pattern, asyncio.get_running_loop().time())
        self._bus.wake(self)

    def counters(self) -> Mapping[str, int]:
        return self._core.counters()

    async def run(self) -> None:
        """Be served by the bus until cancelled. Absence is a status, no error."""
        self._bus.register(self)
        try:
            await asyncio.Event().wait()
        finally:
            self._bus.unregister(self)
            self._written = None

    # --- the bus asks and tells ---------------------------------------------------------------

    def wish(self, at: float) -> Request | None:
        wanted = self._outputs(at)
        if not self._config.lamps or wanted == self._written:
            self._core.lamps_shown(at)
            return None
        if self._written is not None:
            pairs = zip(wanted, self._written, strict=True)
            differing = [channel for channel, (new, old) in enumerate(pairs) if new != old]
            if len(differing) == 1:
                return self._write(write_coil(self.address, differing[0], wanted[differing[0]]), at)
        return self._write(write_coils(self.address, 0, wanted), at)

    def next_wish(self, at: float) -> float:
        change = self._core.next_lamp_change(at)
        return inf if change is None else change

    def upkeep(self, at: float) -> Request | None:
        if not self._config.lamps or at < self._rewrite_at:
            return None
        return self._write(write_coils(self.address, 0, self._outputs(at)), at)

    def goodbye(self) -> Request | None:
        if not self._config.lamps:
            return None
        dark = self._levels_of(dict.fromkeys(self._config.lamps, False))
        return write_coils(self.address, 0, dark)

    def _write(self, request: Request, at: float) -> Request:
        self._sent = self._outputs(at)
        self._written = None  # until it is confirmed
        return request

    def answered(self, request: Request, reply: Reply, at: float) -> None:
        if self._refused:
            self._refused.pop(request.function, None)
        if reply.exception is not None:
            self._refused[request.function] = reply.exception
        elif request.function is Function.READ_INPUTS:
            self._polled = True
            self._read(reply.values, at)
        else:
            self._written = self._sent
            if self._sent == self._outputs(at):
                self._core.lamps_shown(at)
            if request.function is Function.WRITE_COILS:
                self._rewrite_at = at + _REWRITE_SECONDS
        if self._refused:
            function, code = next(iter(self._refused.items()))
            detail = f"{function.name.lower()} is refused by the module with exception {code}"
            self._core.health.report(DeviceStatus.FAULT, detail)
        elif self._polled:
            self._core.present()

    def _read(self, levels: tuple[int, ...], at: float) -> None:
        if levels == self._levels and self._core.due() is None:
            return  # nothing is pressed and nothing has changed, as in nearly all polls
        self._levels = levels
        for key, channel in self._config.keys.items():
            self._core.sample(key, (levels[channel] == 1) != self._config.keys_active_low, at)

    def absent(self, why: str) -> None:
        self._polled = False
        self._levels = None
        self._written = None
        self._refused.clear()
        self._core.absent(why, asyncio.get_running_loop().time())

    def _outputs(self, at: float) -> tuple[bool, ...]:
        return self._levels_of(self._core.lit(at))

    def _levels_of(self, lamps: Mapping[str, bool]) -> tuple[bool, ...]:
        """Of all eight outputs; one without a lamp is off."""
        outputs = [False] * CHANNELS
        for lamp, lit in lamps.items():
            outputs[self._config.lamps[lamp]] = lit != self._config.lamps_active_low
        return tuple(outputs)
