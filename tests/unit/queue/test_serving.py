"""Call, recall, start, finish; park and resume; transfer."""

from datetime import timedelta

import pytest

from contract.commands import (
    CallNext,
    CallTicket,
    Cancel,
    Finish,
    Park,
    Recall,
    RefusalReason,
    Resume,
    SignOff,
    Start,
    Transfer,
)
from contract.events import (
    TicketCalled,
    TicketFinished,
    TicketParked,
    TicketRecalled,
    TicketResumed,
    TicketStarted,
    TicketTransferred,
)
from contract.names import TicketId, TicketState, WindowState
from edge.queue.apply import apply
from edge.queue.machines import ImpossibleEvent
from edge.queue.plan import Rules
from tests.support.hall import Hall, make_plan


def serving(hall: Hall, window: int = 1) -> TicketId:
    """A ticket that is being served at this window."""
    ticket = hall.call_next(window)
    hall.do(Start(window=window))
    return ticket


def a_hall(customers: int = 3) -> Hall:
    hall = Hall(make_plan({1: "ab", 2: "ab"}))
    hall.sign_on(1, 2)
    for _ in range(customers):
        hall.take_number()
    return hall


def finished(hall: Hall, window: int = 1) -> TicketFinished:
    (event,) = hall.do(Finish(window=window))
    assert isinstance(event, TicketFinished)
    return event


# --- called, started, finished ------------------------------------------------------------------


def test_a_first_call_tells_how_long_the_customer_waited() -> None:
    hall = a_hall()
    hall.pass_time(125.5)
    (called,) = hall.do(CallNext(window=1))
    assert isinstance(called, TicketCalled)
    assert called.first_call
    assert called.wait_seconds == pytest.approx(125.5)
    assert (called.window, called.clerk) == (1, "clerk-1")


def test_a_call_after_a_transfer_is_no_first_call_and_tells_no_wait() -> None:
    hall = a_hall()
    serving(hall)
    hall.do(Transfer(window=1, to_window=2))
    (called,) = hall.do(CallNext(window=2))
    assert isinstance(called, TicketCalled)
    assert (called.first_call, called.wait_seconds) == (False, None)


def test_a_wait_over_a_boot_in_1970_is_unknown_and_not_56_years() -> None:
    hall = a_hall()
    hall.reboot("boot-2", hall.now.wall.replace(year=1970), synced=False)
    (called,) = hall.do(CallNext(window=1))
    assert isinstance(called, TicketCalled)
    assert (called.first_call, called.wait_seconds) == (True, None)


def test_a_wait_does_not_notice_a_clock_that_is_set() -> None:
    hall = a_hall()
    hall.pass_time(60)
    hall.set_clock(hall.now.wall + timedelta(days=3))
    (called,) = hall.do(CallNext(window=1))
    assert isinstance(called, TicketCalled)
    assert called.wait_seconds == pytest.approx(60)


def test_a_ticket_is_announced_again_and_counted_up_to_the_limit() -> None:
    hall = Hall(make_plan(rules=Rules(recall_limit=3)))
    hall.sign_on(1)
    ticket = hall.take_number()
    hall.call_next()
    for calls in (2, 3):
        (recalled,) = hall.do(Recall(window=1))
        assert isinstance(recalled, TicketRecalled)
        assert recalled.calls == calls
    for _ in range(5):  # a clerk who presses again and again
        refusal = hall.refuse(Recall(window=1))
        assert refusal.reason is RefusalReason.RECALL_LIMIT
        assert (refusal.ticket, refusal.window, refusal.state) == (ticket, 1, "called")


def test_calls_are_counted_anew_at_the_next_window() -> None:
    hall = a_hall()
    ticket = hall.call_next(1)
    hall.do(Recall(window=1))
    hall.do(Transfer(window=1, to_window=2))
    assert hall.call_next(2) == ticket
    assert hall.ticket(ticket).calls == 1


def test_a_service_lasts_from_start_to_finish() -> None:
    hall = a_hall()
    hall.call_next()
    hall.pass_time(20)
    (started,) = hall.do(Start(window=1))
    assert isinstance(started, TicketStarted)
    hall.pass_time(300.25)
    assert finished(hall).service_seconds == pytest.approx(300.25)
    assert hall.window().state is WindowState.IDLE


