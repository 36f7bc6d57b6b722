"""Clerks sign on and off, pause and reopen."""

import pytest

from contract.commands import (
    CallNext,
    CallTicket,
    Command,
    Finish,
    NoShow,
    Park,
    Pause,
    Recall,
    RefusalReason,
    Reopen,
    Resume,
    SignOff,
    SignOn,
    Start,
    Transfer,
)
from contract.events import TicketTransferred, WindowClosed, WindowOpened
from contract.names import TicketState, WindowState
from tests.support.hall import Hall, make_plan


def test_a_clerk_signs_on_and_off() -> None:
    hall = Hall()
    (opened,) = hall.do(SignOn(window=1, clerk="7001"))
    assert isinstance(opened, WindowOpened)
    assert (hall.window().state, hall.window().clerk) == (WindowState.IDLE, "7001")
    (closed,) = hall.do(SignOff(window=1))
    assert isinstance(closed, WindowClosed)
    assert closed.clerk == "7001", "who left"
    assert (hall.window().state, hall.window().clerk) == (WindowState.CLOSED, None)


def test_a_clerk_is_at_one_window() -> None:
    hall = Hall()
    hall.do(SignOn(window=1, clerk="7001"))
    refusal = hall.refuse(SignOn(window=2, clerk="7001"))
    assert refusal.reason is RefusalReason.CLERK_AT_OTHER_WINDOW
    assert (refusal.window, refusal.detail) == (2, "7001 is at window 1")


def test_a_clerk_who_signed_off_may_sign_on_elsewhere() -> None:
    hall = Hall()
    hall.do(SignOn(window=1, clerk="7001"))
    hall.do(SignOff(window=1))
    hall.do(SignOn(window=2, clerk="7001"))
    assert hall.window(2).clerk == "7001"


def test_a_window_has_one_clerk() -> None:
    hall = Hall()
    hall.do(SignOn(window=1, clerk="7001"))
    refusal = hall.refuse(SignOn(window=1, clerk="7002"))
    assert (refusal.reason, refusal.state) == (RefusalReason.WRONG_WINDOW_STATE, "idle")


def test_a_paused_window_calls_nobody_until_it_is_reopened() -> None:
    hall = Hall()
    hall.sign_on(1)
    ticket = hall.take_number()
    hall.do(Pause(window=1, reason="lunch"))
    refusal = hall.refuse(CallNext(window=1))
    assert (refusal.reason, refusal.state) == (RefusalReason.WRONG_WINDOW_STATE, "paused")
    hall.do(Reopen(window=1))
    assert hall.call_next() == ticket


def test_a_clerk_does_not_leave_a_customer_who_is_called_or_served() -> None:
    hall = Hall()
    hall.sign_on(1)
    ticket = hall.take_number()
    hall.call_next()
    for command in (SignOff(window=1), Pause(window=1)):
        refusal = hall.refuse(command)
        assert (refusal.reason, refusal.state) == (RefusalReason.WRONG_WINDOW_STATE, "calling")
        assert (refusal.ticket, refusal.number) == (ticket, "A001"), "the ticket that is there"
    hall.do(Start(window=1))
    for command in (SignOff(window=1), Pause(window=1)):
        assert hall.refuse(command).state == "serving"


WRONG = {
    "closed": [CallNext, Recall, Start, Finish, NoShow, Park, Pause, Reopen, Resume, SignOff],
    "idle": [Recall, Start, Finish, NoShow, Park, Reopen],
    "paused": [CallNext, Recall, Start, Finish, NoShow, Park, Pause, Resume],
    "calling": [CallNext, Finish, Park, Pause, Reopen, Resume, SignOff],
    "serving": [Recall, Start, NoShow, Pause, Reopen, Resume, SignOff],
}


