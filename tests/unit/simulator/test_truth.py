"""Each wrong is found when it is really there, and a good run has none."""

import json
import math
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from contract.commands import CloseDay
from contract.envelope import to_json
from simulator.ledger import Call, Tally
from simulator.perception import TicketPaper
from simulator.records import Record, Unreadable, hall_time, progress, read_centre, read_journal
from simulator.truth import (
    Evidence,
    cancelled_by_nobody,
    judge,
    key_of,
    percentiles_ms,
    skipped_numbers,
)
from tests.support.hall import Hall

DAY = date(2026, 3, 2)
EPOCH = "01JNAB00000000000000000000"


def ulid(n: int) -> str:
    return f"{n:026d}"


def events(*steps: tuple[str, int]) -> list[Record]:
    """``("issued", 1)``: what happened to which ticket, from seq 1 on."""
    about = {"window": 1, "service": "payment", "rating": "satisfied", "service_seconds": 90.0}
    return [
        record(seq, word, ticket, number=f"A{ticket:03}", **about)
        for seq, (word, ticket) in enumerate(steps, start=1)
    ]


def record(seq: int, word: str, ticket: int, **data: Any) -> Record:
    body: Mapping[str, Any] = {
        "type": f"hall.ticket.{word}.v1",
        "sequence": f"{seq:020}",
        "epoch": EPOCH,
        "data": {
            "ticket": ulid(ticket),
            "number": f"A{ticket:03}",
            "business_day": DAY.isoformat(),
            "service": "payment",
            **data,
        },
    }
    return Record(EPOCH, seq, body)


def paper(
    ticket: int, number: str, *, at: float = 1.0, reprint: bool = False, day: date = DAY
) -> TicketPaper:
    return TicketPaper(number, ulid(ticket), day, reprint, at)


GOOD_EVENTS = events(
    ("issued", 1),
    ("wait-estimated", 1),
    ("printed", 1),
    ("issued", 2),
    ("printed", 2),
    ("called", 1),
    ("started", 1),
    ("finished", 1),
    ("rated", 1),
    ("issued", 3),
    ("voided", 3),
)


def pressed_for(records: Sequence[Record]) -> Tally:
    """One press for each of these events that a finger leads to, accepted for all to see."""
    keys = Counter(key for record in records if (key := key_of(record)) is not None)
    return Tally(pressed=keys.copy(), accepted=keys.copy())


def good(**changes: Any) -> Evidence:
    """Two tickets on paper, one called and served, one waiting; a third that never had paper."""
    evidence = Evidence(
        presses=7,
        tally=pressed_for(GOOD_EVENTS),
        papers=[paper(1, "A001"), paper(2, "A002")],
        calls=[Call(5.0, 1, "A001")],
        press_to_led_seconds=[0.02, 0.04],
        press_to_paper_seconds=[0.4],
        journal=GOOD_EVENTS,
        centre=list(GOOD_EVENTS),
        daemon_rss_bytes=50_400_000,
        kills={"daemon": 1},
        broker="mosquitto",
    )
    return replace(evidence, **changes)


def floors_aside(evidence: Evidence) -> list[str]:
    """The reasons against it, were it a short run."""
    return judge(replace(evidence, ordinary_seconds=1.0)).reasons


def reasons(evidence: Evidence) -> str:
    return "\n".join(judge(evidence).reasons)


def test_a_good_run_has_no_reason_against_it_and_these_figures() -> None:
    verdict = judge(good())
    assert verdict.reasons == []
    assert verdict.figures == {
        "presses": 7,
        "presses_unanswered": 0,
        "issued": 3,
        "printed": 2,
        "voided": 1,
        "called": 1,
        "finished": 1,
        "no_show": 0,
        "rated": 1,
        "waiting": 1,
        "events_journaled": 11,
        "events_at_centre": 11,
        "duplicates_at_centre": 0,
        "gaps_at_centre": 0,
        "double_calls": 0,
        "duplicate_numbers": 0,
        "press_to_led_ms": {"p50": 20.0, "p99": 40.0},
        "press_to_paper_ms": {"p50": 400.0, "p99": 400.0},
        "daemon_rss_mb": 50.4,
        "kills": {"daemon": 1, "broker": 0, "centre": 0},
        "broker": "mosquitto",
    }


def test_a_call_that_no_screen_showed_is_found() -> None:
    assert "1 call was never shown: A001 at window 1" in reasons(good(calls=[]))
    elsewhere = [Call(5.0, 2, "A001")]
    assert "1 call was never shown: A001 at window 1" in reasons(good(calls=elsewhere))


