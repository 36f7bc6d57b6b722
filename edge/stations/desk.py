"""A window's desk: the caller's keys, the evaluator's keys and lamps, the screen above."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from contract.commands import (
    CallNext,
    CloseRating,
    Command,
    Finish,
    NoShow,
    Park,
    Pause,
    Rate,
    Recall,
    Refusal,
    RefusalReason,
    Reopen,
    Resume,
    SignOff,
    SignOn,
    Start,
    Transfer,
)
from contract.events import (
    AtWindow,
    HallEvent,
    TicketCalled,
    TicketFinished,
    TicketRated,
    TicketRecalled,
    TicketUnrated,
)
from contract.names import (
    ClerkId,
    Language,
    Moment,
    Rating,
    TicketId,
    WindowNumber,
    WindowState,
)
from edge import words
from edge.clock import Clock
from edge.controller import Controller
from edge.drivers.roles import CallScreen, Keypad, LampPattern, ScreenLine
from edge.queue.state import HallState
from edge.stations.presses import Outcome, Presses
from edge.stations.waits import Waits

ASKING = "asking"
"""Lamp of the evaluator: please rate."""
THANKS = "thanks"
"""Lamp of the evaluator: the rating counts."""

PAUSE = "pause"
PARK = "park"
SIGN_ON = "sign_on"
TRANSFER = "transfer-"

RECALL = "recall"

ONCE_IN_A_MOMENT = frozenset({SIGN_ON, PAUSE, PARK, RECALL})
"""Keys that go back and forth, or would use up the recalls."""
MOMENT_SECONDS = 1.5
JOURNAL_RETRY_SECONDS = 1.0

_PLAIN_KEYS: Mapping[str, Callable[[WindowNumber], Command]] = {
    "call_next": lambda window: CallNext(window=window),
    RECALL: lambda window: Recall(window=window),
    "start": lambda window: Start(window=window),
    "finish": lambda window: Finish(window=window),
    "no_show": lambda window: NoShow(window=window),
    "resume": lambda window: Resume(window=window),
}

CALLER_KEYS = frozenset({*_PLAIN_KEYS, PAUSE, PARK, SIGN_ON})
"""Names that a caller's key can have; also ``transfer-`` and a service."""


