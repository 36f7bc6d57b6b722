"""What fingers did and eyes saw, settled press by press."""

import math
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.drivers.keys import Lamp
from edge.drivers.roles import LampPattern
from simulator.devices import Paper, QrCode, TextLine
from simulator.ledger import (
    ANSWER_SECONDS,
    EXCUSED_WITHIN_SECONDS,
    PAPER_SECONDS,
    Excuse,
    Ledger,
)


def nobody_is_excused(station: str, begin: float, end: float) -> None:
    return None


def flashes(see: Callable[[bool, float], None], answers: Sequence[float]) -> None:
    """What is seen of a lamp that is told to flash at these times."""
    lamp, lit = Lamp(), False
    waiting = sorted(answers)
    at: float | None = waiting[0]
    while at is not None:
        while waiting and waiting[0] <= at:
            lamp.set(LampPattern.FLASH, waiting.pop(0))
        if lamp.lit(at) != lit:
            lit = not lit
            see(lit, at)
        next_moments = [lamp.next_change(at), *waiting[:1]]
        at = min((moment for moment in next_moments if moment is not None), default=None)


def seen_at(ledger: Ledger, station: str, lamp: str) -> Callable[[bool, float], None]:
    return lambda lit, at: ledger.lamp(station, lamp, lit, at)


def live(ledger: Ledger, station: str, presses: Sequence[float], answers: Sequence[float]) -> None:
    """Presses at these times, and the lamp ``refused`` told to flash at those, in order of time."""
    edges: list[tuple[float, bool]] = []
    flashes(lambda lit, at: edges.append((at, lit)), answers)
    happenings: list[tuple[float, bool | None]] = [*((at, None) for at in presses), *edges]
    for at, lit in sorted(happenings, key=lambda each: each[0]):
        if lit is None:
            ledger.pressed(station, "satisfied", at)
        else:
            ledger.lamp(station, "refused", lit, at)


def settled(ledger: Ledger) -> Ledger:
    ledger.settle(1000.0)
    assert ledger.unsettled == 0
    return ledger


def ticket(number: str = "A001", *, at: float, ticket_id: str = "0" * 25 + "1") -> Paper:
    return Paper(
        number=1,
        items=(
            TextLine(number, 8, 8, True, "center"),
            TextLine("2026-03-02 09:00", 1, 1, False, "center"),
            QrCode(f"nowserving:demo/{ticket_id}", 2, 6, "M", "center"),
        ),
        started_at=at - 0.3,
        finished_at=at,
        complete=True,
        interrupted=False,
        length_mm=100.0,
    )


def test_a_press_that_nothing_follows_is_unanswered() -> None:
    ledger = Ledger(nobody_is_excused)
    ledger.pressed("caller-3", "call_next", 1.0)
    ledger.settle(1.0 + ANSWER_SECONDS)
    assert ledger.unanswered == []  # there is still time
    assert [str(press) for press in settled(ledger).unanswered] == ["call_next at caller-3"]


def test_a_lamp_that_goes_on_answers() -> None:
    ledger = Ledger(nobody_is_excused)
    ledger.pressed("caller-3", "finish", 1.0)
    ledger.lamp("caller-3", "refused", True, 1.1)
    assert settled(ledger).unanswered == []


def test_a_lamp_at_another_desk_answers_nobody_here() -> None:
    ledger = Ledger(nobody_is_excused)
    ledger.pressed("caller-3", "finish", 1.0)
    ledger.lamp("caller-4", "accepted", True, 1.1)
    assert len(settled(ledger).unanswered) == 1


def test_a_lamp_that_only_tells_of_something_else_answers_nobody() -> None:
    ledger = Ledger(nobody_is_excused)
    ledger.pressed("evaluator-3", "satisfied", 1.0)
    ledger.lamp("evaluator-3", "asking", False, 1.1)
    assert len(settled(ledger).unanswered) == 1


def test_the_end_of_somebody_elses_flash_is_no_answer() -> None:
    ledger = Ledger(nobody_is_excused)
    ledger.pressed("caller-1", "finish", 1.0)
    ledger.lamp("caller-1", "accepted", True, 1.1)
    ledger.pressed("caller-1", "call_next", 1.2)
    ledger.lamp("caller-1", "accepted", False, 1.4)  # 0.3 s after the first press
    assert [str(press) for press in settled(ledger).unanswered] == ["call_next at caller-1"]


