"""Called, and nobody comes; and comes back after all."""

from datetime import timedelta

import pytest

from contract.commands import CallTicket, NoShow, Recall, RefusalReason, Rejoin, Start, Transfer
from contract.events import TicketNoShow, TicketRejoined
from contract.names import TicketId, TicketState, Tier, WindowState
from edge.queue.plan import Rules
from tests.support.hall import Hall, make_plan


def a_hall(customers: int, **rules: float) -> Hall:
    hall = Hall(make_plan({1: "a", 2: "a"}, rules=Rules(**rules)))  # type: ignore[arg-type]
    hall.sign_on(1, 2)
    for _ in range(customers):
        hall.take_number()
    return hall


def nobody_comes(hall: Hall, window: int = 1) -> TicketId:
    """The ticket that was called in vain."""
    return in_vain(hall, hall.call_next(window), window)


def in_vain(hall: Hall, ticket: TicketId, window: int = 1) -> TicketId:
    hall.do(Recall(window=window))
    hall.pass_time(10)
    hall.do(NoShow(window=window))
    return ticket


def numbers_in_line(hall: Hall, tier: Tier = Tier.NORMAL) -> list[str]:
    line = hall.state.lines.by_service.get("a", {}).get(tier, ())
    return [hall.ticket(waiting.ticket).number for waiting in line]


def test_nobody_is_a_no_show_before_enough_calls_and_seconds() -> None:
    hall = a_hall(1, no_show_after_calls=2, no_show_after_seconds=10.0)
    ticket = hall.call_next()
    hall.pass_time(60)
    refusal = hall.refuse(NoShow(window=1))  # long enough, but called once
    assert (refusal.reason, refusal.detail) == (RefusalReason.TOO_EARLY, "after 2 calls and 10 s")
    assert (refusal.ticket, refusal.window, refusal.state) == (ticket, 1, "called")
    hall.do(Recall(window=1))
    (gone,) = hall.do(NoShow(window=1))
    assert isinstance(gone, TicketNoShow)
    assert hall.state_of(ticket) is TicketState.NO_SHOW
    assert hall.window().state is WindowState.IDLE


def test_two_quick_calls_do_not_make_a_no_show() -> None:
    hall = a_hall(1, no_show_after_calls=2, no_show_after_seconds=10.0)
    hall.call_next()
    hall.do(Recall(window=1))
    hall.pass_time(9.9)
    assert hall.refuse(NoShow(window=1)).reason is RefusalReason.TOO_EARLY
    hall.pass_time(0.2)
    hall.do(NoShow(window=1))


def test_a_clock_that_is_set_forward_does_not_hurry_anybody() -> None:
    hall = a_hall(1, no_show_after_calls=1, no_show_after_seconds=10.0)
    hall.call_next()
    hall.set_clock(hall.now.wall + timedelta(days=1))
    assert hall.refuse(NoShow(window=1)).reason is RefusalReason.TOO_EARLY


def test_a_boot_without_the_time_does_not_hold_a_window_for_ever() -> None:
    hall = a_hall(1, no_show_after_calls=1, no_show_after_seconds=10.0)
    hall.call_next()
    hall.reboot("boot-2", hall.now.wall.replace(year=1970), synced=False)
    hall.do(NoShow(window=1))


def test_rules_that_contradict_each_other_do_not_hold_a_window_for_ever() -> None:
    hall = a_hall(1, recall_limit=2, no_show_after_calls=5, no_show_after_seconds=0.0)
    hall.call_next()
    hall.do(Recall(window=1))
    assert hall.refuse(Recall(window=1)).reason is RefusalReason.RECALL_LIMIT
    hall.do(NoShow(window=1))


def test_a_no_show_that_comes_back_stands_behind_so_many_others() -> None:
    hall = a_hall(6, rejoin_after=3)
    late = nobody_comes(hall)
    (rejoined,) = hall.do(Rejoin(ticket=late))
    assert isinstance(rejoined, TicketRejoined)
    assert numbers_in_line(hall) == ["A002", "A003", "A004", "A001", "A005", "A006"]


def test_a_no_show_stands_last_where_fewer_wait_and_before_who_comes_later() -> None:
    hall = a_hall(2, rejoin_after=3)
    hall.do(Rejoin(ticket=nobody_comes(hall)))
    hall.take_number()
    assert numbers_in_line(hall) == ["A002", "A001", "A003"]