@pytest.mark.parametrize(
    ("span", "at", "excused"),
    [
        ((4.0, 9.0), 5.0, True),
        ((4.0, math.inf), 5.0, True),
        ((6.0, 9.0), 5.0, False),
        ((1.0, 4.0), 5.0, False),
        ((1.0, 9.0), None, False),
    ],
)
def test_a_screen_is_excused_only_for_calls_while_it_was_unplugged(
    span: tuple[float, float], at: float | None, excused: bool
) -> None:
    when = {} if at is None else {(EPOCH, 6): at}  # the event of the call
    unshown = reasons(good(calls=[], blind_windows={1: [span]}, happened_at=when))
    assert ("never shown" not in unshown) == excused
    elsewhere = reasons(good(calls=[], blind_windows={2: [(4.0, 9.0)]}, happened_at=when))
    assert "never shown" in elsewhere


def test_the_second_call_of_a_ticket_has_to_be_shown_too() -> None:
    again = [record(12, "no-show", 1), record(13, "rejoined", 1)]
    again.append(record(14, "called", 1, window=1, number="A001"))
    history = [*GOOD_EVENTS, *again]
    assert "1 call was never shown: A001 at window 1" in reasons(
        good(journal=history, centre=history)
    )
    both = [Call(5.0, 1, "A001"), Call(9.0, 1, "A001")]
    assert "never shown" not in reasons(good(journal=history, centre=history, calls=both))


def test_the_same_number_at_the_same_window_tomorrow_has_to_be_shown_too() -> None:
    tomorrow = date(2026, 3, 3)
    about = {"number": "A001", "business_day": tomorrow.isoformat(), "window": 1}
    words = ("issued", "printed", "called")
    more = [record(seq, word, 9, **about) for seq, word in enumerate(words, start=12)]
    history = [*GOOD_EVENTS, *more]
    papers = [*good().papers, paper(9, "A001", at=900.0, day=tomorrow)]
    found = reasons(good(journal=history, centre=history, papers=papers))
    assert "1 call was never shown: A001 at window 1" in found


def test_a_call_on_a_screen_that_neither_journal_nor_centre_has_is_found() -> None:
    lost = [replace(r, seq=seq) for seq, r in enumerate(GOOD_EVENTS, 1) if r.word != "called"]
    found = reasons(good(journal=lost, centre=lost))
    assert "1 call that no journal knows: A001 at window 1" in found
    another = [Call(5.0, 1, "A001"), Call(6.0, 2, "A002")]
    assert "1 call that no journal knows: A002 at window 2" in reasons(good(calls=another))


def test_when_an_event_happened_is_told_or_it_is_unreadable() -> None:
    told = Record(EPOCH, 1, {"time": "2026-03-02T01:00:00Z"})
    assert hall_time(told) == datetime(2026, 3, 2, 1, tzinfo=UTC).timestamp()
    for wrong in ({}, {"time": "noon"}, {"time": 3}):
        with pytest.raises(Unreadable, match=r"the time of .*\.1"):
            hall_time(Record(EPOCH, 1, wrong))


def test_an_unanswered_press_is_counted_and_named() -> None:
    verdict = judge(good(unanswered=["call_next at caller-3"]))
    assert verdict.figures["presses_unanswered"] == 1
    assert verdict.reasons == ["1 press unanswered: call_next at caller-3"]


def test_an_event_that_is_twice_at_the_centre_is_a_duplicate() -> None:
    verdict = judge(good(centre=[*GOOD_EVENTS, GOOD_EVENTS[4]]))
    assert verdict.figures["duplicates_at_centre"] == 1
    assert verdict.reasons


def test_an_event_that_is_missing_in_the_middle_is_a_gap_and_lost() -> None:
    verdict = judge(good(centre=[*GOOD_EVENTS[:4], *GOOD_EVENTS[5:]]))
    assert verdict.figures["gaps_at_centre"] == 1
    assert "1 gap at the centre" in reasons(good(centre=[*GOOD_EVENTS[:4], *GOOD_EVENTS[5:]]))


def test_an_event_that_is_missing_at_the_end_is_no_gap_but_lost() -> None:
    evidence = good(centre=GOOD_EVENTS[:-1])
    assert judge(evidence).figures["gaps_at_centre"] == 0
    assert "1 event never reached the centre" in reasons(evidence)