def test_a_flash_that_was_made_longer_is_an_answer() -> None:
    ledger = Ledger(nobody_is_excused)
    ledger.pressed("caller-1", "finish", 1.0)
    ledger.lamp("caller-1", "accepted", True, 1.1)
    ledger.pressed("caller-1", "call_next", 1.2)
    ledger.lamp("caller-1", "accepted", False, 1.7)
    assert settled(ledger).unanswered == []


def test_one_flash_answers_one_press_and_the_lost_one_beside_it_is_seen() -> None:
    ledger = Ledger(nobody_is_excused)
    ledger.pressed("caller-1", "call_next", 1.0)  # lost on the wire
    ledger.pressed("caller-1", "call_next", 2.0)
    ledger.lamp("caller-1", "accepted", True, 2.05)
    ledger.lamp("caller-1", "accepted", False, 2.35)
    ledger.screen(1, "A001 请到1号窗口", 2.05)  # the same answer once more
    assert len(settled(ledger).unanswered) == 1


@pytest.mark.parametrize("lost", range(5))
def test_of_five_hasty_presses_each_that_is_lost_is_seen(lost: int) -> None:
    presses = [1.0 + 0.27 * n for n in range(5)]
    ledger = Ledger(nobody_is_excused)
    live(ledger, "evaluator-2", presses, [at + 0.03 for at in presses if at != presses[lost]])
    assert len(settled(ledger).unanswered) == 1


@given(
    gaps=st.lists(st.floats(0.26, 2.0), min_size=1, max_size=7),
    delays=st.lists(st.floats(0.002, 1.5), min_size=8, max_size=8),
)
def test_presses_as_fast_as_a_hand_is_and_all_answered_are_never_called_lost(
    gaps: list[float], delays: list[float]
) -> None:
    """However late the answers are, each in its turn: the disk may have been slow."""
    presses = [1.0]
    for gap in gaps:
        presses.append(presses[-1] + gap)
    ledger = Ledger(nobody_is_excused)
    answers: list[float] = []
    for at, delay in zip(presses, delays, strict=False):
        answers.append(max(at + delay, *answers[-1:], 0.0))
    live(ledger, "evaluator-2", presses, answers)
    assert settled(ledger).unanswered == []


def test_a_light_over_two_flashes_answers_two_who_pressed_before_it_went_on() -> None:
    ledger = Ledger(nobody_is_excused)
    live(ledger, "evaluator-2", [1.0, 1.3], [1.5, 1.7])
    assert settled(ledger).unanswered == []


def test_a_light_that_goes_out_late_is_no_second_answer() -> None:
    ledger = Ledger(nobody_is_excused)
    ledger.pressed("evaluator-2", "satisfied", 1.0)  # lost
    ledger.pressed("evaluator-2", "satisfied", 3.0)
    ledger.lamp("evaluator-2", "accepted", True, 3.03)
    ledger.lamp("evaluator-2", "accepted", False, 3.37)
    assert len(settled(ledger).unanswered) == 1


def test_who_leans_on_all_keys_has_one_answer_to_the_hand() -> None:
    ledger = Ledger(nobody_is_excused)
    for key in ("very_satisfied", "satisfied", "neutral", "dissatisfied"):
        ledger.pressed("evaluator-2", key, 1.0)
    ledger.lamp("evaluator-2", "refused", True, 1.05)
    ledger.lamp("evaluator-2", "refused", False, 1.35)
    assert settled(ledger).unanswered == []


def test_who_leans_on_the_dispenser_gets_a_paper_for_each_key() -> None:
    ledger = Ledger(nobody_is_excused)
    for key in ("payment", "enquiry", "new-connection"):
        ledger.pressed("dispenser", key, 1.0)
    flashes(seen_at(ledger, "dispenser", "accepted"), [1.02, 1.03, 1.04])
    ledger.paper(ticket("A001", at=1.5))
    ledger.paper(ticket("B001", at=2.0, ticket_id="0" * 25 + "2"))
    assert [str(press) for press in settled(ledger).unanswered] == [
        "new-connection at dispenser, accepted but without paper"
    ]


