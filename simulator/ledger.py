"""What really happened at the devices: every press, answer, paper and call, in loop time.

Nothing in here was told by the daemon; it is what fingers did and eyes could see.

**When a press is answered.** One answer answers one press, the oldest at its station that was not
answered yet; so a press that was lost is missed by the last of its row, and counts.

- At a caller and an evaluator, a flash of ``accepted`` or ``refused`` answers. What the screen
  shows is seen too, but it is the same answer once more and answers nobody else.
- At the dispenser, ``refused`` answers. ``accepted`` only promises: the paper answers, or a
  ``refused`` that comes later because the paper failed. A paper that is torn or void does not. A
  promise outlives the daemon that gave it: the next one owes what is not kept yet.
- Flashes that overlap melt into one light that is longer by the length of each. A light that goes
  on answers one press; when it goes out, one more for each further flash's time that it shone.
- A light that a dead daemon left on may so seem to promise paper to who pressed meanwhile: a
  promise over something that was down is doubtful, and owed to nobody.
- Keys that go down together are one hand (somebody leans on the panel): one light is an answer
  to a hand, as nobody could tell four flashes at once from one. Its papers are counted.

**What an answer proves.** ``tally`` counts presses by key, and those that were surely accepted or
surely refused: a lamp went on while no press of another key waited there, and daemon and cable
were well from the press to the light. A light that goes on, a hand on several keys, and an answer
that a restart may have mixed up answer as said above, and prove nothing.

Limits: of two presses within one flash, at different keys but not together, a light can't say
which it answered; and presses that nobody could answer (down, unplugged) are owed nothing, so
they take an answer only when no other press waits for it.
"""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from simulator.devices import Paper
from simulator.perception import Showing, Sight, TicketPaper, numbers_on, read_paper, read_screen

ANSWER_SECONDS = 5.0
"""A person who has seen nothing for so long after a press calls it broken."""
EXCUSED_WITHIN_SECONDS = 2.0
"""Who goes down so soon after a press may have taken its answer along; later it was due."""
SLIP_SECONDS = 30.0
"""So long the daemon tries to print a slip; then it refuses."""
PAPER_SECONDS = SLIP_SECONDS + ANSWER_SECONDS
"""After an accepted press at the dispenser there is paper or a refusal by then: the refusal has
the time of any answer."""
FLASH_SECONDS = 0.3
"""A lamp that answers is lit for so long."""
EARLY_SECONDS = 0.02
"""On a wire the end of a light may come so much sooner after its beginning."""
HAND_SECONDS = 0.05
"""Keys that go down within this are under one hand."""
DISPENSER = "dispenser"
ACCEPTED, REFUSED = "accepted", "refused"
ANSWER_LAMPS = frozenset({ACCEPTED, REFUSED})
CALLING_KEYS = frozenset({"call_next"})
"""After these a screen calls somebody new; a recall looks like the blinking before it."""
CALL_GOES_ON = frozenset({Showing.CALLING, Showing.DARK, Showing.FAULT})
"""What a screen shows between the beginning and the end of one call: it blinks, and a fault
that heals shows the same call again."""
MAX_SAMPLES = 100_000

Outages = Callable[[float, float], Sequence[tuple[float, float]]]
"""(begin, end): when the daemon was down meanwhile, from and until; infinity: it still is."""
Excuse = Callable[[str, float, float], str | None]
"""(station, begin, end): why nobody could expect an answer there then; ``None``: one could."""


@dataclass(slots=True)
class Press:
    station: str
    key: str
    at: float
    promised_at: float | None = None
    """When the dispenser accepted it: there should be paper."""
    doubtful: bool = False
    """Something was down between the press and that light, which may be for somebody else."""

    @property
    def promised(self) -> bool:
        return self.promised_at is not None


@dataclass(frozen=True, slots=True)
class Unanswered:
    station: str
    key: str
    at: float
    promised: bool

    def __str__(self) -> str:
        what = f"{self.key} at {self.station}"
        return f"{what}, accepted but without paper" if self.promised else what


@dataclass(frozen=True, slots=True)
class Call:
    """A window's screen began to call a number."""

    at: float
    window: int
    number: str


Key = tuple[str, str]
"""A station, and a key there."""


@dataclass(slots=True)
class Tally:
    """How often keys were pressed, and what the lamps say of it beyond doubt."""

    pressed: Counter[Key] = field(default_factory=Counter)
    accepted: Counter[Key] = field(default_factory=Counter)
    refused: Counter[Key] = field(default_factory=Counter)
    dispenser_refusals: int = 0
    """Nobody can tell whose each is; all together are no more than presses that had no number, and
    slips that failed."""