def test_a_second_epoch_begins_at_one_and_is_no_gap() -> None:
    other = "01JNAB00000000000000000001"
    more = Record(other, 1, {"type": "hall.device.changed.v1", "epoch": other, "data": {}})
    assert judge(good(journal=[*GOOD_EVENTS, more], centre=[*GOOD_EVENTS, more])).reasons == []


def test_an_event_that_only_the_centre_has_is_wrong() -> None:
    forged = record(12, "rated", 1)
    assert "at the centre only" in reasons(good(centre=[*GOOD_EVENTS, forged]))


def test_an_event_that_says_something_else_at_the_centre_is_altered() -> None:
    changed = [record(9, "rated", 1, rating="satisfied") if r.seq == 9 else r for r in GOOD_EVENTS]
    assert "1 event was altered on its way" in reasons(good(centre=changed))


def test_a_number_on_two_tickets_of_a_day_is_a_duplicate() -> None:
    verdict = judge(good(papers=[paper(1, "A001"), paper(2, "A001")]))
    assert verdict.figures["duplicate_numbers"] == 1


def test_a_number_comes_again_on_another_day() -> None:
    papers = [paper(1, "A001"), paper(2, "A001", day=date(2026, 3, 3), at=9.0)]
    assert judge(good(papers=papers)).figures["duplicate_numbers"] == 0


@pytest.mark.parametrize("fate", ["voided", "printing", "cancelled"])
def test_a_number_that_was_issued_twice_is_a_duplicate_whatever_became_of_it(fate: str) -> None:
    second = [record(12, "issued", 7, number="A001"), record(13, fate, 7, number="A001")]
    history = [*GOOD_EVENTS, *second]
    verdict = judge(good(journal=history, centre=history))
    assert verdict.figures["duplicate_numbers"] == 1
    assert f"1 number on two tickets: A001 is on {ulid(1)} and on {ulid(7)}" in verdict.reasons


def test_a_number_that_was_issued_again_the_next_day_is_none() -> None:
    again = record(12, "issued", 7, number="A001", business_day="2026-03-03")
    history = [*GOOD_EVENTS, again, record(13, "voided", 7, number="A001")]
    assert judge(good(journal=history, centre=history)).figures["duplicate_numbers"] == 0


def test_a_duplicate_that_paper_journal_and_centre_have_is_one() -> None:
    second = [record(12, "issued", 7, number="A001"), record(13, "printed", 7, number="A001")]
    history = [*GOOD_EVENTS, *second]
    papers = [*good().papers, paper(7, "A001", at=9.0)]
    verdict = judge(good(journal=history, centre=history, papers=papers))
    assert verdict.figures["duplicate_numbers"] == 1


def test_a_number_issued_twice_to_one_ticket_is_wrong_too() -> None:
    history = [*GOOD_EVENTS, record(12, "issued", 3, number="A003")]
    assert f"A003 was issued twice to {ulid(3)}" in reasons(good(journal=history, centre=history))


def numbered(
    *numbers: str, first_seq: int = 1, epoch: str = EPOCH, day: date = DAY
) -> list[Record]:
    """These numbers, issued one after the other."""
    return [
        replace(
            record(seq, "issued", seq, number=number, business_day=day.isoformat()), epoch=epoch
        )
        for seq, number in enumerate(numbers, start=first_seq)
    ]


def test_numbers_that_nobody_was_given_are_found_by_day_and_prefix() -> None:
    tomorrow = date(2026, 3, 3)
    history = [
        *numbered("A001", "B001", "A002", "B004", "A005"),
        *numbered("A002", "C001", first_seq=6, day=tomorrow),
    ]
    assert skipped_numbers(history) == [
        "A003 on 2026-03-02",
        "A004 on 2026-03-02",
        "B002 on 2026-03-02",
        "B003 on 2026-03-02",
        "A001 on 2026-03-03",
    ]
    assert "5 numbers that nobody was given: A003 on" in reasons(good(journal=history))


def test_numbers_without_a_gap_are_as_they_should_be_in_whatever_order_they_were_issued() -> None:
    assert skipped_numbers(numbered("A002", "A001", "B001", "A003", "B002")) == []
    assert skipped_numbers([]) == []


def test_numbers_that_were_left_out_by_name_are_not_missing_on_that_day_alone() -> None:
    history = numbered("A001", "A005")
    runs = [{"prefix": "A", "first": 2, "last": 3}, {"prefix": "B", "first": 4, "last": 4}]
    data = {"business_day": DAY.isoformat(), "runs": runs}
    left_out = Record(EPOCH, 3, {"type": "hall.numbers.left-out.v1", "data": data})
    assert skipped_numbers([*history, left_out]) == ["A004 on 2026-03-02"]
    other_day = replace(left_out, body={**left_out.body, "data": {**data, "business_day": "2026"}})
    assert len(skipped_numbers([*history, other_day])) == 3


