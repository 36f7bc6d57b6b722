"""A customer takes a number: reserved, printed, and only then in line."""

import pytest

from contract.commands import (
    CallNext,
    CallTicket,
    Cancel,
    ConfirmPrint,
    FailPrint,
    IssueTicket,
    RefusalReason,
    Rejoin,
)
from contract.events import (
    TicketCancelled,
    TicketIssued,
    TicketPrinted,
    TicketRejoined,
    TicketVoided,
    WaitEstimated,
)
from contract.names import CancelReason, Language, TicketState, Tier, VoidReason
from edge.queue.plan import Service
from tests.support.hall import MONDAY, Hall, make_plan, ulid


def test_a_press_reserves_the_first_number_of_its_service_and_tells_the_wait() -> None:
    hall = Hall(make_plan({1: "ab"}))
    command = IssueTicket(ticket=ulid(1), service="b", tier=Tier.VIP_GOLD, language=Language.EN)
    issued, estimated = hall.do(command)
    assert isinstance(issued, TicketIssued)
    assert (issued.number, issued.ordinal, issued.business_day) == ("B001", 1, MONDAY)
    assert (issued.tier, issued.language) == (Tier.VIP_GOLD, Language.EN)
    assert isinstance(estimated, WaitEstimated)
    assert estimated.ticket == issued.ticket


def test_what_was_estimated_at_the_press_is_what_the_journal_keeps() -> None:
    hall = Hall(make_plan({1: "a", 2: "b"}))
    hall.sign_on(1)
    for _ in range(3):
        hall.press("a")
    plan, state = hall.plan, hall.state
    wait = plan.estimator.estimate(plan, state, "a", Tier.NORMAL, hall.now)
    _, estimated = hall.do(IssueTicket(ticket=ulid(99), service="a"))
    assert isinstance(estimated, WaitEstimated)
    assert wait.p90_seconds is not None
    assert wait.p50_seconds is not None
    assert 0 < wait.p50_seconds < wait.p90_seconds
    assert (estimated.p50_seconds, estimated.p90_seconds) == (wait.p50_seconds, wait.p90_seconds)
    assert (estimated.ahead, estimated.method) == (wait.ahead, wait.method)


def test_every_service_counts_for_itself() -> None:
    hall = Hall(make_plan({1: "ab"}))
    tickets = [hall.press(service) for service in "aabab"]
    assert [hall.ticket(t).number for t in tickets] == ["A001", "A002", "B001", "A003", "B002"]


def test_a_number_has_as_many_digits_as_the_last_number_of_its_service() -> None:
    assert Service("a", "A", last_number=99).number(7) == "A07"
    assert Service("a", "AB", first_number=500, last_number=1500).number(500) == "AB0500"


def test_numbers_begin_at_the_first_number_of_the_service() -> None:
    hall = Hall()
    hall.change_plan(services={"a": Service("a", "A", first_number=500)})
    assert hall.ticket(hall.press()).number == "A500"


def test_numbers_that_are_used_up_are_refused_by_name_and_nothing_changes() -> None:
    hall = Hall(make_plan({1: "a"}, last_number=2))
    hall.press()
    hall.press()
    before = hall.state
    refusal = hall.refuse(IssueTicket(ticket=ulid(9), service="a"))
    assert refusal.reason is RefusalReason.NUMBERS_EXHAUSTED
    assert refusal.detail == "A ends at 2"
    assert hall.state == before


def test_a_service_that_is_not_there_is_refused() -> None:
    refusal = Hall().refuse(IssueTicket(ticket=ulid(1), service="nonsense"))
    assert refusal.reason is RefusalReason.UNKNOWN_SERVICE


def test_the_same_ticket_is_not_issued_twice() -> None:
    hall = Hall()
    ticket = hall.press()
    refusal = hall.refuse(IssueTicket(ticket=ticket, service="a"))
    assert refusal.reason is RefusalReason.TICKET_EXISTS


def test_a_ticket_whose_paper_is_still_printing_is_not_called() -> None:
    hall = Hall()
    hall.sign_on(1)
    ticket = hall.press()
    assert hall.refuse(CallNext(window=1)).reason is RefusalReason.NOBODY_WAITING
    refusal = hall.refuse(CallTicket(window=1, ticket=ticket))
    assert (refusal.reason, refusal.state) == (RefusalReason.WRONG_TICKET_STATE, "printing")