def test_next_while_serving_finishes_the_service_and_calls() -> None:
    hall = a_hall()
    first = serving(hall)
    hall.pass_time(60)
    done, called = hall.do(CallNext(window=1))
    assert isinstance(done, TicketFinished)
    assert isinstance(called, TicketCalled)
    assert (done.ticket, done.service_seconds) == (first, 60)
    assert hall.window().ticket == called.ticket != first


def test_next_while_serving_with_nobody_waiting_finishes_the_service() -> None:
    hall = a_hall(customers=1)
    serving(hall)
    (done,) = hall.do(CallNext(window=1))
    assert isinstance(done, TicketFinished)
    assert hall.window().state is WindowState.IDLE


def test_a_clerk_who_presses_next_again_and_again_calls_one_ticket() -> None:
    hall = a_hall()
    ticket = hall.call_next()
    for _ in range(5):
        refusal = hall.refuse(CallNext(window=1))
        assert (refusal.reason, refusal.ticket) == (RefusalReason.WRONG_WINDOW_STATE, ticket)
    assert hall.window().ticket == ticket


def test_a_ticket_that_is_called_elsewhere_is_not_called() -> None:
    hall = a_hall()
    ticket = hall.call_next(1)
    refusal = hall.refuse(CallTicket(window=2, ticket=ticket))
    assert (refusal.reason, refusal.state) == (RefusalReason.WRONG_TICKET_STATE, "called")
    assert refusal.window == 2


def test_a_service_over_a_boot_without_the_time_has_no_known_length() -> None:
    hall = a_hall()
    serving(hall)
    hall.reboot("boot-2", hall.now.wall.replace(year=1970), synced=False)
    assert finished(hall).service_seconds is None
    assert hall.state.service_times == {}, "and nothing is learned from it"


def test_a_ticket_that_is_served_is_not_cancelled() -> None:
    hall = a_hall()
    refusal = hall.refuse(Cancel(ticket=serving(hall)))
    assert (refusal.reason, refusal.state) == (RefusalReason.WRONG_TICKET_STATE, "serving")


# --- parked -------------------------------------------------------------------------------------


def test_a_parked_ticket_frees_the_window_and_comes_back() -> None:
    hall = a_hall()
    form = serving(hall)
    (parked,) = hall.do(Park(window=1))
    assert isinstance(parked, TicketParked)
    serving(hall)
    hall.do(Finish(window=1))
    *_, resumed = hall.do(Resume(window=1))
    assert isinstance(resumed, TicketResumed)
    assert resumed.ticket == form
    assert hall.window().state is WindowState.SERVING


def test_the_time_a_ticket_is_parked_is_no_service_time() -> None:
    hall = a_hall()
    serving(hall)
    hall.pass_time(100)
    hall.do(Park(window=1))
    hall.pass_time(1000)
    hall.do(Resume(window=1))
    hall.pass_time(50)
    assert finished(hall).service_seconds == pytest.approx(150)


def test_the_one_parked_longest_comes_back_first_though_the_clock_was_set_back() -> None:
    hall = a_hall()
    first = serving(hall)
    hall.do(Park(window=1))
    hall.pass_time(60)
    serving(hall)
    hall.set_clock(hall.now.wall - timedelta(hours=5))
    hall.do(Park(window=1))
    *_, resumed = hall.do(Resume(window=1))
    assert isinstance(resumed, TicketResumed)
    assert resumed.ticket == first


def test_what_was_parked_before_a_boot_without_the_time_was_parked_longest() -> None:
    hall = a_hall()
    before_the_boot = serving(hall)
    hall.do(Park(window=1))
    hall.reboot("boot-2", hall.now.wall.replace(year=1970), synced=False)
    serving(hall)
    hall.do(Park(window=1))
    *_, resumed = hall.do(Resume(window=1))
    assert isinstance(resumed, TicketResumed)
    assert resumed.ticket == before_the_boot