def test_a_salvage_leaves_out_numbers_between_two_epochs_and_nowhere_else() -> None:
    other = "01JNAB00000000000000000001"
    before, after = numbered("A001", "A003"), numbered("A013", "A015", "B009", epoch=other)
    assert skipped_numbers([*before, *after]) == ["A002 on 2026-03-02", "A014 on 2026-03-02"]


def test_a_paper_whose_time_cannot_be_read_is_wrong_and_no_other_day() -> None:
    blurred = replace(paper(2, "A002"), business_day=None)
    assert "1 paper without a readable time: A002" in reasons(
        good(papers=[paper(1, "A001"), blurred])
    )


def without(*words: str) -> list[Record]:
    """The good events, as they had been had these never happened."""
    kept = [record for record in GOOD_EVENTS if record.word not in words]
    return [replace(record, seq=seq) for seq, record in enumerate(kept, start=1)]


@pytest.mark.parametrize(
    ("word", "press"),
    [
        ("issued", "payment at dispenser"),
        ("called", "call_next at caller-1"),
        ("started", "start at caller-1"),
        ("finished", "finish at caller-1"),
        ("rated", "satisfied at evaluator-1"),
    ],
)
def test_a_press_that_was_accepted_and_never_journaled_is_found(word: str, press: str) -> None:
    history = without(word)
    found = reasons(good(journal=history, centre=history))
    times = 3 if word == "issued" else 1
    what = "press" if times == 1 else "presses"
    assert f"{times} {what} accepted and not journaled: {press}" in found


@pytest.mark.parametrize("word", ["started", "rated", "called"])
def test_an_event_that_nobody_pressed_for_is_found(word: str) -> None:
    at = f"{'evaluator' if word == 'rated' else 'caller'}-1"
    tally = pressed_for(without(word))
    assert f"1 event that nobody pressed for: {key_at(word)} at {at}" in reasons(good(tally=tally))


def key_at(word: str) -> str:
    key = key_of(next(record for record in GOOD_EVENTS if record.word == word))
    assert key is not None
    return key[1]


def test_a_rating_for_another_key_than_the_pressed_one_is_wrong_both_ways() -> None:
    other = record(9, "rated", 1, window=1, rating="dissatisfied")
    history = [*GOOD_EVENTS[:8], other, *GOOD_EVENTS[9:]]
    found = reasons(good(journal=history, centre=history))
    assert "1 press accepted and not journaled: satisfied at evaluator-1" in found
    assert "1 event that nobody pressed for: dissatisfied at evaluator-1" in found


def test_a_press_whose_answer_nobody_can_be_sure_of_may_have_led_to_its_event_or_not() -> None:
    doubtful = pressed_for(GOOD_EVENTS)
    doubtful.accepted.clear()
    assert judge(good(tally=doubtful)).reasons == []
    doubtful.pressed["caller-1", "recall"] += 1
    assert judge(good(tally=doubtful)).reasons == []


def test_a_press_that_was_refused_leads_to_nothing() -> None:
    tally = pressed_for(GOOD_EVENTS)
    tally.accepted.clear()
    tally.refused["caller-1", "start"] += 1
    assert "1 event that nobody pressed for: start at caller-1" in reasons(good(tally=tally))


def test_the_next_call_may_end_a_service_whether_somebody_waits_or_not() -> None:
    """Three calls: the second ended the first service, the third the second, and called nobody."""
    words = ("issued", "printed", "called", "started", "finished")
    history = [
        *events(*((word, 1) for word in words)),
        *(replace(r, seq=r.seq + 5) for r in events(*((word, 2) for word in words))),
    ]
    keys = Counter({("dispenser", "payment"): 2, ("caller-1", "start"): 2})
    keys["caller-1", "call_next"] = 3
    calls = [Call(5.0, 1, "A001"), Call(6.0, 1, "A002")]
    evidence = good(journal=history, centre=history, tally=Tally(keys, keys.copy()), calls=calls)
    assert judge(evidence).reasons == []
    keys["caller-1", "call_next"] = 1
    found = reasons(evidence)
    assert "2 events that nobody pressed for: call_next at caller-1; finish at caller-1" in found