class Desk:
    """One window. Its keys become commands, its events become light and text."""

    def __init__(
        self,
        controller: Controller,
        clock: Clock,
        window: WindowNumber,
        *,
        clerk: ClerkId | None,
        callers: Sequence[Keypad],
        evaluators: Sequence[Keypad],
        screens: Sequence[CallScreen],
        language: Language,
        rating_seconds: float,
        waits: Waits,
    ) -> None:
        self._controller = controller
        self._clock = clock
        self._window = window
        self._clerk = clerk
        self._evaluators = evaluators
        self._screens = screens
        self._language = language
        self._rating_seconds = rating_seconds
        self._waits = waits
        self._shown: ScreenLine | None = None
        self._accepted: dict[str, Moment] = {}
        """When each key of the caller was accepted last."""
        self._asked: asyncio.Queue[tuple[TicketId, Moment]] = asyncio.Queue()
        self.presses = [
            *(Presses(keypad, self._caller_key, refuse_leaning=True) for keypad in callers),
            *(Presses(keypad, self._rating_key, refuse_leaning=True) for keypad in evaluators),
        ]
        controller.subscribe(self._happened)

    async def run(self) -> None:
        """Serve the window until cancelled."""
        asking = self._controller.state.window(self._window).asking
        if asking is not None:
            self._ask(asking, self._clock.now())
        self.refresh()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._stop_asking_in_time())
            for presses in self.presses:
                tasks.create_task(presses.run())

    # --- keys ---------------------------------------------------------------------------------

    async def _caller_key(self, key: str) -> Outcome:
        command = self._command(key)
        if command is None:
            return Refusal(reason=RefusalReason.UNKNOWN_KEY, command=key, window=self._window)
        if self._is_pressed_twice(key):
            return Refusal(reason=RefusalReason.PRESSED_TWICE, command=key, window=self._window)
        outcome = await self._controller.submit(command)
        if not isinstance(outcome, Refusal):
            self._accepted[key] = self._clock.now()
        self.refresh()
        return outcome

    def _is_pressed_twice(self, key: str) -> bool:
        """Who taps twice wants it once, and believes the first of the two answers."""
        before = self._accepted.get(key)
        if before is None or key not in ONCE_IN_A_MOMENT:
            return False
        seconds = self._clock.now().seconds_since(before)
        return seconds is not None and seconds < MOMENT_SECONDS

    def _command(self, key: str) -> Command | None:
        """What this key means now; some keys go back and forth."""
        window = self._controller.state.window(self._window)
        if key in _PLAIN_KEYS:
            return _PLAIN_KEYS[key](self._window)
        if key.startswith(TRANSFER):
            return Transfer(window=self._window, to_service=key.removeprefix(TRANSFER))
        return self._toggle(key, window.state)

    def _toggle(self, key: str, state: WindowState) -> Command | None:
        if key == PAUSE:
            paused = state is WindowState.PAUSED
            return Reopen(window=self._window) if paused else Pause(window=self._window)
        if key == PARK:
            serving = state is WindowState.SERVING
            return Park(window=self._window) if serving else Resume(window=self._window)
        if key == SIGN_ON and state is not WindowState.CLOSED:
            return SignOff(window=self._window)
        if key == SIGN_ON and self._clerk is not None:
            return SignOn(window=self._window, clerk=self._clerk)
        return None

    async def _rating_key(self, key: str) -> Outcome:
        return await self._controller.submit(Rate(window=self._window, rating=Rating(key)))

    # --- the evaluator ------------------------------------------------------------------------

    def _ask(self, ticket: TicketId, since: Moment) -> None:
        self._lamp(ASKING, LampPattern.BLINK)
        self._lamp(THANKS, LampPattern.OFF)
        self._asked.put_nowait((ticket, since))

    async def _stop_asking_in_time(self) -> None:
        """One ticket after the other, as their times end in the order in which they began."""
        while True:
            ticket, since = await self._asked.get()
            asked_seconds = self._clock.now().seconds_since(since) or 0.0
            await self._clock.sleep(self._rating_seconds - asked_seconds)
            while self._controller.state.window(self._window).asking == ticket:
                closing = CloseRating(window=self._window, ticket=ticket)
                if isinstance(await self._controller.submit(closing), Refusal):
                    await asyncio.sleep(JOURNAL_RETRY_SECONDS)

    def _lamp(self, lamp: str, pattern: LampPattern) -> None:
        for evaluator in self._evaluators:
            evaluator.set_lamp(lamp, pattern)

    # --- the screen ---------------------------------------------------------------------------

    def _happened(self, event: HallEvent, state: HallState) -> None:
        if not isinstance(event, AtWindow) or event.window != self._window:
            return
        if isinstance(event, TicketFinished):
            self._ask(event.ticket, event.at)
        elif isinstance(event, TicketRated):
            self._lamp(ASKING, LampPattern.OFF)
            self._lamp(THANKS, LampPattern.FLASH)
        elif isinstance(event, TicketUnrated):
            self._lamp(ASKING, LampPattern.OFF)
        announced = isinstance(event, TicketCalled | TicketRecalled)
        self._show(self._line(state), again=announced)

    def refresh(self) -> None:
        """Show what is true now, if it isn't shown yet."""
        self._show(self._line(self._controller.state))

    def _show(self, line: ScreenLine, *, again: bool = False) -> None:
        if line == self._shown and not again:
            return
        self._shown = line
        for screen in self._screens:
            screen.show(line)

    def _line(self, state: HallState) -> ScreenLine:
        window = state.window(self._window)
        if self._controller.journal_refuses:
            return ScreenLine(words.out_of_order(self._language), colour="yellow")
        if window.ticket is not None:
            ticket = state.tickets[window.ticket]
            if window.state is WindowState.CALLING:
                return ScreenLine(
                    words.call(ticket.number, window.number, ticket.language), blink=True
                )
            return ScreenLine(words.serving(ticket.number, ticket.language), colour="green")
        if window.state is WindowState.PAUSED:
            return ScreenLine(words.paused(self._language), colour="yellow")
        if window.state is WindowState.CLOSED:
            return ScreenLine(words.closed(self._language), colour="yellow")
        return self._idle_line(state)

    def _idle_line(self, state: HallState) -> ScreenLine:
        """How many wait for what is done here, and how long somebody new would wait for it."""
        plan = self._controller.plan
        services = plan.windows[self._window].preference
        waiting = sum(state.lines.count(service) for service in services)
        if not waiting:
            return ScreenLine(words.idle(0, None, self._language), colour="green")
        waits = [wait for service in services if (wait := self._waits.of(service, state))]
        longest = max(waits, key=lambda wait: wait[1], default=None)
        return ScreenLine(words.idle(waiting, longest, self._language), colour="green")
