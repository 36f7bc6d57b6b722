"""What really happened at the devices: every press, answer, paper and call, in loop time.

Nothing in here was told by the daemon; it is what fingers did and eyes could see.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from simulator.devices import Paper
from simulator.perception import Showing, Sight, TicketPaper, numbers_on, read_paper, read_screen

ANSWER_SECONDS = 5.0
"""A person who has seen nothing for so long after a press calls it broken."""
FLASH_SECONDS = 0.28
"""A lamp that answers by a flash is lit for 0.3 s from the press on."""
ANSWER_LAMPS = frozenset({"accepted", "refused"})
CALLING_KEYS = frozenset({"call_next"})
"""After these a screen calls somebody new; a recall looks like the blinking before it."""
MAX_SAMPLES = 100_000

Excuse = Callable[[str, float, float], str | None]
"""(station, begin, end): why nobody could expect an answer there then; ``None``: one could."""


@dataclass(slots=True)
class Press:
    station: str
    key: str
    at: float
    lamp_lit: bool
    """An answer to an earlier press was still to be seen."""
    answered_at: float | None = None


@dataclass(frozen=True, slots=True)
class Unanswered:
    station: str
    key: str
    at: float

    def __str__(self) -> str:
        return f"{self.key} at {self.station}"


@dataclass(frozen=True, slots=True)
class Call:
    """A window's screen began to call a number."""

    at: float
    window: int
    number: str


def station_of_screen(window: int) -> str:
    """Whose presses the screen of a window answers."""
    return f"caller-{window}"


class Ledger:
    """Takes everything in, and settles each press once its time is over."""

    def __init__(self, excuse: Excuse) -> None:
        self._excuse = excuse
        self.presses = 0
        self.repeated = 0
        """Presses that nobody could answer (down, unplugged): people press again."""
        self.unanswered: list[Unanswered] = []
        self.papers: list[TicketPaper] = []
        self.other_papers = 0
        """Torn off, or marked void."""
        self.calls: list[Call] = []
        self.two_at_once: list[str] = []
        """Texts of screens that called more than one number."""
        self.press_to_led_seconds: deque[float] = deque(maxlen=MAX_SAMPLES)
        self.press_to_paper_seconds: deque[float] = deque(maxlen=MAX_SAMPLES)
        self._open: deque[Press] = deque()
        self._wanting_led: dict[str, Press] = {}
        self._wanting_paper: deque[Press] = deque()
        self._lit: dict[str, set[str]] = {}
        self._calling: dict[int, str | None] = {}
        self._shown: dict[int, Sight] = {}
        """What each screen said last, dark moments aside."""

    @property
    def unsettled(self) -> int:
        """Presses whose time is not over."""
        return len(self._open)

    def pressed(self, station: str, key: str, at: float) -> None:
        self.presses += 1
        press = Press(station, key, at, lamp_lit=bool(self._lit.get(station)))
        self._open.append(press)
        if key in CALLING_KEYS:
            self._wanting_led[station] = press
        if station == "dispenser":
            self._wanting_paper.append(press)

    def lamp(self, station: str, lamp: str, lit: bool, at: float) -> None:
        if lamp not in ANSWER_LAMPS:
            return
        shining = self._lit.setdefault(station, set())
        if lit:
            shining.add(lamp)
        else:
            shining.discard(lamp)
        for press in self._unanswered_at(station, at):
            # A lamp that goes out answers only who found it lit and made it shine for longer.
            if lit or (press.lamp_lit and at - press.at >= FLASH_SECONDS):
                press.answered_at = at
        if station == "dispenser" and lamp == "refused" and lit and self._wanting_paper:
            self._wanting_paper.popleft()

    def paper(self, paper: Paper) -> TicketPaper | None:
        """A piece of paper came out; the ticket on it, if it is one."""
        ticket = read_paper(paper)
        for press in self._unanswered_at("dispenser", paper.finished_at):
            press.answered_at = paper.finished_at
        if ticket is None:
            self.other_papers += 1
            return None
        self.papers.append(ticket)
        if len(self._wanting_paper) == 1 and not ticket.reprint:
            self.press_to_paper_seconds.append(ticket.at - self._wanting_paper[0].at)
        if self._wanting_paper:
            self._wanting_paper.popleft()
        return ticket

    def screen(self, window: int, text: str, at: float) -> Sight:
        """A screen obeyed a frame. ``at``: when its last byte had come."""
        sight = read_screen(text)
        if len(set(numbers_on(text))) > 1:
            self.two_at_once.append(text)
        station = station_of_screen(window)
        if sight.showing is Showing.CALLING and sight.number is not None:
            self._called(window, sight.number, at)
            wanting = self._wanting_led.pop(station, None)
            if wanting is not None and at - wanting.at <= ANSWER_SECONDS:
                self.press_to_led_seconds.append(at - wanting.at)
        if sight.showing not in {Showing.DARK, Showing.CALLING}:  # a call blinks
            self._calling[window] = None
        if self._shown.get(window) != sight and sight.showing not in {Showing.IDLE, Showing.DARK}:
            # Idle texts change by themselves, and a call blinks by itself.
            for press in self._unanswered_at(station, at):
                press.answered_at = at
        if sight.showing is not Showing.DARK:
            self._shown[window] = sight
        return sight

    def _called(self, window: int, number: str, at: float) -> None:
        if self._calling.get(window) != number:
            self._calling[window] = number
            self.calls.append(Call(at, window, number))

    def _unanswered_at(self, station: str, at: float) -> list[Press]:
        return [
            press
            for press in self._open
            if press.station == station and press.answered_at is None and press.at < at
        ]

    def settle(self, now: float) -> list[Unanswered]:
        """Decide about every press whose time is over; those that should have been answered."""
        found: list[Unanswered] = []
        while self._open and self._open[0].at + ANSWER_SECONDS < now:
            press = self._open.popleft()
            if self._wanting_paper and self._wanting_paper[0] is press:
                self._wanting_paper.popleft()
            if press.answered_at is not None:
                continue
            if self._excuse(press.station, press.at, press.at + ANSWER_SECONDS) is not None:
                self.repeated += 1
            else:
                found.append(Unanswered(press.station, press.key, press.at))
        self.unanswered += found
        return found
