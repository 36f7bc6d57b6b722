"""A rating counts once, for the ticket, clerk and window that it is about."""

from contract.commands import (
    CallNext,
    CloseDay,
    CloseRating,
    Finish,
    Park,
    Rate,
    RefusalReason,
    Resume,
    SignOff,
    SignOn,
    Start,
)
from contract.events import TicketRated, TicketStarted, TicketUnrated
from contract.names import Rating, TicketId
from tests.support.hall import Hall, ulid

BAD = Rate(window=1, rating=Rating.DISSATISFIED, reason="slow")
GOOD = Rate(window=1, rating=Rating.SATISFIED)


def served(customers: int = 2) -> tuple[Hall, TicketId]:
    """Window 1 has finished a ticket and asks."""
    hall = Hall()
    hall.sign_on(1)
    for _ in range(customers):
        hall.take_number()
    ticket = hall.call_next()
    hall.do(Start(window=1))
    hall.pass_time(60)
    hall.do(Finish(window=1))
    return hall, ticket


def test_a_rating_is_bound_to_ticket_window_clerk_and_service() -> None:
    hall, ticket = served()
    (rated,) = hall.do(BAD)
    assert isinstance(rated, TicketRated)
    assert (rated.ticket, rated.window, rated.clerk) == (ticket, 1, "clerk-1")
    assert (rated.service, rated.rating, rated.reason) == ("a", Rating.DISSATISFIED, "slow")


def test_a_customer_who_presses_five_times_rates_once() -> None:
    hall, _ = served()
    hall.do(BAD)
    for _ in range(4):
        refusal = hall.refuse(BAD)
        assert (refusal.reason, refusal.window) == (RefusalReason.ALREADY_RATED, 1)


def test_the_first_press_counts_not_the_last() -> None:
    hall, _ = served()
    hall.do(GOOD)
    assert hall.refuse(BAD).reason is RefusalReason.ALREADY_RATED
    assert sum(isinstance(event, TicketRated) for event in hall.events) == 1


def test_before_any_service_there_is_nothing_to_rate() -> None:
    hall = Hall()
    assert hall.refuse(BAD).reason is RefusalReason.NOTHING_TO_RATE
    hall.sign_on(1)
    hall.take_number()
    hall.call_next()
    assert hall.refuse(BAD).reason is RefusalReason.NOTHING_TO_RATE
    hall.do(Start(window=1))
    assert hall.refuse(BAD).reason is RefusalReason.NOTHING_TO_RATE


def test_while_the_next_one_is_called_the_last_one_may_still_rate() -> None:
    hall, ticket = served()
    hall.call_next()
    (rated,) = hall.do(GOOD)
    assert isinstance(rated, TicketRated)
    assert rated.ticket == ticket


def test_when_the_next_one_is_at_the_window_it_is_too_late_to_rate_the_last() -> None:
    hall, ticket = served()
    hall.call_next()
    unrated, started = hall.do(Start(window=1))
    assert isinstance(unrated, TicketUnrated)
    assert isinstance(started, TicketStarted)
    assert unrated.ticket == ticket
    assert hall.refuse(BAD).reason is RefusalReason.NOTHING_TO_RATE


def test_a_press_for_the_last_rating_does_not_count_for_the_next_customer() -> None:
    hall, _ = served()
    hall.do(GOOD)
    hall.call_next()
    hall.do(Start(window=1))
    assert hall.refuse(BAD).reason is RefusalReason.NOTHING_TO_RATE


def test_a_ticket_taken_back_from_parking_ends_the_asking_too() -> None:
    hall, first = served()
    hall.call_next()
    hall.do(Start(window=1))
    hall.do(Park(window=1))
    last = hall.take_number()
    assert hall.call_next() == last
    hall.do(Start(window=1))
    hall.do(Finish(window=1))
    unrated, _ = hall.do(Resume(window=1))
    assert isinstance(unrated, TicketUnrated)
    assert unrated.ticket == last != first
    assert hall.refuse(BAD).reason is RefusalReason.NOTHING_TO_RATE


def test_after_a_rating_and_a_resume_there_is_nothing_to_rate_yet() -> None:
    hall, _ = served(customers=3)
    hall.call_next()
    hall.do(Start(window=1))
    hall.do(Park(window=1))
    hall.do(CallNext(window=1))
    hall.do(Start(window=1))
    hall.do(Finish(window=1))
    hall.do(GOOD)
    hall.do(Resume(window=1))
    assert hall.refuse(BAD).reason is RefusalReason.NOTHING_TO_RATE


def test_a_rating_belongs_to_the_clerk_who_served_whoever_sits_there_now() -> None:
    hall, ticket = served()
    hall.do(SignOff(window=1))
    hall.do(SignOn(window=1, clerk="7002"))
    (rated,) = hall.do(BAD)
    assert isinstance(rated, TicketRated)
    assert (rated.ticket, rated.clerk) == (ticket, "clerk-1")


def test_an_evaluator_whose_time_is_over_stops_asking_and_says_not_rated() -> None:
    hall, ticket = served()
    (unrated,) = hall.do(CloseRating(window=1, ticket=ticket))
    assert isinstance(unrated, TicketUnrated)
    assert (unrated.ticket, unrated.clerk) == (ticket, "clerk-1")
    assert hall.refuse(BAD).reason is RefusalReason.NOTHING_TO_RATE
    assert hall.window().asking is None
    assert ticket not in hall.state.tickets


def test_a_time_out_that_comes_late_does_not_end_the_asking_about_another_ticket() -> None:
    hall, ticket = served()
    hall.do(GOOD)
    refusal = hall.refuse(CloseRating(window=1, ticket=ticket))
    assert refusal.reason is RefusalReason.NOTHING_TO_RATE
    hall.call_next()
    hall.do(Start(window=1))
    hall.do(Finish(window=1))
    assert hall.refuse(CloseRating(window=1, ticket=ticket)).ticket == ticket
    assert hall.window().asking is not None


def test_ratings_at_a_window_that_is_not_there_are_refused() -> None:
    hall = Hall()
    for command in (
        Rate(window=99, rating=Rating.NEUTRAL),
        CloseRating(window=99, ticket=ulid(1)),
    ):
        assert hall.refuse(command).reason is RefusalReason.UNKNOWN_WINDOW


def test_the_day_ends_and_who_did_not_rate_is_not_rated() -> None:
    hall, ticket = served()
    events = hall.do(CloseDay())
    assert [event.ticket for event in events if isinstance(event, TicketUnrated)] == [ticket]
    assert hall.refuse(BAD).reason is RefusalReason.NOTHING_TO_RATE


def test_a_rating_of_yesterday_is_not_remembered() -> None:
    hall, _ = served()
    hall.do(GOOD)
    hall.do(CloseDay())
    assert hall.refuse(BAD).reason is RefusalReason.NOTHING_TO_RATE