def test_the_dispenser_refuses_who_gets_no_number_and_whose_slip_failed_and_nobody_else() -> None:
    tally = pressed_for(GOOD_EVENTS)  # three numbers, one of them void
    tally.pressed["dispenser", "enquiry"] += 2
    tally.dispenser_refusals = 3
    assert judge(good(tally=tally, kills={})).reasons == []
    tally.dispenser_refusals = 5
    found = judge(good(tally=tally, kills={})).reasons
    assert found == ["2 refusals at the dispenser that were none"]
    assert judge(good(tally=tally, kills={"daemon": 1})).reasons == []


def test_the_end_of_the_day_presses_no_key() -> None:
    evening = [
        record(12, "called", 2, window=1, number="A002"),
        record(13, "started", 2, window=1, number="A002"),
        record(14, "finished", 2, window=1, number="A002", service_seconds=None),
        Record(EPOCH, 15, {**GOOD_EVENTS[0].body, "type": "hall.window.closed.v1"}),
    ]
    history = [*GOOD_EVENTS, *evening]
    tally = pressed_for([*GOOD_EVENTS, *evening[:2]])
    calls = [Call(5.0, 1, "A001"), Call(6.0, 1, "A002")]
    assert judge(good(journal=history, centre=history, tally=tally, calls=calls)).reasons == []


@pytest.mark.parametrize(
    ("kind", "data", "key"),
    [
        ("ticket.issued", {"service": "payment", "tier": "normal"}, ("dispenser", "payment")),
        (
            "ticket.issued",
            {"service": "payment", "tier": "priority"},
            ("dispenser", "payment-priority"),
        ),
        ("window.paused", {"window": 3}, ("caller-3", "pause")),
        ("window.reopened", {"window": 3}, ("caller-3", "pause")),
        ("window.opened", {"window": 3}, ("caller-3", "sign_on")),
        ("ticket.resumed", {"window": 3}, ("caller-3", "park")),
        ("ticket.unrated", {"window": 3}, None),
        ("device.changed", {"device": "printer"}, None),
    ],
)
def test_events_are_told_by_the_key_that_leads_to_them(
    kind: str, data: dict[str, Any], key: tuple[str, str] | None
) -> None:
    assert key_of(Record(EPOCH, 1, {"type": f"hall.{kind}.v1", "data": data})) == key


@pytest.mark.parametrize(
    ("history", "papers", "missing"),
    [
        ((), (), ["no ticket was issued", "no paper", "nobody was called", "nobody was served"]),
        (
            events(("issued", 1), ("voided", 1)),
            (),
            ["no paper", "nobody was called", "nobody was served"],
        ),
        (
            events(("issued", 1), ("printed", 1)),
            (paper(1, "A001"),),
            ["nobody was called", "nobody was served"],
        ),
    ],
)
def test_a_hall_in_which_nothing_works_is_no_success_however_little_was_lost(
    history: Sequence[Record], papers: Sequence[TicketPaper], missing: list[str]
) -> None:
    evidence = Evidence(
        presses=500,
        journal=history,
        centre=history,
        papers=papers,
        tally=pressed_for(history),
    )
    found = judge(evidence).reasons
    assert len(found) == len(missing)
    assert all(text in reason for text, reason in zip(missing, found, strict=True))
    early = replace(evidence, ordinary_seconds=4.0)
    slow = replace(evidence, ordinary_hall_seconds=30.0)  # at a low speed nobody was there yet
    assert judge(early).reasons == judge(slow).reasons == []


@pytest.mark.parametrize(("served", "told"), [(19, False), (20, True)])
def test_a_hall_that_serves_many_and_takes_no_rating_is_no_success(served: int, told: bool) -> None:
    words = ("issued", "printed", "called", "started", "finished")
    history = events(*((word, ticket) for ticket in range(1, served + 1) for word in words))
    evidence = Evidence(
        presses=5 * served,
        tally=pressed_for(history),
        papers=[paper(ticket, f"A{ticket:03}") for ticket in range(1, served + 1)],
        calls=[Call(5.0, 1, f"A{ticket:03}") for ticket in range(1, served + 1)],
        journal=history,
        centre=history,
    )
    assert ("no rating was taken" in reasons(evidence)) == told
    assert floors_aside(evidence) == []
    more = [*history, record(len(history) + 1, "rated", 3, window=1, rating="neutral")]
    rated = replace(evidence, journal=more, centre=more, tally=pressed_for(more))
    assert judge(rated).reasons == []


