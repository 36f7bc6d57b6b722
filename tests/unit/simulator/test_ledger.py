"""What fingers did and eyes saw, settled press by press."""

from simulator.devices import Paper, QrCode, TextLine
from simulator.ledger import ANSWER_SECONDS, Ledger


def nobody_is_excused(station: str, begin: float, end: float) -> None:
    return None


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
    ledger.pressed("dispenser", "payment", 1.0)
    ledger.lamp("dispenser", "accepted", True, 1.1)
    ledger.pressed("dispenser", "enquiry", 1.2)
    ledger.lamp("dispenser", "accepted", False, 1.4)  # 0.3 s after the first press
    assert [str(press) for press in settled(ledger).unanswered] == ["enquiry at dispenser"]


def test_a_flash_that_was_made_longer_is_an_answer() -> None:
    ledger = Ledger(nobody_is_excused)
    ledger.pressed("dispenser", "payment", 1.0)
    ledger.lamp("dispenser", "accepted", True, 1.1)
    ledger.pressed("dispenser", "enquiry", 1.2)
    ledger.lamp("dispenser", "accepted", False, 1.51)
    assert settled(ledger).unanswered == []


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


def test_the_screen_above_the_caller_answers_it_and_gives_the_time_to_the_led() -> None:
    ledger = Ledger(nobody_is_excused)
    ledger.pressed("caller-1", "call_next", 1.0)
    ledger.screen(1, "A001 请到1号窗口", 1.025)
    assert settled(ledger).unanswered == []
    assert [round(seconds, 3) for seconds in ledger.press_to_led_seconds] == [0.025]


def test_a_call_that_blinks_is_one_call() -> None:
    ledger = Ledger(nobody_is_excused)
    for at, text in [(1.0, "A001 请到1号窗口"), (1.4, ""), (1.8, "A001 请到1号窗口")]:
        ledger.screen(1, text, at)
    assert [(call.window, call.number) for call in ledger.calls] == [(1, "A001")]


def test_a_screen_with_two_numbers_is_noted() -> None:
    ledger = Ledger(nobody_is_excused)
    ledger.screen(1, "A001 A002 请到1号窗口", 1.0)
    assert ledger.two_at_once == ["A001 A002 请到1号窗口"]


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


def test_torn_paper_and_void_paper_are_no_tickets() -> None:
    ledger = Ledger(nobody_is_excused)
    whole = ticket(at=1.0)
    torn = Paper(1, whole.items, 0.0, 1.0, complete=False, interrupted=False, length_mm=50.0)
    void_line = TextLine("--- 以上作废 VOID ABOVE ---", 1, 1, False, "center")
    void = Paper(2, (*whole.items, void_line), 0.0, 1.0, True, False, 120.0)
    assert ledger.paper(torn) is None
    assert ledger.paper(void) is None
    assert ledger.papers == []
    assert ledger.other_papers == 2


def test_a_press_with_an_excuse_is_repeated_by_the_person_and_not_counted() -> None:
    spans: list[tuple[str, float, float]] = []

    def down(station: str, begin: float, end: float) -> str:
        spans.append((station, begin, end))
        return "the daemon was not ready"

    ledger = Ledger(down)
    ledger.pressed("caller-1", "start", 1.0)
    assert settled(ledger).unanswered == []
    assert ledger.repeated == 1
    assert spans == [("caller-1", 1.0, 1.0 + ANSWER_SECONDS)]
