"""Keys that fingers press and lamps that eyes see, whatever wire they are on."""

import asyncio
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from simulator.devices import VirtualIoModule, VirtualModbusBus, VirtualPigpiod
from simulator.processes import Readiness

SPOKEN_TO_SECONDS = 1.5
"""A panel that the daemon has not asked anything for so long is not served."""

SLICE_SECONDS = 0.02

BETWEEN_TOUCHES_SECONDS = 0.12
"""From a key's release to its next press: no hand is faster, and no polled bus sees less."""

PressWatcher = Callable[["Panel", str, float], None]
"""(panel, key, loop time): the key's level has gone on."""
LampWatcher = Callable[["Panel", str, bool, float], None]
"""(panel, lamp, lit, loop time)."""


class Panel(ABC):
    """A dispenser's buttons, a caller or an evaluator. Names are those of the hall's file."""

    def __init__(self, name: str, keys: Mapping[str, int], lamps: Mapping[str, int]) -> None:
        self.name = name
        self.keys = keys
        self.cable = Readiness()
        """Whether its cable was plugged, and its power on."""
        self.service = Readiness()
        """Whether the daemon was talking to it."""
        self.lamps: dict[str, bool] = dict.fromkeys(lamps, False)
        self._lamp_of = {place: lamp for lamp, place in lamps.items()}
        self._fingers: Counter[str] = Counter()
        self._let_go_at: dict[str, float] = {}
        self._stuck: set[str] = set()
        self._press_watchers: list[PressWatcher] = []
        self._lamp_watchers: list[LampWatcher] = []
        self._observers: list[Callable[[], None]] = []
        self._spoken_at = float("-inf")
        self._activity = 0

    # --- hands ------------------------------------------------------------------------------------

    def hold(self, key: str) -> None:
        """A finger goes down, until ``release``. Raises ``KeyError``: there is no such key."""
        place = self.keys[key]
        self._fingers[key] += 1
        if self._fingers[key] == 1 and key not in self._stuck:
            at = asyncio.get_running_loop().time()
            for watcher in self._press_watchers:
                watcher(self, key, at)
        self._hold(place)
        self._tell()

    def release(self, key: str) -> None:
        if self._fingers[key]:
            self._fingers[key] -= 1
            self._let_go_at[key] = asyncio.get_running_loop().time()
            self._release(self.keys[key])
            self._tell()

    async def press(self, key: str, seconds: float = 0.15) -> None:
        """One press of ordinary length, as soon as a hand can be at the key again.

        In slices: where this process lies still for a moment, the finger does too, and does not
        come off the key before the wire could be asked about it.
        """
        now = asyncio.get_running_loop().time()
        await asyncio.sleep(self._let_go_at.get(key, 0.0) + BETWEEN_TOUCHES_SECONDS - now)
        self.hold(key)
        try:
            for _ in range(max(1, round(seconds / SLICE_SECONDS))):
                await asyncio.sleep(SLICE_SECONDS)
        finally:
            self.release(key)

    def stick(self, key: str, stuck: bool) -> None:
        """The key jams, pressed, or is freed."""
        if stuck and key not in self._stuck:
            self._stuck.add(key)
            self._stick(self.keys[key])
        elif not stuck and key in self._stuck:
            self._stuck.discard(key)
            self._unstick(self.keys[key])
        self._tell()

    # --- eyes -------------------------------------------------------------------------------------

    def on_press(self, watcher: PressWatcher) -> None:
        self._press_watchers.append(watcher)

    def on_lamp(self, watcher: LampWatcher) -> None:
        self._lamp_watchers.append(watcher)

    def on_change(self, callback: Callable[[], None]) -> None:
        self._observers.append(callback)

    def snapshot(self) -> dict[str, Any]:
        return {
            "plugged": self.plugged,
            "served": self.service.now,
            "keys": {
                key: {"down": self._fingers[key] > 0, "stuck": key in self._stuck}
                for key in self.keys
            },
            "lamps": dict(self.lamps),
        }

    def look(self, at: float) -> None:
        """Take note of cable and service; called often."""
        self.cable.set(self.plugged, at)
        activity = self._requests()
        if not self.plugged:
            self._spoken_at = float("-inf")  # back in, it is served once it was asked again
        elif activity != self._activity:
            self._spoken_at = at
        self._activity = activity
        self.service.set(at - self._spoken_at < SPOKEN_TO_SECONDS, at)

    def _lamp_switched(self, place: int, lit: bool, at: float) -> None:
        lamp = self._lamp_of.get(place)
        if lamp is None or self.lamps[lamp] == lit:
            return
        self.lamps[lamp] = lit
        for watcher in self._lamp_watchers:
            watcher(self, lamp, lit, at)
        self._tell()

    def _tell(self) -> None:
        for callback in self._observers:
            callback()

    # --- the wire ---------------------------------------------------------------------------------

    @property
    @abstractmethod
    def plugged(self) -> bool: ...

    @abstractmethod
    def plug(self, plugged: bool) -> None:
        """Its own cable, in or out."""

    @abstractmethod
    def _hold(self, place: int) -> None: ...

    @abstractmethod
    def _release(self, place: int) -> None: ...

    @abstractmethod
    def _stick(self, place: int) -> None: ...

    @abstractmethod
    def _unstick(self, place: int) -> None: ...

    @abstractmethod
    def _requests(self) -> int:
        """A count that grows whenever the daemon talks to it."""


class GpioPanel(Panel):
    """Keys and lamps on the pins of a Pi that a pigpio daemon serves."""

    def __init__(
        self, name: str, pi: VirtualPigpiod, keys: Mapping[str, int], lamps: Mapping[str, int]
    ) -> None:
        super().__init__(name, keys, lamps)
        self._pi = pi
        pi.on_output(lambda change: self._lamp_switched(change.pin, change.level, change.at))

    @property
    def plugged(self) -> bool:
        return self._pi.plugged

    def plug(self, plugged: bool) -> None:
        if plugged:
            self._pi.plug()
        else:
            self._pi.unplug()
        self._tell()

    def _hold(self, place: int) -> None:
        self._pi.hold(place)

    def _release(self, place: int) -> None:
        self._pi.release(place)

    def _stick(self, place: int) -> None:
        self._pi.stick(place)

    def _unstick(self, place: int) -> None:
        self._pi.unstick(place)

    def _requests(self) -> int:
        return self._pi.counters["commands"]


class ModulePanel(Panel):
    """Keys and lamps on one I/O module of an RS-485 bus."""

    def __init__(
        self,
        name: str,
        module: VirtualIoModule,
        bus: VirtualModbusBus,
        keys: Mapping[str, int],
        lamps: Mapping[str, int],
    ) -> None:
        super().__init__(name, keys, lamps)
        self._module = module
        self._bus = bus
        module.on_output(lambda change: self._lamp_switched(change.output, change.on, change.at))

    @property
    def plugged(self) -> bool:
        return self._bus.endpoint.plugged and not self._module.absent

    def plug(self, plugged: bool) -> None:
        self._module.set_absent(not plugged)
        self._tell()

    def _hold(self, place: int) -> None:
        self._module.hold(place)

    def _release(self, place: int) -> None:
        self._module.release(place)

    def _stick(self, place: int) -> None:
        self._module.stick(place)

    def _unstick(self, place: int) -> None:
        self._module.unstick(place)

    def _requests(self) -> int:
        return self._module.counters["requests"]