def test_a_hall_in_which_nobody_presses_is_no_success() -> None:
    assert "nobody pressed anything" in reasons(Evidence())
    assert judge(Evidence(ordinary_seconds=0.0)).reasons == []


def test_a_chaos_that_left_a_program_alone_is_none() -> None:
    kills = {"daemon": 2, "broker": 3, "centre": 1}
    assert judge(good(kills=kills, kills_due=2)).reasons == [
        "kills of the centre by the chaos: 1, and 2 is the least"
    ]
    assert judge(good(kills=kills, kills_due=1)).reasons == []


def test_a_marked_reprint_of_the_same_ticket_is_no_duplicate() -> None:
    papers = [*good().papers, paper(1, "A001", at=2.0, reprint=True)]
    verdict = judge(good(papers=papers, printing_troubles=[(1.2, 1.8)]))
    assert verdict.reasons == []
    assert verdict.figures["printed"] == 2


@pytest.mark.parametrize(
    ("troubles", "excused"),
    [
        ([], False),
        ([(0.1, 0.4)], False),  # before its number was issued
        ([(2.1, 9.0)], False),  # after it came out
        ([(0.1, 0.4), (2.1, 9.0)], False),
        ([(0.1, 0.6)], True),
        ([(1.9, math.inf)], True),
        ([(-math.inf, math.inf)], True),
    ],
)
def test_a_marked_reprint_needs_a_trouble_between_its_issue_and_the_paper(
    troubles: Sequence[tuple[float, float]], excused: bool
) -> None:
    evidence = good(
        papers=[*good().papers, paper(1, "A001", at=2.0, reprint=True)],
        happened_at={(EPOCH, 1): 0.5},
        printing_troubles=troubles,
    )
    assert judge(evidence).reasons == ([] if excused else ["1 reprint for no reason: A001"])


def test_a_second_paper_that_is_not_marked_is_a_duplicate() -> None:
    verdict = judge(good(papers=[*good().papers, paper(1, "A001", at=2.0)]))
    assert verdict.figures["duplicate_numbers"] == 1


def test_a_ticket_called_at_two_windows_is_a_double_call() -> None:
    verdict = judge(good(calls=[Call(5.0, 1, "A001"), Call(6.0, 2, "A001")]))
    assert verdict.figures["double_calls"] == 1
    assert "windows 1, 2" in verdict.reasons[0]


def test_a_ticket_that_was_transferred_is_called_again_elsewhere() -> None:
    elsewhere = record(9, "called", 1, window=2, number="A001")
    handed_on = record(8, "transferred", 1, window=1, from_service="payment")
    history = [*GOOD_EVENTS[:7], handed_on, elsewhere]
    calls = [Call(5.0, 1, "A001"), Call(6.0, 2, "A001")]
    tally = pressed_for(history)
    evidence = good(journal=history, centre=list(history), calls=calls, tally=tally)
    assert floors_aside(evidence) == []


def test_one_transfer_excuses_one_change_of_window_and_no_more() -> None:
    elsewhere = record(9, "called", 1, window=2, number="A001")
    history = [*GOOD_EVENTS[:7], record(8, "transferred", 1), elsewhere]
    calls = [Call(5.0, 1, "A001"), Call(6.0, 2, "A001"), Call(7.0, 1, "A001")]
    verdict = judge(good(journal=history, centre=list(history), calls=calls))
    assert verdict.figures["double_calls"] == 1


def test_a_ticket_that_was_parked_and_taken_back_may_not_be_called_elsewhere() -> None:
    aside = [record(12, "parked", 1, window=1), record(13, "resumed", 1, window=2)]
    history = [*GOOD_EVENTS, *aside]
    calls = [Call(5.0, 1, "A001"), Call(6.0, 2, "A001")]
    verdict = judge(good(journal=history, centre=history, calls=calls))
    assert verdict.figures["double_calls"] == 1


@pytest.mark.parametrize("window", [1, 3])
def test_a_ticket_that_the_journal_calls_twice_is_a_double_call_though_nobody_saw_it(
    window: int,
) -> None:
    again = record(12, "called", 1, window=window, number="A001")
    history = [*GOOD_EVENTS, again]
    unplugged = {window: [(0.0, 9.0)]}
    evidence = good(
        journal=history,
        centre=history,
        blind_windows=unplugged,
        happened_at={again.place: 7.0},
    )
    verdict = judge(evidence)
    assert verdict.figures["double_calls"] == 1
    assert f"called at window {window} after window 1" in reasons(evidence)