def test_a_window_takes_back_its_own_and_any_other_by_name() -> None:
    hall = a_hall()
    ticket = serving(hall, 1)
    hall.do(Park(window=1))
    hall.do(SignOff(window=1))
    assert hall.refuse(Resume(window=2)).reason is RefusalReason.NOTHING_PARKED
    hall.do(Resume(window=2, ticket=ticket))
    hall.pass_time(5)
    done = finished(hall, 2)
    assert (done.window, done.clerk) == (2, "clerk-2")


def test_a_ticket_that_was_taken_back_and_finished_is_not_parked_any_more() -> None:
    hall = a_hall(customers=1)
    serving(hall)
    hall.do(Park(window=1))
    hall.do(Resume(window=1))
    hall.do(Finish(window=1))
    assert hall.refuse(Resume(window=1)).reason is RefusalReason.NOTHING_PARKED


def test_a_ticket_that_is_not_parked_is_not_resumed() -> None:
    hall = a_hall()
    waiting = hall.take_number()
    refusal = hall.refuse(Resume(window=1, ticket=waiting))
    assert (refusal.reason, refusal.state) == (RefusalReason.WRONG_TICKET_STATE, "waiting")


def test_a_customer_who_leaves_with_the_form_is_cancelled() -> None:
    hall = a_hall()
    ticket = serving(hall)
    hall.do(Park(window=1))
    hall.do(Cancel(ticket=ticket))
    assert hall.refuse(Resume(window=1)).reason is RefusalReason.NOTHING_PARKED


# --- transferred --------------------------------------------------------------------------------


@pytest.mark.parametrize("started", [False, True], ids=["called", "serving"])
def test_a_transfer_to_a_service_changes_the_service_and_frees_the_window(started: bool) -> None:
    hall = a_hall()
    ticket = hall.call_next()
    if started:
        hall.do(Start(window=1))
    (transferred,) = hall.do(Transfer(window=1, to_service="b"))
    assert isinstance(transferred, TicketTransferred)
    assert (transferred.from_service, transferred.service) == ("a", "b")
    assert transferred.number == "A001", "the number on the paper stays"
    assert hall.window().state is WindowState.IDLE
    assert hall.state_of(ticket) is TicketState.WAITING


def test_a_service_after_a_transfer_is_timed_for_itself() -> None:
    hall = a_hall()
    serving(hall)
    hall.pass_time(500)
    hall.do(Transfer(window=1, to_window=2))
    serving(hall, 2)
    hall.pass_time(40)
    assert finished(hall, 2).service_seconds == pytest.approx(40)


def test_a_transfer_to_a_service_that_is_not_there_or_not_taken_is_refused() -> None:
    hall = a_hall()
    ticket = serving(hall)
    refusal = hall.refuse(Transfer(window=1, to_service="nonsense"))
    assert (refusal.reason, refusal.ticket) == (RefusalReason.UNKNOWN_SERVICE, ticket)
    hall.change_plan(windows=make_plan({1: "a", 2: "a"}).windows)
    refusal = hall.refuse(Transfer(window=1, to_service="b"))
    assert (refusal.reason, refusal.ticket) == (RefusalReason.NO_WINDOW_FOR_SERVICE, ticket)


@pytest.mark.parametrize("target", [1, 99])
def test_a_transfer_to_the_same_or_no_window_is_refused(target: int) -> None:
    hall = a_hall()
    serving(hall)
    refusal = hall.refuse(Transfer(window=1, to_window=target))
    assert (refusal.reason, refusal.detail) == (RefusalReason.UNKNOWN_WINDOW, f"to {target}")


# --- what apply refuses -------------------------------------------------------------------------


def test_an_event_at_a_window_that_holds_another_ticket_is_impossible() -> None:
    hall = a_hall()
    hall.call_next(1)
    hall.call_next(2)
    started = hall.decide(Start(window=2))
    assert isinstance(started, tuple)
    with pytest.raises(ImpossibleEvent, match="window holds"):
        apply(hall.state, started[0].model_copy(update={"window": 1}))


def test_an_event_that_the_tables_do_not_allow_is_impossible() -> None:
    hall = a_hall()
    hall.call_next()
    (started,) = hall.do(Start(window=1))
    with pytest.raises(ImpossibleEvent, match="can't happen in state serving"):
        apply(hall.state, started)