def test_an_answer_that_nobody_waited_for_is_none_to_who_comes_next() -> None:
    ledger = Ledger(nobody_is_excused)
    ledger.lamp("caller-1", "accepted", True, 1.0)
    ledger.pressed("caller-1", "start", 1.1)
    ledger.lamp("caller-1", "accepted", False, 1.3)
    assert len(settled(ledger).unanswered) == 1


def test_an_accepted_press_without_paper_is_unanswered() -> None:
    ledger = Ledger(nobody_is_excused)
    ledger.pressed("dispenser", "payment", 1.0)
    flashes(seen_at(ledger, "dispenser", "accepted"), [1.02])
    ledger.settle(1.0 + PAPER_SECONDS)
    assert ledger.unanswered == []  # it may still come
    assert [str(press) for press in settled(ledger).unanswered] == [
        "payment at dispenser, accepted but without paper"
    ]


def test_a_refusal_instead_of_the_promised_paper_is_an_answer() -> None:
    ledger = Ledger(nobody_is_excused)
    ledger.pressed("dispenser", "payment", 1.0)
    flashes(seen_at(ledger, "dispenser", "accepted"), [1.02])
    flashes(seen_at(ledger, "dispenser", "refused"), [31.0])
    assert settled(ledger).unanswered == []


def test_slips_that_fail_one_after_the_other_are_each_refused_by_one_long_light() -> None:
    ledger = Ledger(nobody_is_excused)
    presses = [1.0 + 0.27 * n for n in range(5)]
    for at in presses:
        ledger.pressed("dispenser", "payment", at)
        ledger.lamp("dispenser", "accepted", True, at + 0.01)
        ledger.lamp("dispenser", "accepted", False, at + 0.26)
    flashes(seen_at(ledger, "dispenser", "refused"), [at + 30 for at in presses])
    assert settled(ledger).unanswered == []


def test_paper_for_a_press_that_was_owed_nothing_leaves_the_next_one_to_its_own() -> None:
    """The daemon dies after the first press; the slip of the first comes last, or never."""
    ledger = Ledger(lambda _, begin, __: "the daemon was not ready" if begin < 2.0 else None)
    ledger.pressed("dispenser", "payment", 1.0)
    ledger.pressed("dispenser", "payment", 4.0)
    flashes(seen_at(ledger, "dispenser", "accepted"), [4.02])
    ledger.paper(ticket(at=4.5))
    assert settled(ledger).unanswered == []
    assert ledger.excused == 1


def promised(*outages: tuple[float, float], prints_again: bool = True) -> Ledger:
    """A press that was accepted at 1.02, with a daemon that was down at these times."""
    ledger = Ledger(
        nobody_is_excused,
        outages=lambda begin, end: [o for o in outages if o[0] <= end and o[1] > begin],
        prints_again=lambda *_: prints_again,
    )
    ledger.pressed("dispenser", "payment", 1.0)
    flashes(seen_at(ledger, "dispenser", "accepted"), [1.02])
    return ledger


def test_a_daemon_that_died_over_a_promise_owes_it_from_when_it_is_back() -> None:
    ledger = promised((20.0, 22.0))
    ledger.settle(22.0 + PAPER_SECONDS)
    assert ledger.unsettled == 1  # there is still time
    ledger.settle(22.1 + PAPER_SECONDS)
    assert len(ledger.unanswered) == 1
    assert ledger.excused == 0


def test_a_promise_over_two_restarts_is_owed_from_the_second_and_kept_by_its_paper() -> None:
    ledger = promised((2.0, 4.0), (24.0, 25.0))
    ledger.settle(24.0 + PAPER_SECONDS)
    assert ledger.unsettled == 1
    ledger.paper(ticket(at=50.0))
    assert settled(ledger).unanswered == []
    assert ledger.excused == 0


def test_while_the_daemon_is_down_nothing_is_owed() -> None:
    ledger = promised((20.0, math.inf))
    ledger.settle(900.0)
    assert ledger.unsettled == 1


def test_a_daemon_that_died_when_the_paper_was_long_due_is_no_excuse() -> None:
    assert len(settled(promised((34.0, 35.0))).unanswered) == 1


