"""Random plans and random mornings, for property tests."""

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import strategies as st

from contract.commands import (
    CallNext,
    CallTicket,
    Cancel,
    CloseDay,
    CloseRating,
    Command,
    ConfirmPrint,
    FailPrint,
    Finish,
    IssueTicket,
    NoShow,
    OpenDay,
    Park,
    Pause,
    Rate,
    Recall,
    Refusal,
    Rejoin,
    Reopen,
    Resume,
    SignOff,
    SignOn,
    Start,
    Transfer,
)
from contract.events import HallEvent
from contract.names import CancelReason, Rating, TicketId, Tier, VoidReason
from edge.queue.apply import apply
from edge.queue.decide import decide
from edge.queue.dispatch import POLICIES
from edge.queue.plan import HallPlan, Rules, Service
from edge.queue.state import HallState
from tests.support.hall import MONDAY, Hall, make_plan, ulid

CLERKS = ("7001", "7002", "7003")


@st.composite
def plans(draw: st.DrawFn) -> HallPlan:
    """One to four windows, one to three services, any policy, any rules; prefixes and ranges of
    numbers as they come, so that two services may share some, and another plan's do."""
    skills = st.sampled_from(("a", "ab", "ba", "abc", "cab", "c"))
    windows = draw(st.lists(skills, min_size=1, max_size=4))
    plan = make_plan(
        dict(enumerate(windows, start=1)),
        policy=POLICIES[draw(st.sampled_from(sorted(POLICIES)))],
        rules=Rules(
            recall_limit=draw(st.integers(1, 3)),
            no_show_after_calls=draw(st.integers(1, 3)),
            no_show_after_seconds=draw(st.sampled_from((0.0, 10.0))),
            rejoin_after=draw(st.integers(1, 3)),
        ),
    )
    services = {name: draw(_numbered(service)) for name, service in plan.services.items()}
    return replace(plan, services=services)


@st.composite
def _numbered(draw: st.DrawFn, service: Service) -> Service:
    first = draw(st.sampled_from((1, 1, 3, 90)))
    return replace(
        service,
        prefix=draw(st.sampled_from((service.prefix, service.prefix, "A", "AB"))),
        first_number=first,
        last_number=first + draw(st.sampled_from((4, 98, 98))),
    )


def commands(plan: HallPlan, tickets: Sequence[TicketId]) -> st.SearchStrategy[Command]:
    """Any command but the day's, about these tickets; windows and services may be unknown."""
    window = st.sampled_from([*plan.windows, *plan.windows, *plan.windows, 999])
    service = st.sampled_from([*plan.services, *plan.services, *plan.services, "nonsense"])
    ticket = st.sampled_from(tickets or [ulid(0)])
    of_window = [CallNext, Recall, Start, Finish, NoShow, Park, Pause, Reopen, Resume, SignOff]
    return st.one_of(
        *(st.builds(kind, window=window) for kind in of_window),
        st.builds(SignOn, window=window, clerk=st.sampled_from(CLERKS)),
        st.builds(CallTicket, window=window, ticket=ticket),
        st.builds(Resume, window=window, ticket=ticket),
        st.builds(Transfer, window=window, to_service=service),
        st.builds(Transfer, window=window, to_window=window),
        st.builds(Rate, window=window, rating=st.sampled_from(Rating)),
        st.builds(CloseRating, window=window, ticket=ticket),
        st.builds(ConfirmPrint, ticket=ticket),
        st.builds(FailPrint, ticket=ticket, reason=st.sampled_from(VoidReason)),
        st.builds(Rejoin, ticket=ticket),
        st.builds(Cancel, ticket=ticket, reason=st.sampled_from(CancelReason)),
        st.builds(IssueTicket, ticket=ticket, service=service, tier=st.sampled_from(Tier)),
    )


@st.composite
def walks(draw: st.DrawFn) -> tuple[HallState, list[HallEvent]]:
    """A state that a hall can come into, and the events that led to it."""
    hall = Hall(draw(plans()), day_is_open=False)
    opening: list[Command] = [OpenDay(business_day=MONDAY)]
    opening += [
        SignOn(window=window, clerk=clerk)
        for window, clerk in zip(hall.plan.windows, CLERKS, strict=False)
    ]
    tickets = [ulid(n) for n in range(1, 7)]
    opening += [
        IssueTicket(ticket=ticket, service=draw(st.sampled_from(sorted(hall.plan.services))))
        for ticket in tickets[: draw(st.integers(0, 6))]
    ]
    opening += [ConfirmPrint(ticket=ticket) for ticket in tickets[:4]]
    walk = draw(st.lists(commands(hall.plan, tickets), max_size=30))
    ending: list[Command] = draw(st.sampled_from(([], [], [], [CloseDay()])))
    state, events = hall.state, list[HallEvent]()
    for command in [*opening, *walk, *ending]:
        hall.pass_time(7.3)
        outcome = decide(hall.plan, state, command, hall.now)
        if not isinstance(outcome, Refusal):
            for event in outcome:
                state = apply(state, event)
            events += outcome
    return state, events


def states() -> st.SearchStrategy[HallState]:
    return walks().map(lambda walk: walk[0])


def histories() -> st.SearchStrategy[list[HallEvent]]:
    return walks().map(lambda walk: walk[1])