class _Fate(Enum):
    """What is to be said of a press that was not answered so far."""

    OPEN = auto()
    """There is still time."""
    EXCUSED = auto()
    UNANSWERED = auto()


def station_of_screen(window: int) -> str:
    """Whose presses the screen of a window answers."""
    return f"caller-{window}"


class Ledger:
    """Takes everything in, and settles each press that is not answered in its time."""

    def __init__(
        self,
        excuse: Excuse,
        *,
        outages: Outages = lambda *_: (),
        unplugged: Callable[[str, float, float], bool] = lambda *_: False,
        prints_again: Callable[[float, float], bool] = lambda *_: True,
    ) -> None:
        """``unplugged``: whether a station's cable was out between two times; ``prints_again``:
        whether a daemon that is back at the second time still prints for who was promised paper at
        the first."""
        self._excuse = excuse
        self._outages = outages
        self._unplugged = unplugged
        self._prints_again = prints_again
        self.presses = 0
        self.excused = 0
        """Presses that nobody could answer (down, unplugged)."""
        self.tally = Tally()
        self.unanswered: list[Unanswered] = []
        self.papers: list[TicketPaper] = []
        self.other_papers = 0
        """Torn off, or marked void."""
        self.calls: list[Call] = []
        self.two_at_once: list[str] = []
        """Texts of screens that called more than one number."""
        self.serving: set[tuple[int, str]] = set()
        """Windows, and the numbers that their screens said were being served there."""
        self.misdirected: list[str] = []
        """What screens said that sent people to another window than their own, each once."""
        self.press_to_led_seconds: deque[float] = deque(maxlen=MAX_SAMPLES)
        self.press_to_paper_seconds: deque[float] = deque(maxlen=MAX_SAMPLES)
        self._on_paper: set[str] = set()
        """Tickets of which a whole paper has come out."""
        self._open: list[Press] = []
        """Not answered yet, the oldest first."""
        self._wanting_led: dict[str, Press] = {}
        self._lit_since: dict[tuple[str, str], float] = {}
        """By station and lamp."""
        self._calling: dict[int, str | None] = {}

    @property
    def unsettled(self) -> int:
        """Presses that may still be answered."""
        return len(self._open)

    def pressed(self, station: str, key: str, at: float) -> None:
        self.presses += 1
        self.tally.pressed[station, key] += 1
        press = Press(station, key, at)
        self._open.append(press)
        if key in CALLING_KEYS:
            self._wanting_led[station] = press

    def lamp(self, station: str, lamp: str, lit: bool, at: float) -> None:
        if lamp not in ANSWER_LAMPS:
            return
        if lit:
            self._lit_since[station, lamp] = at
            self._note(station, lamp, at)
            self._flash(station, lamp, at)
            return
        since = self._lit_since.pop((station, lamp), at)
        flashes = int((at - since + EARLY_SECONDS) / FLASH_SECONDS)
        for _ in range(flashes - 1):
            self._flash(station, lamp, at)

    def paper(self, paper: Paper) -> TicketPaper | None:
        """A piece of paper came out; the ticket on it, if it is one."""
        ticket = read_paper(paper)
        if ticket is None:
            self.other_papers += 1
            return None
        self.papers.append(ticket)
        again = ticket.ticket in self._on_paper  # its first paper has answered
        self._on_paper.add(ticket.ticket)
        waiting = [] if again else self._owed(DISPENSER, ticket.at)
        if waiting:
            press = next((press for press in waiting if press.promised), waiting[0])
            self._open.remove(press)
            seconds = ticket.at - press.at
            if len(waiting) == 1 and not ticket.reprint and seconds <= ANSWER_SECONDS:
                self.press_to_paper_seconds.append(seconds)
        return ticket

    def screen(self, window: int, text: str, at: float) -> Sight:
        """A screen obeyed a frame. ``at``: when its last byte had come."""
        sight = read_screen(text)
        if len(set(numbers_on(text))) > 1:
            self.two_at_once.append(text)
        if sight.window not in (None, window):
            self._misdirects(f"{text} (above window {window})")
        station = station_of_screen(window)
        if sight.showing is Showing.CALLING and sight.number is not None:
            self._called(window, sight.number, at)
            wanting = self._wanting_led.pop(station, None)
            if wanting is not None and at - wanting.at <= ANSWER_SECONDS:
                self.press_to_led_seconds.append(at - wanting.at)
        if sight.showing is Showing.SERVING and sight.number is not None:
            self.serving.add((window, sight.number))
        if sight.showing not in CALL_GOES_ON:
            self._calling[window] = None
        return sight

    def _misdirects(self, what: str) -> None:
        if what not in self.misdirected:  # it blinks
            self.misdirected.append(what)

    def _called(self, window: int, number: str, at: float) -> None:
        if self._calling.get(window) != number:
            self._calling[window] = number
            self.calls.append(Call(at, window, number))

    def _note(self, station: str, lamp: str, at: float) -> None:
        """Count an answer of which there is no doubt whose it is."""
        if station == DISPENSER and lamp == REFUSED:
            # It may be about a slip that failed.
            well = self._excuse(station, at - FLASH_SECONDS, at) is None
            self.tally.dispenser_refusals += well
            return
        here = [press for press in self._open if press.station == station and press.at < at]
        here = [press for press in here if not press.promised]  # those have had this answer
        if len({press.key for press in here}) != 1:
            return
        if self._excuse(station, here[0].at, at) is not None:
            return
        count = self.tally.accepted if lamp == ACCEPTED else self.tally.refused
        count[station, here[0].key] += 1

    def _flash(self, station: str, lamp: str, at: float) -> None:
        """An answer to the oldest that waits for it, and to the other keys under the same hand."""
        waiting = self._waiting_for(lamp, station, at)
        for press in waiting:
            if press.at - waiting[0].at <= HAND_SECONDS:
                self._answer(press, lamp, at)

    def _answer(self, press: Press, lamp: str, at: float) -> None:
        if lamp == ACCEPTED and press.station == DISPENSER:
            press.promised_at = at
            press.doubtful = self._excuse(press.station, press.at, at) is not None
        else:
            self._open.remove(press)

    def _waiting_for(self, lamp: str, station: str, at: float) -> list[Press]:
        """Whom this lamp may answer: those who saw nothing yet; if there is none, ``refused``
        tells those who were promised paper."""
        owed = self._owed(station, at)
        new = [press for press in owed if not press.promised]
        return new if new or lamp == ACCEPTED else owed

    def _owed(self, station: str, at: float) -> list[Press]:
        """The open presses of a station that could be answered; all, if none could."""
        here = [press for press in self._open if press.station == station and press.at < at]
        return [press for press in here if self._is_owed(press, at)] or here

    def _is_owed(self, press: Press, at: float) -> bool:
        if press.promised_at is not None and not press.doubtful:
            return not self._unplugged(press.station, press.promised_at, at)
        return self._excuse(press.station, press.at, at) is None

    def settle(self, now: float) -> list[Unanswered]:
        """Decide about every press whose time is over; those that should have been answered."""
        fates = [(press, self._fate(press, now)) for press in self._open]
        self._open = [press for press, fate in fates if fate is _Fate.OPEN]
        self.excused += sum(fate is _Fate.EXCUSED for _, fate in fates)
        found = [
            Unanswered(press.station, press.key, press.at, press.promised)
            for press, fate in fates
            if fate is _Fate.UNANSWERED
        ]
        self.unanswered += found
        return found

    def _fate(self, press: Press, now: float) -> _Fate:
        if press.promised_at is not None and press.doubtful:
            return _Fate.OPEN if now <= press.promised_at + PAPER_SECONDS else _Fate.EXCUSED
        if press.promised_at is not None:
            return self._fate_of_promise(press.station, press.promised_at, now)
        if now <= press.at + ANSWER_SECONDS:
            return _Fate.OPEN
        excuse = self._excuse(press.station, press.at, press.at + EXCUSED_WITHIN_SECONDS)
        return _Fate.UNANSWERED if excuse is None else _Fate.EXCUSED

    def _fate_of_promise(self, station: str, promised_at: float, now: float) -> _Fate:
        """A promise is on disk: a daemon that died over it owes paper or a refusal once more,
        from when it is back. One that died when it should have kept it long ago has no excuse."""
        owed_since = promised_at
        for down, up in self._outages(promised_at, now):
            if down > owed_since + SLIP_SECONDS + EXCUSED_WITHIN_SECONDS:
                return _Fate.UNANSWERED
            if up > now:
                return _Fate.OPEN
            if not self._prints_again(promised_at, up):
                return _Fate.EXCUSED
            owed_since = up
        if now <= owed_since + PAPER_SECONDS:
            return _Fate.OPEN
        # Paper needs no cable, but a refusal that went with it was seen by nobody.
        unplugged = self._unplugged(station, owed_since, owed_since + PAPER_SECONDS)
        return _Fate.EXCUSED if unplugged else _Fate.UNANSWERED