@pytest.mark.parametrize(
    ("state", "command"),
    [(state, command(window=1)) for state, commands in WRONG.items() for command in commands],
    ids=lambda value: value if isinstance(value, str) else value.command,
)
def test_a_key_that_makes_no_sense_is_refused_with_window_and_state(
    state: str, command: Command
) -> None:
    hall = Hall()
    hall.take_number()
    if state != "closed":
        hall.sign_on(1)
    if state == "paused":
        hall.do(Pause(window=1))
    if state in {"calling", "serving"}:
        hall.call_next()
    if state == "serving":
        hall.do(Start(window=1))
    before = hall.state
    refusal = hall.refuse(command)
    assert refusal.reason is RefusalReason.WRONG_WINDOW_STATE
    assert (refusal.command, refusal.window, refusal.state) == (command.command, 1, state)
    assert f"{command.command} refused: wrong_window_state" in str(refusal)
    assert hall.state == before


@pytest.mark.parametrize("kind", sorted({k for ks in WRONG.values() for k in ks}, key=str))
def test_a_window_that_is_not_there_is_refused(kind: type[CallNext]) -> None:
    refusal = Hall().refuse(kind(window=99))
    assert (refusal.reason, refusal.window) == (RefusalReason.UNKNOWN_WINDOW, 99)


def test_whoever_waits_for_a_window_that_closes_waits_for_the_service_again() -> None:
    hall = Hall(make_plan({1: "a", 2: "a", 3: "a"}))
    hall.sign_on(1, 2, 3)
    early = hall.take_number()
    hall.take_number()
    hall.call_next(1)
    hall.do(Transfer(window=1, to_window=3))
    hall.do(SignOff(window=3))
    assert hall.state_of(early) is TicketState.WAITING
    assert hall.call_next(2) == early, "with the place of the press"


def test_a_transfer_to_a_closed_window_is_refused_because_nobody_would_call_it() -> None:
    hall = Hall()
    hall.sign_on(1)
    ticket = hall.take_number()
    hall.call_next(1)
    refusal = hall.refuse(Transfer(window=1, to_window=2))
    assert (refusal.reason, refusal.state) == (RefusalReason.WRONG_WINDOW_STATE, "closed")
    assert (refusal.ticket, refusal.window) == (ticket, 2)


def test_a_transfer_to_a_paused_window_waits_for_its_clerk() -> None:
    hall = Hall()
    hall.sign_on(1, 2)
    ticket = hall.take_number()
    hall.call_next(1)
    hall.do(Pause(window=2))
    (transferred,) = hall.do(Transfer(window=1, to_window=2))
    assert isinstance(transferred, TicketTransferred)
    hall.do(Reopen(window=2))
    assert hall.call_next(2) == ticket


# --- a window that the configuration no longer has -----------------------------------------------


@pytest.mark.parametrize("key", ["call_next", "call_ticket", "resume"])
def test_a_window_that_has_left_the_plan_takes_nobody_on(key: str) -> None:
    hall = Hall()
    hall.sign_on(1, 2)
    parked = hall.take_number()
    hall.call_next(2)
    hall.do(Start(window=2))
    hall.do(Park(window=2))
    waiting = hall.take_number()
    hall.change_plan(windows=make_plan({1: "a"}).windows)
    before = hall.state
    commands: dict[str, Command] = {
        "call_next": CallNext(window=2),
        "call_ticket": CallTicket(window=2, ticket=waiting),
        "resume": Resume(window=2, ticket=parked),
    }
    refusal = hall.refuse(commands[key])
    assert (refusal.reason, refusal.window) == (RefusalReason.UNKNOWN_WINDOW, 2)
    assert hall.state == before


def test_a_window_that_has_left_the_plan_serves_to_the_end_and_closes() -> None:
    hall = Hall()
    hall.sign_on(2)
    hall.take_number()
    hall.call_next(2)
    hall.change_plan(windows=make_plan({1: "a"}).windows)
    hall.do(Start(window=2))
    hall.do(Finish(window=2))
    hall.do(SignOff(window=2))
    assert hall.refuse(SignOn(window=2, clerk="7001")).reason is RefusalReason.UNKNOWN_WINDOW