def test_a_no_show_that_finds_nobody_in_line_is_next() -> None:
    hall = a_hall(1)
    late = nobody_comes(hall)
    hall.do(Rejoin(ticket=late))
    assert hall.call_next() == late


def test_who_comes_back_first_stands_first() -> None:
    hall = a_hall(7, rejoin_after=3)
    one, two = nobody_comes(hall, 1), nobody_comes(hall, 2)
    hall.do(Rejoin(ticket=two))
    hall.do(Rejoin(ticket=one))
    assert numbers_in_line(hall) == ["A003", "A004", "A005", "A002", "A001", "A006", "A007"]


def test_who_was_called_out_of_turn_gains_nothing_by_not_coming() -> None:
    hall = a_hall(8, rejoin_after=2)
    late = hall.state.lines.by_service["a"][Tier.NORMAL][6].ticket
    hall.do(CallTicket(window=1, ticket=late))
    in_vain(hall, late)
    hall.do(Rejoin(ticket=late))
    assert numbers_in_line(hall) == [f"A00{n}" for n in range(1, 9)]


def test_a_no_show_keeps_its_tier_and_its_line() -> None:
    hall = a_hall(3, rejoin_after=1)
    gold = [hall.take_number("a", Tier.VIP_GOLD) for _ in range(3)]
    assert nobody_comes(hall) == gold[0]
    hall.do(Rejoin(ticket=gold[0]))
    assert numbers_in_line(hall, Tier.VIP_GOLD) == ["A005", "A004", "A006"]


def test_no_two_who_rejoin_behind_one_anchor_share_a_place_though_it_moved_on() -> None:
    hall = Hall(make_plan({1: "a", 2: "b"}, rules=Rules(rejoin_after=1)))
    hall.sign_on(1, 2)
    for _ in range(4):
        hall.take_number("a")
    one, two = nobody_comes(hall, 1), nobody_comes(hall, 1)
    hall.do(Rejoin(ticket=one))  # behind A003
    anchor = hall.call_next(1)
    hall.do(Start(window=1))
    hall.do(Transfer(window=1, to_service="b"))  # A003 goes to the other line with its place
    hall.do(Rejoin(ticket=two))
    places = [ticket.place for ticket in hall.state.tickets.values()]
    assert len(set(places)) == len(places)
    assert hall.ticket(anchor).place < hall.ticket(one).place < hall.ticket(two).place


def test_who_did_not_come_to_the_window_of_the_transfer_rejoins_the_line_of_the_service() -> None:
    hall = a_hall(1)
    ticket = hall.call_next(1)
    hall.do(Transfer(window=1, to_window=2))
    assert nobody_comes(hall, 2) == ticket
    hall.do(Rejoin(ticket=ticket))
    assert hall.call_next(1) == ticket


@pytest.mark.parametrize("state", ["waiting", "called", "serving"])
def test_only_who_is_out_of_line_rejoins(state: str) -> None:
    hall = a_hall(1)
    ticket = next(iter(hall.state.tickets))
    if state != "waiting":
        hall.call_next()
    if state == "serving":
        hall.do(Start(window=1))
    refusal = hall.refuse(Rejoin(ticket=ticket))
    assert (refusal.reason, refusal.state) == (RefusalReason.WRONG_TICKET_STATE, state)
    assert refusal.number == "A001"


def test_a_no_show_can_not_be_called_before_it_rejoins() -> None:
    hall = a_hall(1)
    late = nobody_comes(hall)
    refusal = hall.refuse(CallTicket(window=1, ticket=late))
    assert (refusal.reason, refusal.state) == (RefusalReason.WRONG_TICKET_STATE, "no_show")


def test_who_comes_back_for_a_service_that_is_gone_is_told_so() -> None:
    hall = a_hall(1)
    ticket = nobody_comes(hall)
    hall.change_plan(services=make_plan({1: "b"}).services)
    refusal = hall.refuse(Rejoin(ticket=ticket))
    assert (refusal.reason, refusal.number) == (RefusalReason.UNKNOWN_SERVICE, "A001")
    assert hall.state_of(ticket) is TicketState.NO_SHOW
