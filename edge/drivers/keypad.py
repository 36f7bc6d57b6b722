"""What all keypads have in common, whatever wire their keys and lamps are on."""

from collections.abc import Iterable, Mapping

from contract.names import DeviceId, DeviceStatus
from edge.drivers.health import DeviceHealth
from edge.drivers.keys import STABLE_SECONDS, KeyChange, KeyEvent, KeyFilter, Lamp
from edge.drivers.roles import LampPattern, PressCallback, StatusCallback


class KeypadCore:
    """Key levels in, presses and statuses out; wishes for lamps in, lamp levels out.

    Knows neither a wire nor a clock: ``at`` is in seconds of the event loop's time.
    """

    def __init__(
        self,
        device_id: DeviceId,
        keys: Iterable[str],
        lamps: Iterable[str],
        on_status: StatusCallback,
        *,
        press_seconds: float = STABLE_SECONDS,
        flash_within_seconds: float = 0.0,
    ) -> None:
        """``flash_within_seconds``: of lamps whose lighting is told by ``lamps_shown``."""
        self.health = DeviceHealth(device_id, on_status)
        self.lamps: Mapping[str, Lamp] = {name: Lamp() for name in lamps}
        self._filter = KeyFilter(keys, press_seconds=press_seconds)
        self._flash_within_seconds = flash_within_seconds
        self._callback: PressCallback | None = None

    def on_press(self, callback: PressCallback) -> None:
        self._callback = callback

    def sample(self, key: str, down: bool, at: float) -> None:
        """The level of a key, as an edge or a poll brought it."""
        self._take(self._filter.sample(key, down, at))

    def advance(self, at: float) -> None:
        """Time has passed."""
        self._take(self._filter.advance(at))

    def due(self) -> float | None:
        """When ``advance`` is wanted, for lack of samples."""
        return self._filter.due()

    def set_lamp(self, lamp: str, pattern: LampPattern, at: float) -> None:
        if lamp in self.lamps:
            self.lamps[lamp].set(pattern, at, flash_within_seconds=self._flash_within_seconds)

    def lamps_shown(self, at: float) -> None:
        """The lamps are as ``lit`` says."""
        for lamp in self.lamps.values():
            lamp.shown(at)

    def lit(self, at: float) -> dict[str, bool]:
        """Which lamps are to be lit."""
        return {name: lamp.lit(at) for name, lamp in self.lamps.items()}

    def next_lamp_change(self, at: float) -> float | None:
        """When ``lit`` will change by itself."""
        changes = (lamp.next_change(at) for lamp in self.lamps.values())
        return min((change for change in changes if change is not None), default=None)

    def present(self) -> None:
        """The keypad answers: it is online, unless a key is stuck."""
        stuck = sorted(self._filter.stuck())
        if stuck:
            self.health.report(DeviceStatus.STUCK_KEY, ", ".join(stuck))
        else:
            self.health.report(DeviceStatus.ONLINE)

    def absent(self, why: str, at: float) -> None:
        """The keypad is away; what its keys do now, nobody knows."""
        self._filter.forget(at)
        self.health.report(DeviceStatus.OFFLINE, why)

    def counters(self) -> dict[str, int]:
        return {
            **self.health.counters(),
            "presses": self._filter.presses,
            "bounces": self._filter.bounces,
        }

    def _take(self, events: Iterable[KeyEvent]) -> None:
        for event in events:
            if event.change is KeyChange.PRESSED:
                if self._callback is not None:
                    self._callback(event.key, event.at)
            else:
                self.health.count(f"keys_{event.change}")
                self.present()