def test_a_ticket_that_was_really_printed_waits() -> None:
    hall = Hall()
    ticket = hall.press()
    assert isinstance(hall.do(ConfirmPrint(ticket=ticket))[0], TicketPrinted)
    assert hall.state_of(ticket) is TicketState.WAITING


def test_the_place_is_that_of_the_press_not_of_the_paper() -> None:
    hall = Hall()
    hall.sign_on(1)
    first, second = hall.press(), hall.press()
    hall.do(ConfirmPrint(ticket=second))
    hall.do(ConfirmPrint(ticket=first))
    assert hall.call_next() == first


@pytest.mark.parametrize("reason", sorted(set(VoidReason) - {VoidReason.UNCONFIRMED}))
def test_a_ticket_whose_paper_failed_is_gone_and_its_number_is_spent(reason: VoidReason) -> None:
    hall = Hall()
    ticket = hall.press()
    (voided,) = hall.do(FailPrint(ticket=ticket, reason=reason))
    assert isinstance(voided, TicketVoided)
    assert ticket not in hall.state.tickets
    assert hall.refuse(Rejoin(ticket=ticket)).reason is RefusalReason.UNKNOWN_TICKET
    assert hall.ticket(hall.press()).number == "A002"


def test_a_ticket_that_nobody_can_tell_about_waits_again_when_its_paper_turns_up() -> None:
    hall = Hall()
    hall.sign_on(1)
    ticket = hall.press()
    later = [hall.take_number() for _ in range(4)]
    hall.do(FailPrint(ticket=ticket, reason=VoidReason.UNCONFIRMED))
    assert hall.state_of(ticket) is TicketState.VOIDED
    (rejoined,) = hall.do(Rejoin(ticket=ticket))
    assert isinstance(rejoined, TicketRejoined)
    assert hall.call_next() == ticket, "it lost its place, and it was not the customer's fault"
    assert hall.state.lines.count("a") == len(later)


def test_paper_is_confirmed_once() -> None:
    hall = Hall()
    ticket = hall.take_number()
    refusal = hall.refuse(ConfirmPrint(ticket=ticket))
    assert (refusal.reason, refusal.state) == (RefusalReason.WRONG_TICKET_STATE, "waiting")
    assert refusal.number == "A001"


def test_paper_that_fails_after_it_was_confirmed_is_refused() -> None:
    hall = Hall()
    ticket = hall.take_number()
    refusal = hall.refuse(FailPrint(ticket=ticket, reason=VoidReason.PAPER_OUT))
    assert refusal.reason is RefusalReason.WRONG_TICKET_STATE


def test_a_customer_who_gives_up_leaves_the_line() -> None:
    hall = Hall()
    hall.sign_on(1)
    gone, staying = hall.take_number(), hall.take_number()
    (cancelled,) = hall.do(Cancel(ticket=gone))
    assert isinstance(cancelled, TicketCancelled)
    assert cancelled.reason is CancelReason.CUSTOMER
    assert gone not in hall.state.tickets
    assert hall.call_next() == staying


def test_a_ticket_cancelled_while_it_prints_is_not_confirmed_into_a_ghost() -> None:
    hall = Hall()
    ticket = hall.press()
    hall.do(Cancel(ticket=ticket, reason=CancelReason.MANAGER))
    assert hall.refuse(ConfirmPrint(ticket=ticket)).reason is RefusalReason.UNKNOWN_TICKET
    assert hall.state.lines.count("a") == 0


def test_a_called_ticket_that_is_cancelled_frees_its_window() -> None:
    hall = Hall()
    hall.sign_on(1)
    hall.take_number()
    second = hall.take_number()
    hall.do(Cancel(ticket=hall.call_next()))
    assert hall.window().ticket is None
    assert hall.call_next() == second


def test_a_closed_hall_issues_nothing() -> None:
    hall = Hall(day_is_open=False)
    refusal = hall.refuse(IssueTicket(ticket=ulid(1), service="a"))
    assert refusal.reason is RefusalReason.DAY_NOT_OPEN