def test_who_was_promised_paper_too_long_ago_gets_none_and_presses_again() -> None:
    ledger = settled(promised((28.0, 32.0), prints_again=False))
    assert ledger.unanswered == []
    assert ledger.excused == 1


@pytest.mark.parametrize(("out", "excused"), [((5.0, 7.0), True), ((0.2, 0.5), False)])
def test_a_refusal_that_went_with_the_cable_is_excused(
    out: tuple[float, float], excused: bool
) -> None:
    ledger = Ledger(
        nobody_is_excused, unplugged=lambda _, begin, end: out[0] <= end and out[1] > begin
    )
    ledger.pressed("dispenser", "payment", 1.0)
    flashes(seen_at(ledger, "dispenser", "accepted"), [1.02])
    assert len(settled(ledger).unanswered) == (not excused)
    assert ledger.excused == excused


def test_the_paper_of_an_old_promise_is_not_taken_from_who_pressed_since() -> None:
    """The first slip is printed after the restart, and the second never."""
    ledger = promised((2.0, 4.0))
    ledger.pressed("dispenser", "payment", 5.0)
    flashes(seen_at(ledger, "dispenser", "accepted"), [5.02])
    ledger.paper(ticket(at=6.0))
    assert [press.at for press in settled(ledger).unanswered] == [5.0]


def test_a_light_that_a_dead_daemon_left_on_promises_nothing_to_who_pressed_meanwhile() -> None:
    def down(begin: float, end: float) -> bool:
        return begin < 4.0 and end > 1.1

    ledger = Ledger(
        lambda _, begin, end: "the daemon was not ready" if down(begin, end) else None,
        outages=lambda begin, end: [(1.1, 4.0)] if down(begin, end) else [],
    )
    ledger.pressed("dispenser", "payment", 1.0)
    ledger.lamp("dispenser", "accepted", True, 1.02)
    ledger.pressed("dispenser", "payment", 2.0)
    ledger.lamp("dispenser", "accepted", False, 4.1)
    ledger.paper(ticket(at=5.0))  # of the first, once more
    assert settled(ledger).unanswered == []
    assert ledger.excused == 1


def test_a_promise_to_a_press_that_met_a_dead_daemon_may_be_for_another() -> None:
    ledger = Ledger(
        lambda _, begin, __: "the daemon was not ready" if begin < 2.0 else None,
        outages=lambda *_: [],
    )
    ledger.pressed("dispenser", "payment", 1.0)
    flashes(seen_at(ledger, "dispenser", "accepted"), [3.0])
    ledger.settle(3.0 + PAPER_SECONDS)
    assert ledger.unsettled == 1
    assert settled(ledger).unanswered == []
    assert ledger.excused == 1


def test_a_second_paper_of_a_ticket_answers_nobody() -> None:
    ledger = promised()
    ledger.paper(ticket(at=1.5))
    ledger.pressed("dispenser", "payment", 3.0)
    flashes(seen_at(ledger, "dispenser", "accepted"), [3.02])
    ledger.paper(ticket(at=4.0))
    assert [press.at for press in settled(ledger).unanswered] == [3.0]


def test_an_answer_after_the_deadline_is_none() -> None:
    ledger = Ledger(nobody_is_excused)
    ledger.pressed("caller-1", "start", 1.0)
    ledger.settle(1.1 + ANSWER_SECONDS)
    ledger.lamp("caller-1", "accepted", True, 1.2 + ANSWER_SECONDS)
    assert len(ledger.unanswered) == 1


def test_an_idle_text_that_changes_by_itself_is_no_answer() -> None:
    ledger = Ledger(nobody_is_excused)
    ledger.pressed("caller-1", "recall", 1.0)
    ledger.screen(1, "等候3人", 1.1)
    assert len(settled(ledger).unanswered) == 1


def test_a_call_that_only_blinks_is_no_answer() -> None:
    ledger = Ledger(nobody_is_excused)
    ledger.screen(1, "A001 请到1号窗口", 0.5)
    ledger.screen(1, "", 0.9)
    ledger.pressed("caller-1", "recall", 1.0)
    ledger.screen(1, "A001 请到1号窗口", 1.3)
    assert len(settled(ledger).unanswered) == 1


