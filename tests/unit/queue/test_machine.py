"""All commands in any order, under any plan, with clocks that jump: what must always hold.

``QUEUE_PROFILE=long`` walks further, for a nightly run, and makes what it finds short, which takes
minutes: else a failure is told at once, as it was found.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from contract.commands import (
    CallNext,
    CloseDay,
    Command,
    ConfirmPrint,
    Finish,
    IssueTicket,
    NoShow,
    OpenDay,
    Park,
    Pause,
    Rate,
    Recall,
    Refusal,
    RefusalReason,
    Rejoin,
    Reopen,
    Resume,
    SignOff,
    SignOn,
    Start,
    Transfer,
)
from contract.events import (
    HallEvent,
    TicketCalled,
    TicketEvent,
    TicketFinished,
    TicketIssued,
    TicketRated,
    TicketUnrated,
)
from contract.names import HallPhase, Moment, Rating, ServiceId, TicketState, Tier, WindowState
from edge.queue import day
from edge.queue.apply import apply
from edge.queue.decide import decide
from edge.queue.dispatch import Lines, next_ticket
from edge.queue.machines import ENDED
from edge.queue.plan import HallPlan
from edge.queue.state import HallState, lines_of
from edge.snapshot import from_json, to_json
from tests.support.hall import MORNING, ulid
from tests.support.walks import CLERKS, commands, plans

LONG = os.environ.get("QUEUE_PROFILE") == "long"
PROFILE = settings(
    max_examples=2_000 if LONG else 150,
    stateful_step_count=200 if LONG else 50,
    derandomize=not LONG,
    deadline=None,
    phases=set(Phase) if LONG else {Phase.explicit, Phase.reuse, Phase.generate},
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

CLOCKS_ARE_SET_BY_DAYS = (-400.0, -30.0, -1.0, -0.1, 0.1, 0.5, 1.0, 3.0, 30.0)

AT_A_WINDOW = {
    TicketState.CALLED: WindowState.CALLING,
    TicketState.SERVING: WindowState.SERVING,
}

SENSIBLE_KEYS: dict[WindowState, list[Callable[[int], Command]]] = {
    WindowState.CLOSED: [lambda window: SignOn(window=window, clerk=CLERKS[window % 3])],
    WindowState.PAUSED: [lambda window: Reopen(window=window)],
    WindowState.IDLE: [
        lambda window: CallNext(window=window),
        lambda window: CallNext(window=window),
        lambda window: Resume(window=window),
        lambda window: SignOff(window=window),
        lambda window: Pause(window=window),
    ],
    WindowState.CALLING: [
        lambda window: Start(window=window),
        lambda window: Start(window=window),
        lambda window: Recall(window=window),
        lambda window: Recall(window=window),
        lambda window: NoShow(window=window),
        lambda window: NoShow(window=window),
    ],
    WindowState.SERVING: [
        lambda window: Finish(window=window),
        lambda window: CallNext(window=window),
        lambda window: Park(window=window),
        lambda window: Transfer(window=window, to_service="a"),
        lambda window: Transfer(window=window, to_window=window % 3 + 1),
    ],
}


def copy_of(state: HallState) -> HallState:
    """With mappings of its own: what is in them is frozen."""
    by_service = {service: dict(tiers) for service, tiers in state.lines.by_service.items()}
    return replace(
        state,
        spent=dict(state.spent),
        spent_on=dict(state.spent_on),
        tickets=dict(state.tickets),
        windows=dict(state.windows),
        service_times=dict(state.service_times),
        lines=Lines(by_service, dict(state.lines.by_window)),
    )


class QueueMachine(RuleBasedStateMachine):
    """One hall over some days."""

    @initialize(plan=plans())
    def open_the_hall(self, plan: HallPlan) -> None:
        self.plan = plan
        self.state = HallState()
        self.events: list[HallEvent] = []
        self.boots = 1
        self.now = Moment(wall=MORNING, monotonic=10.0, boot="boot-1")
        self.numbers: set[tuple[object, str, int]] = set()
        self.issued: list[str] = []
        self.alive: set[str] = set()
        self.asked: set[str] = set()
        self.do(OpenDay(business_day=day.business_day(plan, self.now)))
        self.everybody_signs_on()
        for service in plan.services:
            self.take_number(service, Tier.NORMAL)
            self.take_number(service, Tier.VIP_GOLD)

    def everybody_signs_on(self) -> None:
        for window, clerk in zip(self.plan.windows, CLERKS, strict=False):
            self.do(SignOn(window=window, clerk=clerk))

    # --- what people do -------------------------------------------------------------------------

    def do(self, command: Command) -> Refusal | None:
        before = self.state
        kept = copy_of(before)
        outcome = decide(self.plan, before, command, self.now)
        assert before == kept, "decide changed its input"
        assert decide(self.plan, before, command, self.now) == outcome, "decide has a memory"
        if isinstance(outcome, Refusal):
            assert outcome.command == command.command
            assert str(outcome)
            return outcome
        assert outcome, "accepted, and nothing happened"
        for event in outcome:
            state = apply(self.state, event)
            assert before == kept, "apply changed its input"
            self.witness(event, state)
            self.state = state
        self.events += outcome
        return None

    def witness(self, event: HallEvent, state: HallState) -> None:
        """What an event must be true to, whatever led to it."""
        assert isinstance(event, HallEvent)
        if isinstance(event, TicketIssued):
            service = self.plan.services[event.service]
            assert event.number == service.number(event.ordinal)
            assert service.first_number <= event.ordinal <= service.last_number
            key = (event.business_day, service.prefix, event.ordinal)
            assert key not in self.numbers, f"{event.number} twice in a day"
            self.numbers.add(key)
            self.alive.add(event.ticket)
        if isinstance(event, TicketCalled):
            was = self.state.tickets[event.ticket]
            assert was.state is TicketState.WAITING, "called, and did not wait"
            assert (event.wait_seconds is None) or event.first_call
        if isinstance(event, TicketFinished):
            self.asked.add(event.ticket)
        if isinstance(event, TicketRated | TicketUnrated):
            self.asked.remove(event.ticket)  # once
        if isinstance(event, TicketEvent):
            ticket = state.tickets.get(event.ticket)
            if ticket is None or ticket.state in ENDED:
                self.alive.discard(event.ticket)
            else:
                self.alive.add(event.ticket)

    @rule(data=st.data())
    def somebody_does_something(self, data: st.DataObject) -> None:
        self.do(data.draw(commands(self.plan, self.issued[-12:]), label="command"))

    @rule(data=st.data(), people=st.integers(1, 4), printed=st.sampled_from((True, True, False)))
    def customers_take_numbers(self, data: st.DataObject, people: int, printed: bool) -> None:
        for _ in range(people):
            service = data.draw(st.sampled_from(sorted(self.plan.services)), label="service")
            tier = data.draw(st.sampled_from(Tier), label="tier")
            self.take_number(service, tier, printed=printed)

    def take_number(self, service: ServiceId, tier: Tier, *, printed: bool = True) -> None:
        ticket = ulid(len(self.issued) + 1)
        self.issued.append(ticket)
        refusal = self.do(IssueTicket(ticket=ticket, service=service, tier=tier))
        if refusal is not None and refusal.reason is RefusalReason.NUMBERS_EXHAUSTED:
            range_of = self.plan.services[service]
            for ordinal in range(range_of.first_number, range_of.last_number + 1):
                assert (self.state.business_day, range_of.prefix, ordinal) in self.numbers
        elif refusal is not None:
            assert refusal.reason is RefusalReason.DAY_NOT_OPEN
        if printed:
            self.do(ConfirmPrint(ticket=ticket))

    @rule(data=st.data(), presses=st.integers(1, 6))
    def clerks_press_what_makes_sense(self, data: st.DataObject, presses: int) -> None:
        for _ in range(presses):
            number = data.draw(st.sampled_from(sorted(self.plan.windows)), label="window")
            keys = SENSIBLE_KEYS[self.state.window(number).state]
            self.do(data.draw(st.sampled_from(keys), label="key")(number))
            self.time_passes(7.0)

    @rule(data=st.data(), people=st.integers(1, 4))
    def customers_are_served(self, data: st.DataObject, people: int) -> None:
        for _ in range(people):
            number = data.draw(st.sampled_from(sorted(self.plan.windows)), label="window")
            self.do(CallNext(window=number))
            self.do(Start(window=number))
            self.time_passes(30.0)
            ends = data.draw(st.sampled_from(SENSIBLE_KEYS[WindowState.SERVING]), label="end")
            self.do(ends(number))

    @rule(data=st.data())
    def a_customer_rates(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.plan.windows)), label="window")
        for _ in range(2):
            self.do(Rate(window=number, rating=Rating.DISSATISFIED))

    @rule(data=st.data(), people=st.integers(1, 3), come_back=st.booleans())
    def customers_do_not_come(self, data: st.DataObject, people: int, come_back: bool) -> None:
        for _ in range(people):
            number = data.draw(st.sampled_from(sorted(self.plan.windows)), label="window")
            self.do(CallNext(window=number))
            for _ in range(3):
                self.do(Recall(window=number))
            self.time_passes(10.0)
            self.do(NoShow(window=number))
        if come_back:
            self.who_was_gone_comes_back(data)

    @rule(data=st.data())
    def who_was_gone_comes_back(self, data: st.DataObject) -> None:
        gone = [t.id for t in self.state.tickets.values() if t.state in ENDED]
        for ticket in data.draw(st.permutations(gone), label="gone"):
            self.do(Rejoin(ticket=ticket))

    @rule(data=st.data())
    def two_windows_press_next_at_once(self, data: st.DataObject) -> None:
        two = st.lists(st.sampled_from(sorted(self.plan.windows)), min_size=2, max_size=2)
        for window in data.draw(two, label="windows"):
            self.do(CallNext(window=window))

    # --- what time and the calendar do ----------------------------------------------------------

    @rule(seconds=st.sampled_from((0.0, 1.0, 30.0, 600.0, 3600.0)))
    def time_passes(self, seconds: float) -> None:
        self.now = self.now.model_copy(
            update={
                "wall": self.now.wall + timedelta(seconds=seconds),
                "monotonic": self.now.monotonic + seconds,
            }
        )

    @precondition(lambda self: len(self.events) > 40)
    @rule(
        days=st.sampled_from((-400.0, -30.0, -1.0, -0.1, 0.1, 0.5, 1.0, 3.0, 30.0)),
        synced=st.booleans(),
    )
    def the_clock_is_set(self, days: float, synced: bool) -> None:
        wall = self.now.wall + timedelta(days=days)
        self.now = self.now.model_copy(update={"wall": wall, "synced": synced})

    @precondition(lambda self: len(self.events) > 40)
    @rule(to_1970=st.booleans())
    def the_power_fails(self, to_1970: bool) -> None:
        self.boots += 1
        wall = MORNING.replace(year=1970) if to_1970 else self.now.wall
        self.now = Moment(wall=wall, monotonic=3.0, boot=f"boot-{self.boots}", synced=not to_1970)
        self.state = from_json(to_json(self.state))

    @rule()
    def the_calendar_is_looked_at(self) -> None:
        before = self.state.business_day
        for command in day.due(self.plan, self.state, self.now):
            outcome = decide(self.plan, self.state, command, self.now)
            assert not isinstance(outcome, Refusal), f"the calendar's {outcome}"
            self.do(command)
        after = self.state.business_day
        assert after is not None
        if before is not None and after < before:
            assert self.now.synced, "a day ran backwards, and nobody knew the date"
        held = bool(self.alive) or self.now.monotonic < day.SETTLED_SECONDS
        if self.now.synced and not held and self.state.phase is HallPhase.OPEN:
            assert not day.is_to_come(self.plan, after, self.now), "a wrong day goes on"
            assert not day.is_over(self.plan, after, self.now), "a day goes on for ever"
        assert self.state.phase is HallPhase.OPEN or self.now.synced, "a dead dispenser"

    @rule(then_open=st.sampled_from((True, True, True, False)), days=st.sampled_from((0, 0, -1, 1)))
    @precondition(lambda self: len(self.events) > 40)
    def a_manager_ends_the_day(self, then_open: bool, days: int) -> None:
        self.close_the_day()
        if then_open:
            today = day.business_day(self.plan, self.now)
            self.do(OpenDay(business_day=today + timedelta(days=days)))
            self.everybody_signs_on()

    def close_the_day(self) -> None:
        was_open = self.state.phase is HallPhase.OPEN
        self.do(CloseDay())
        if was_open:
            assert not self.alive, "somebody's ticket never ended"
            assert not self.asked, "a finished ticket is neither rated nor unrated"
            assert not self.state.tickets
            assert not self.state.windows

    @rule(plan=plans())
    @precondition(lambda self: len(self.events) > 30)
    def the_configuration_is_changed(self, plan: HallPlan) -> None:
        self.plan = plan

    # --- what always holds ----------------------------------------------------------------------

    @invariant()
    def tickets_and_windows_hold_each_other(self) -> None:
        held = {w.ticket: w for w in self.state.windows.values() if w.ticket is not None}
        active = {t.id: t for t in self.state.tickets.values() if t.state in AT_A_WINDOW}
        assert held.keys() == active.keys(), "a ticket at one window, a window with one ticket"
        assert len(held) == sum(w.ticket is not None for w in self.state.windows.values())
        for ticket, window in held.items():
            assert active[ticket].window == window.number
            assert active[ticket].clerk == window.clerk
            assert AT_A_WINDOW[active[ticket].state] is window.state
        for window in self.state.windows.values():
            assert (window.ticket is not None) == (window.state in AT_A_WINDOW.values())

    @invariant()
    def a_clerk_is_at_one_window(self) -> None:
        clerks = [w.clerk for w in self.state.windows.values() if w.clerk is not None]
        assert len(clerks) == len(set(clerks))
        for window in self.state.windows.values():
            assert (window.clerk is None) == (window.state is WindowState.CLOSED)

    @invariant()
    def lines_are_what_the_tickets_tell(self) -> None:
        assert self.state.lines == lines_of(self.state.tickets)

    @invariant()
    def no_two_tickets_share_a_place(self) -> None:
        places = [ticket.place for ticket in self.state.tickets.values()]
        assert len(places) == len(set(places))

    @invariant()
    def nobody_waits_for_a_window_that_is_closed(self) -> None:
        for ticket in self.state.tickets.values():
            if ticket.to_window is not None:
                assert ticket.state is TicketState.WAITING
                assert self.state.window(ticket.to_window).state is not WindowState.CLOSED

    @invariant()
    def an_evaluator_asks_about_a_finished_ticket(self) -> None:
        asking = {w.asking for w in self.state.windows.values() if w.asking is not None}
        finished = {t.id for t in self.state.tickets.values() if t.state is TicketState.FINISHED}
        assert asking == finished
        for window in self.state.windows.values():
            assert window.asking is None or window.state is not WindowState.SERVING

    @invariant()
    def only_an_open_day_has_tickets(self) -> None:
        assert self.state.phase is HallPhase.OPEN or not self.state.tickets

    @invariant()
    def whoever_is_next_can_be_called(self) -> None:
        for number, skills in self.plan.windows.items():
            following = next_ticket(
                self.state.lines, number, skills.preference, self.plan.policy, 0.0
            )
            if following is not None:
                assert self.state.tickets[following.ticket].state is TicketState.WAITING

    def teardown(self) -> None:
        if not hasattr(self, "state"):
            return
        if self.state.phase is HallPhase.OPEN:
            self.close_the_day()
        state = HallState()
        for event in self.events:
            state = apply(state, event)
        assert state == self.state, "replaying the events gives another state"


@pytest.mark.timeout(7200 if LONG else 300)
def test_whatever_people_and_clocks_do_the_hall_stays_sound() -> None:
    run_state_machine_as_test(QueueMachine, settings=PROFILE)