def test_a_double_call_that_journal_and_screens_tell_of_is_one() -> None:
    history = [*GOOD_EVENTS, record(12, "called", 1, window=2, number="A001")]
    calls = [Call(5.0, 1, "A001"), Call(6.0, 2, "A001")]
    verdict = judge(good(journal=history, centre=history, calls=calls))
    assert verdict.figures["double_calls"] == 1


def test_a_screen_that_calls_two_at_once_is_a_double_call() -> None:
    assert judge(good(two_at_once=["A001 A002"])).figures["double_calls"] == 1


def test_a_screen_that_sends_people_to_another_window_fails_the_run() -> None:
    wrong = "A001 请到3号窗口 (above window 1)"
    assert judge(good(misdirected=[wrong])).reasons == [
        f"1 call to another window than its screen's: {wrong}"
    ]


def test_a_paper_with_another_number_than_its_tickets_is_wrong_though_the_screen_agrees() -> None:
    papers = [paper(1, "A501"), paper(1, "A501", at=2.0, reprint=True), paper(2, "A002")]
    evidence = good(papers=papers, calls=[Call(5.0, 1, "A501")], printing_troubles=[(1.2, 1.8)])
    found = judge(evidence).reasons
    assert found == ["1 paper with another number or day: A501 for A001"]


def at(time: str, record: Record) -> Record:
    return replace(record, body={**record.body, "time": time})


def end_of_day(seq: int, day: date = DAY) -> Record:
    data = {"business_day": day.isoformat()}
    return Record(EPOCH, seq, {"type": "hall.day.closed.v1", "data": data})


def test_a_ticket_that_is_cancelled_at_the_end_of_its_day_is_as_it_should_be() -> None:
    night = "2026-03-02T20:00:00+00:00"
    ended = [
        at(night, record(12, "cancelled", 2, number="A002", reason="day_closed")),
        at(night, end_of_day(13)),
    ]
    history = [*GOOD_EVENTS, *ended]
    assert judge(good(journal=history, centre=history)).reasons == []


@pytest.mark.parametrize("reason", ["day_closed", "manager", "customer"])
@pytest.mark.parametrize(
    "end",
    [
        (),
        (at("2026-03-02T20:00:00+00:00", end_of_day(13)),),
        (at("2026-03-02T02:00:00+00:00", end_of_day(13, date(2026, 3, 1))),),
    ],
    ids=["no day ended", "the day ended later", "another day ended then"],
)
def test_a_ticket_that_nobody_cancelled_is_found_whatever_reason_it_was_given(
    reason: str, end: Sequence[Record]
) -> None:
    cancelled = record(12, "cancelled", 2, number="A002", reason=reason)
    history = [*GOOD_EVENTS, at("2026-03-02T02:00:00+00:00", cancelled), *end]
    assert judge(good(journal=history, centre=history)).reasons == [
        "1 ticket cancelled that nobody cancelled: A002"
    ]


def test_what_an_edge_cancels_as_it_closes_a_day_is_nothing_that_nobody_cancelled() -> None:
    hall = Hall()
    waiting = [hall.take_number() for _ in range(3)]
    hall.pass_time(3600)
    hall.do(CloseDay())
    history = []
    for seq, event in enumerate(hall.events, start=1):
        history.append(
            Record(EPOCH, seq, json.loads(to_json(event, hall="h", epoch=EPOCH, seq=seq)))
        )
    assert [each.ticket for each in history if each.word == "cancelled"] == waiting
    assert cancelled_by_nobody(history) == []
    assert len(cancelled_by_nobody(history[:-1])) == 3
    assert skipped_numbers(history) == []


def test_yesterdays_paper_is_not_what_todays_call_is_about() -> None:
    """The same number at another window, a day later, is another ticket."""
    papers = [
        paper(1, "A001", at=1.0),
        paper(2, "A001", at=20.0, day=date(2026, 3, 3)),
    ]
    calls = [Call(5.0, 1, "A001"), Call(25.0, 2, "A001")]
    assert judge(good(papers=papers, calls=calls)).figures["double_calls"] == 0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"papers": [paper(1, "A001"), paper(2, "A002"), paper(9, "A009")]}, "no journal knows"),
        ({"papers": [paper(1, "A001"), paper(2, "A002"), paper(3, "A003")]}, "voided ticket"),
        ({"papers": [paper(1, "A001")]}, "printed without paper"),
        ({"papers": [paper(2, "A002")], "calls": []}, "called without paper"),
        ({"calls": [Call(5.0, 1, "A001"), Call(6.0, 2, "B007")]}, "number called without paper"),
        ({"calls": [Call(0.5, 1, "A001")]}, "number called without paper"),
        ({"failures": ["daemon ended by itself with exit code 1"]}, "ended by itself"),
    ],
)
def test_paper_tickets_and_calls_must_belong_together(changes: dict[str, Any], reason: str) -> None:
    assert reason in reasons(good(**changes))