def test_the_screen_above_the_caller_gives_the_time_to_the_led() -> None:
    ledger = Ledger(nobody_is_excused)
    ledger.pressed("caller-1", "call_next", 1.0)
    ledger.screen(1, "A001 请到1号窗口", 1.025)
    assert [round(seconds, 3) for seconds in ledger.press_to_led_seconds] == [0.025]


def test_a_call_that_blinks_is_one_call() -> None:
    ledger = Ledger(nobody_is_excused)
    for at, text in [(1.0, "A001 请到1号窗口"), (1.4, ""), (1.8, "A001 请到1号窗口")]:
        ledger.screen(1, text, at)
    assert [(call.window, call.number) for call in ledger.calls] == [(1, "A001")]


def test_a_call_behind_a_fault_that_heals_is_one_call() -> None:
    ledger = Ledger(nobody_is_excused)
    for at, text in [
        (1.0, "A001 请到1号窗口"),
        (2.0, "系统故障 请稍候"),
        (3.0, "A001 请到1号窗口"),
    ]:
        ledger.screen(1, text, at)
    assert len(ledger.calls) == 1


def test_a_screen_with_two_numbers_is_noted() -> None:
    ledger = Ledger(nobody_is_excused)
    ledger.screen(1, "A001 A002 请到1号窗口", 1.0)
    assert ledger.two_at_once == ["A001 A002 请到1号窗口"]


def test_each_refusal_at_a_dispenser_that_is_well_is_counted_whosever_it_is() -> None:
    ledger = Ledger(lambda station, begin, end: "down" if begin <= 20.0 <= end else None)
    for at in (1.0, 10.0, 20.1):
        ledger.pressed("dispenser", "payment", at - 0.1)
        ledger.lamp("dispenser", "refused", True, at)
        ledger.lamp("dispenser", "refused", False, at + 0.3)
    ledger.lamp("dispenser", "accepted", True, 30.0)
    ledger.lamp("caller-1", "refused", True, 30.0)
    assert ledger.tally.dispenser_refusals == 2


@pytest.mark.parametrize("text", ["A001 请到3号窗口", "A001 to window 3"])
def test_a_screen_that_sends_people_to_another_window_is_noted_once_however_it_blinks(
    text: str,
) -> None:
    ledger = Ledger(nobody_is_excused)
    for at, shown in enumerate([text, "", text, "A001 请到2号窗口", "等候3人"]):
        ledger.screen(2, shown, float(at))
    assert ledger.misdirected == [f"{text} (above window 2)"]


def test_what_screens_say_is_served_is_noted_by_window() -> None:
    ledger = Ledger(nobody_is_excused)
    ledger.screen(2, "A001 请到2号窗口", 1.0)
    assert ledger.serving == set()
    for at, text in enumerate(["A001 正在办理", "A001 now serving", "等候3人"], start=2):
        ledger.screen(2, text, float(at))
    assert ledger.serving == {(2, "A001")}


def test_paper_answers_the_dispenser_and_gives_its_time() -> None:
    ledger = Ledger(nobody_is_excused)
    ledger.pressed("dispenser", "payment", 1.0)
    taken = ledger.paper(ticket(at=1.5))
    assert taken is not None
    assert taken.number == "A001"
    assert settled(ledger).unanswered == []
    assert list(ledger.press_to_paper_seconds) == [0.5]


def test_with_two_presses_under_way_no_paper_is_timed() -> None:
    ledger = Ledger(nobody_is_excused)
    ledger.pressed("dispenser", "payment", 1.0)
    ledger.pressed("dispenser", "enquiry", 1.2)
    ledger.paper(ticket(at=1.5))
    assert list(ledger.press_to_paper_seconds) == []


def test_a_refused_press_waits_for_no_paper() -> None:
    ledger = Ledger(nobody_is_excused)
    ledger.pressed("dispenser", "payment", 1.0)
    ledger.lamp("dispenser", "refused", True, 1.1)
    ledger.pressed("dispenser", "payment", 2.0)
    ledger.paper(ticket(at=2.5))
    assert list(ledger.press_to_paper_seconds) == [0.5]