def test_a_ticket_that_is_called_though_it_never_was_printed_is_wrong() -> None:
    history = events(("issued", 1), ("called", 1))
    evidence = good(journal=history, centre=list(history), papers=[paper(1, "A001")])
    assert "neither printed nor voided" in reasons(evidence)


@pytest.mark.parametrize(
    ("steps", "waiting"),
    [
        ([("issued", 1)], 0),
        ([("issued", 1), ("printed", 1)], 1),
        ([("issued", 1), ("printed", 1), ("called", 1)], 0),
        ([("issued", 1), ("printed", 1), ("called", 1), ("no-show", 1)], 0),
        ([("issued", 1), ("printed", 1), ("called", 1), ("no-show", 1), ("rejoined", 1)], 1),
        ([("issued", 1), ("printed", 1), ("cancelled", 1)], 0),
    ],
)
def test_who_waits_is_told_by_the_last_event(
    steps: Sequence[tuple[str, int]], waiting: int
) -> None:
    history = events(*steps)
    assert judge(good(journal=history, centre=history)).figures["waiting"] == waiting


def test_percentiles_are_nearest_rank_and_none_where_nothing_was_measured() -> None:
    assert percentiles_ms([n / 1000 for n in range(1, 101)]) == {"p50": 50.0, "p99": 99.0}
    assert percentiles_ms([]) == {"p50": None, "p99": None}


def journal_with(path: Path, *bodies: str | bytes) -> Path:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE events (position INTEGER PRIMARY KEY, body)")
        database.executemany("INSERT INTO events (body) VALUES (?)", [(body,) for body in bodies])
    return path


def test_a_journal_is_read_in_its_order(tmp_path: Path) -> None:
    bodies = [f'{{"epoch": "{EPOCH}", "sequence": "{seq}", "data": {{}}}}' for seq in (1, 2)]
    records = read_journal(journal_with(tmp_path / "journal.db", *bodies))
    assert [record.place for record in records] == [(EPOCH, 1), (EPOCH, 2)]


def test_a_file_that_is_missing_or_none_is_unreadable_for_every_reader(tmp_path: Path) -> None:
    missing, noise = tmp_path / "missing.db", tmp_path / "noise.db"
    noise.write_bytes(b"what a broken card gives" * 200)
    for path in (missing, noise):
        with pytest.raises(Unreadable, match=path.name):
            read_journal(path)
        with pytest.raises(Unreadable, match=path.name):
            read_centre(path, "demo")
        with pytest.raises(Unreadable, match=path.name):
            progress(path, path, "demo")


@pytest.mark.parametrize("body", ["{", "[]", '"text"', "{}", '{"data": []}', b"\xff\xfe"])
def test_what_is_no_event_makes_a_journal_unreadable(tmp_path: Path, body: str | bytes) -> None:
    with pytest.raises(Unreadable, match=r"journal\.db"):
        read_journal(journal_with(tmp_path / "journal.db", body))


def test_a_screen_that_says_that_somebody_is_served_who_is_not_fails_the_run() -> None:
    assert judge(good(serving={(1, "A001")})).reasons == []
    found = judge(good(serving={(1, "A001"), (2, "A001"), (1, "A002")})).reasons
    assert found == [
        "2 numbers shown as served where they are not: A002 at window 1; A001 at window 2"
    ]


def test_a_paper_of_another_day_than_its_tickets_is_wrong() -> None:
    papers = [paper(1, "A001", day=date(2026, 3, 3)), paper(2, "A002")]
    found = judge(good(papers=papers)).reasons
    assert found == ["1 paper with another number or day: A001 of 2026-03-03 for 2026-03-02"]


def test_what_can_not_have_happened_to_a_ticket_fails_the_run() -> None:
    about = {"window": 2, "rating": "satisfied", "service_seconds": 90.0}
    history = [
        record(each.seq, each.word, 1, **about) if each.word == "rated" else each
        for each in GOOD_EVENTS
    ]
    found = reasons(good(journal=history, centre=history))
    assert "1 event that can't have happened: A001: rated at window 2 by None" in found