def test_torn_paper_and_void_paper_are_no_tickets_and_no_answers() -> None:
    ledger = Ledger(nobody_is_excused)
    ledger.pressed("dispenser", "payment", 0.5)
    whole = ticket(at=1.0)
    torn = Paper(1, whole.items, 0.0, 1.0, complete=False, interrupted=False, length_mm=50.0)
    void_line = TextLine("--- 以上作废 VOID ABOVE ---", 1, 1, False, "center")
    void = Paper(2, (*whole.items, void_line), 0.0, 1.0, True, False, 120.0)
    assert ledger.paper(torn) is None
    assert ledger.paper(void) is None
    assert ledger.papers == []
    assert ledger.other_papers == 2
    assert len(settled(ledger).unanswered) == 1


def test_a_press_with_an_excuse_is_not_unanswered() -> None:
    spans: list[tuple[str, float, float]] = []

    def down(station: str, begin: float, end: float) -> str:
        spans.append((station, begin, end))
        return "the daemon was not ready"

    ledger = Ledger(down)
    ledger.pressed("caller-1", "start", 1.0)
    assert settled(ledger).unanswered == []
    assert ledger.excused == 1
    assert spans == [("caller-1", 1.0, 1.0 + EXCUSED_WITHIN_SECONDS)]


def tally_of(*happenings: tuple[float, str, str], excuse: Excuse = nobody_is_excused) -> Ledger:
    """``(at, "press", key)`` or ``(at, lamp, "on" or "off")``, all at one caller."""
    ledger = Ledger(excuse)
    for at, what, which in happenings:
        if what == "press":
            ledger.pressed("caller-1", which, at)
        else:
            ledger.lamp("caller-1", what, which == "on", at)
    return ledger


def test_a_lamp_that_goes_on_after_one_press_proves_its_answer() -> None:
    tally = tally_of(
        (1.0, "press", "start"),
        (1.1, "accepted", "on"),
        (1.4, "accepted", "off"),
        (2.0, "press", "finish"),
        (2.1, "refused", "on"),
    ).tally
    assert tally.pressed == {("caller-1", "start"): 1, ("caller-1", "finish"): 1}
    assert tally.accepted == {("caller-1", "start"): 1}
    assert tally.refused == {("caller-1", "finish"): 1}


def test_two_presses_of_one_key_leave_no_doubt_which_was_accepted() -> None:
    tally = tally_of(
        (1.0, "press", "start"),
        (1.3, "press", "start"),
        (1.4, "accepted", "on"),
    ).tally
    assert tally.accepted == {("caller-1", "start"): 1}


@pytest.mark.parametrize(
    "happenings",
    [
        [(1.0, "press", "start"), (1.3, "press", "finish"), (1.4, "accepted", "on")],
        [(1.0, "accepted", "on"), (1.1, "press", "start"), (1.9, "accepted", "off")],
        [(1.0, "accepted", "on"), (1.1, "press", "start")],
    ],
    ids=["another key waited too", "a light that goes on", "a light from before"],
)
def test_an_answer_that_may_be_somebody_elses_proves_nothing(
    happenings: list[tuple[float, str, str]],
) -> None:
    tally = tally_of(*happenings).tally
    assert not tally.accepted
    assert sum(tally.pressed.values()) > 0


def test_an_answer_over_a_restart_proves_nothing() -> None:
    ledger = tally_of(
        (1.0, "press", "start"), (1.4, "accepted", "on"), excuse=lambda *_: "was not ready"
    )
    assert not ledger.tally.accepted


def test_a_press_at_the_dispenser_is_surely_accepted_and_never_surely_refused() -> None:
    """The refusal may be about the slip of somebody before."""
    ledger = Ledger(nobody_is_excused)
    for at, key, lamp in [(1.0, "payment", "accepted"), (2.0, "enquiry", "accepted")]:
        ledger.pressed("dispenser", key, at)
        flashes(seen_at(ledger, "dispenser", lamp), [at + 0.05])
    flashes(seen_at(ledger, "dispenser", "refused"), [3.0])
    ledger.pressed("dispenser", "payment", 4.0)
    flashes(seen_at(ledger, "dispenser", "refused"), [4.1])
    assert ledger.tally.accepted == {("dispenser", "payment"): 1, ("dispenser", "enquiry"): 1}
    assert not ledger.tally.refused
