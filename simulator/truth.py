"""What became of everything: one account of a run, and whether anything was lost or doubled.

Three witnesses are compared, none of which is the daemon: what came out of the devices (the
ledger), what is on disk (the journal's file), and what the centre keeps (its database).
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from contract.documents import HallLive
from simulator.ledger import DISPENSER, Call, Key, Tally
from simulator.lives import impossible_lives
from simulator.perception import TicketPaper
from simulator.records import Record

SHOWN = 8
"""Of a long list of wrongs, so many are spelled out."""

PROGRAMS = ("daemon", "broker", "centre")

_NUMBER = re.compile(r"([A-Z]+)([0-9]+)")

_BECOMES = {
    "issued": "printing",
    "printed": "waiting",
    "voided": "voided",
    "called": "called",
    "started": "serving",
    "finished": "finished",
    "no-show": "no_show",
    "rejoined": "waiting",
    "transferred": "waiting",
    "parked": "parked",
    "resumed": "serving",
    "cancelled": "cancelled",
}
"""The state that an event about a ticket leaves it in, by the event's own word."""
_CALLED_AGAIN_AFTER = frozenset({"rejoined", "transferred"})
"""Who is back in line may be called again, also elsewhere."""


@dataclass
class Evidence:
    """Everything that was seen of a run."""

    presses: int = 0
    tally: Tally = field(default_factory=Tally)
    """The presses, and how they were answered, by key."""
    unanswered: Sequence[str] = ()
    papers: Sequence[TicketPaper] = ()
    """In the order in which they came out."""
    calls: Sequence[Call] = ()
    two_at_once: Sequence[str] = ()
    misdirected: Sequence[str] = ()
    serving: AbstractSet[tuple[int, str]] = frozenset()
    """Windows, and the numbers that their screens said were being served there."""
    blind_windows: Mapping[int, Sequence[tuple[float, float]]] = field(default_factory=dict)
    """From when to when a window's screen was unplugged: calls may have passed it by then."""
    happened_at: Mapping[tuple[str, int], float] = field(default_factory=dict)
    """The time of issues and calls in the journal, by their places, on the clock of
    ``blind_windows``."""
    printing_troubles: Sequence[tuple[float, float]] = ()
    """From when to when a slip may have been lost: only then is one printed again."""
    press_to_led_seconds: Sequence[float] = ()
    press_to_paper_seconds: Sequence[float] = ()
    ordinary_seconds: float = math.inf
    """For so long the hall was open, with people in charge of it and nothing broken."""
    ordinary_hall_seconds: float = math.inf
    """The same in hall time."""
    journal: Sequence[Record] = ()
    centre: Sequence[Record] = ()
    live: HallLive | None = None
    """What the centre shows of the hall in the end."""
    daemon_rss_bytes: int = 0
    kills: Mapping[str, int] = field(default_factory=dict)
    kills_due: int = 0
    """So often chaos must have killed each program: else it was none."""
    broker: str = ""
    failures: Sequence[str] = ()
    """Programs that ended by themselves, people that failed."""


@dataclass(frozen=True)
class Verdict:
    figures: dict[str, Any]
    reasons: list[str]
    """Why the run is no success; empty: nothing was lost, doubled or left unanswered."""


def judge(evidence: Evidence) -> Verdict:
    """Count, compare, and say what is wrong.

    Tickets are counted by the centre's events, ``printed`` alone by the papers that came out: so
    it is no part of ``issued`` but a second witness beside it.
    """
    tickets = Tickets(evidence.centre)
    numbers = [
        *doubled_numbers(evidence.papers),
        *doubled_issues(evidence.journal),
        *doubled_issues(evidence.centre),
    ]
    numbers = list(dict.fromkeys(numbers))  # the same wrong, seen by several witnesses
    double_calls = doubled_calls(evidence, Tickets(evidence.journal))
    duplicates = len(evidence.centre) - len({record.place for record in evidence.centre})
    gaps = missing_places(evidence.centre)
    figures = {
        "presses": evidence.presses,
        "presses_unanswered": len(evidence.unanswered),
        "issued": tickets.count("issued"),
        "printed": len({paper.ticket for paper in evidence.papers}),
        "voided": tickets.count("voided"),
        "called": tickets.count("called"),
        "finished": tickets.count("finished"),
        "no_show": tickets.count("no-show"),
        "rated": tickets.count("rated"),
        "waiting": tickets.in_state("waiting"),
        "events_journaled": len(evidence.journal),
        "events_at_centre": len(evidence.centre),
        "duplicates_at_centre": duplicates,
        "gaps_at_centre": len(gaps),
        "double_calls": len(double_calls),
        "duplicate_numbers": len(numbers),
        "press_to_led_ms": percentiles_ms(evidence.press_to_led_seconds),
        "press_to_paper_ms": percentiles_ms(evidence.press_to_paper_seconds),
        "daemon_rss_mb": round(evidence.daemon_rss_bytes / 1e6, 1),
        "kills": {name: evidence.kills.get(name, 0) for name in PROGRAMS},
        "broker": evidence.broker,
    }
    reasons = [
        *_wrong("press unanswered", "presses unanswered", evidence.unanswered),
        *_wrong(
            "press accepted and not journaled",
            "presses accepted and not journaled",
            lost_presses(evidence),
        ),
        *_wrong(
            "event that nobody pressed for",
            "events that nobody pressed for",
            unasked_events(evidence),
        ),
        *_wrong(
            "refusal at the dispenser that was none",
            "refusals at the dispenser that were none",
            [""] * untrue_refusals(evidence),
        ),
        *_wrong("event twice at the centre", "events twice at the centre", [""] * duplicates),
        *_wrong("gap at the centre", "gaps at the centre", gaps),
        *_differences(evidence.journal, evidence.centre),
        *_wrong("double call", "double calls", double_calls),
        *_wrong("number on two tickets", "numbers on two tickets", numbers),
        *_wrong(
            "number that nobody was given",
            "numbers that nobody was given",
            skipped_numbers(evidence.journal),
        ),
        *_wrong(
            "paper without a readable time",
            "papers without a readable time",
            [paper.number for paper in evidence.papers if paper.business_day is None],
        ),
        *_paper_reasons(evidence, Tickets(evidence.journal)),
        *missing_work(evidence, figures),
        *[
            f"kills of the {name} by the chaos: {count}, and {evidence.kills_due} is the least"
            for name in PROGRAMS
            if (count := evidence.kills.get(name, 0)) < evidence.kills_due
        ],
        *_wrong("call was never shown", "calls were never shown", unshown_calls(evidence)),
        *_wrong(
            "call that no journal knows", "calls that no journal knows", unknown_calls(evidence)
        ),
        *_wrong(
            "call to another window than its screen's",
            "calls to other windows than their screens'",
            evidence.misdirected,
        ),
        *_wrong(
            "number shown as served where it is not",
            "numbers shown as served where they are not",
            served_nowhere(evidence),
        ),
        *_wrong(
            "paper with another number or day",
            "papers with another number or day",
            other_numbers(evidence),
        ),
        *_wrong(
            "event that can't have happened",
            "events that can't have happened",
            impossible_lives(evidence.journal),
        ),
        *_wrong(
            "reprint for no reason",
            "reprints for no reason",
            needless_reprints(evidence),
        ),
        *_wrong(
            "ticket cancelled that nobody cancelled",
            "tickets cancelled that nobody cancelled",
            cancelled_by_nobody(evidence.journal),
        ),
        *_wrong(
            "figure of the centre's that is wrong",
            "figures of the centre's that are wrong",
            shown_otherwise(evidence.live, evidence.journal),
        ),
        *evidence.failures,
    ]
    return Verdict(figures, reasons)


class Tickets:
    """What events say of tickets."""

    def __init__(self, records: Iterable[Record]) -> None:
        self.words: dict[str, Counter[str]] = {}
        self.states: dict[str, str] = {}
        for record in records:
            if not record.word:
                continue
            self.words.setdefault(record.ticket, Counter())[record.word] += 1
            if record.word in _BECOMES:
                self.states[record.ticket] = _BECOMES[record.word]

    def count(self, word: str) -> int:
        """Tickets to which this has happened."""
        return sum(words[word] > 0 for words in self.words.values())

    def in_state(self, state: str) -> int:
        return sum(value == state for value in self.states.values())

    def with_word(self, word: str) -> list[str]:
        return [ticket for ticket, words in self.words.items() if words[word]]


# --- what can be wrong ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Floor:
    """What every hall has done that was open for so long: nothing lost is nothing done, too."""

    figure: str
    what: str
    seconds: float
    """Hands, paper and programs take real time."""
    hall_seconds: float
    """Walks and services take hall time."""
    of: str = "presses"
    many: int = 0
    """Only some do this of those whom another figure counts: there must be so many of them."""


FLOORS = (
    Floor("presses", "nobody pressed anything", 5, 60),
    Floor("issued", "no ticket was issued", 5, 60),
    Floor("printed", "no paper came out", 10, 120),
    Floor("called", "nobody was called", 10, 180),
    Floor("finished", "nobody was served to the end", 30, 3600),
    Floor("rated", "no rating was taken", 10, 600, of="finished", many=20),
)


def missing_work(evidence: Evidence, figures: Mapping[str, Any]) -> list[str]:
    """What did not happen once, though there was time for it."""
    return [
        f"{floor.what}, in all the time that there was for it"
        for floor in FLOORS
        if not figures[floor.figure]
        and figures[floor.of] >= floor.many
        and evidence.ordinary_seconds >= floor.seconds
        and evidence.ordinary_hall_seconds >= floor.hall_seconds
    ]


def missing_places(records: Iterable[Record]) -> list[str]:
    """Every place between the first and the highest of an epoch that has no event."""
    seen: dict[str, set[int]] = {}
    for record in records:
        seen.setdefault(record.epoch, set()).add(record.seq)
    return [
        f"{epoch}.{seq}"
        for epoch, seqs in seen.items()
        for seq in range(1, max(seqs) + 1)
        if seq not in seqs
    ]


def other_numbers(evidence: Evidence) -> list[str]:
    """Papers whose number or day is not what their ticket was issued under: bar and paper may well
    agree on it, and nobody but the journal knows better."""
    issued = {record.ticket: record for record in evidence.journal if record.word == "issued"}
    wrong = []
    for paper in evidence.papers:
        if paper.ticket not in issued:
            continue  # which is a wrong of its own
        data = issued[paper.ticket].body["data"]
        number, day = data.get("number"), data.get("business_day")
        if paper.number != number:
            wrong.append(f"{paper.number} for {number}")
        elif paper.business_day is not None and paper.business_day.isoformat() != day:
            wrong.append(f"{number} of {paper.business_day} for {day}")
    return list(dict.fromkeys(wrong))  # a reprint says it once more


def served_nowhere(evidence: Evidence) -> list[str]:
    """What screens say is being served at their windows, and was never begun there."""
    begun = {
        (record.body["data"].get("window"), record.body["data"].get("number"))
        for record in evidence.journal
        if record.word in {"started", "resumed"}
    }
    return [f"{number} at window {window}" for window, number in sorted(evidence.serving - begun)]


def needless_reprints(evidence: Evidence) -> list[str]:
    """Papers that are marked as a second copy though neither daemon nor printer had any trouble
    from the issue of their number until they came out."""
    issued_at = {
        record.ticket: evidence.happened_at.get(record.place, -math.inf)
        for record in evidence.journal
        if record.word == "issued"
    }
    return [
        paper.number
        for paper in evidence.papers
        if paper.reprint
        and not any(
            begin <= paper.at and end >= issued_at.get(paper.ticket, -math.inf)
            for begin, end in evidence.printing_troubles
        )
    ]


def cancelled_by_nobody(journal: Sequence[Record]) -> list[str]:
    """Numbers of tickets that were cancelled other than by the end of their day: nothing in the
    virtual hall can cancel one. What the end of a day does happens in one moment with it."""
    ends = {_moment(record) for record in journal if record.kind == "day.closed"}
    return [
        str(record.body["data"].get("number"))
        for record in journal
        if record.word == "cancelled" and _moment(record) not in ends
    ]


def _moment(record: Record) -> tuple[Any, Any]:
    """The day that an event is about, and when it happened."""
    return record.body["data"].get("business_day"), record.body.get("time")


def doubled_numbers(papers: Iterable[TicketPaper]) -> list[str]:
    """Numbers that two papers of one day carry, other than by a marked reprint of one ticket."""
    first: dict[tuple[Any, str], TicketPaper] = {}
    wrong: list[str] = []
    for paper in papers:
        place = (paper.business_day, paper.number)
        before = first.setdefault(place, paper)
        if before is paper:
            continue
        if before.ticket != paper.ticket:
            wrong.append(f"{paper.number} is on {before.ticket} and on {paper.ticket}")
        elif not paper.reprint:
            wrong.append(f"{paper.number} came out twice, and the second says nothing of it")
    return wrong


def doubled_issues(records: Iterable[Record]) -> list[str]:
    """Numbers that were issued twice on a day, whatever became of them: one that was voided may
    be on somebody's paper."""
    first: dict[tuple[Any, Any], Record] = {}
    wrong: list[str] = []
    for record in records:
        if record.word != "issued":
            continue
        data = record.body["data"]
        before = first.setdefault((data.get("business_day"), data.get("number")), record)
        if before.place == record.place:
            continue  # the same event once more, which is another wrong
        if before.ticket == record.ticket:
            wrong.append(f"{data.get('number')} was issued twice to {record.ticket}")
        else:
            wrong.append(f"{data.get('number')} is on {before.ticket} and on {record.ticket}")
    return wrong


def skipped_numbers(journal: Sequence[Record]) -> list[str]:
    """Numbers below others of their day and prefix that were never issued, but for those that the
    hall has left out by name. A salvage leaves out some, too: between what one epoch gave and what
    the next gives, anything may be missing."""
    given: dict[tuple[Any, str], dict[int, str]] = {}
    left_out: set[tuple[Any, str, int]] = set()
    for record in journal:
        data = record.body.get("data", {})
        day = data.get("business_day")
        number = _NUMBER.fullmatch(str(data.get("number")))
        if record.word == "issued" and number is not None:
            given.setdefault((day, number[1]), {})[int(number[2])] = record.epoch
        for run in data.get("runs", ()) if record.kind == "numbers.left-out" else ():
            run_of = range(run["first"], run["last"] + 1)
            left_out |= {(day, run["prefix"], ordinal) for ordinal in run_of}
    skipped = []
    for (day, prefix), epochs in given.items():
        before, epoch = 0, journal[0].epoch
        for ordinal in sorted(epochs):
            if epochs[ordinal] == epoch:
                between = range(before + 1, ordinal)
                skipped += [(day, prefix, missing) for missing in between]
            before, epoch = ordinal, epochs[ordinal]
    return [
        f"{prefix}{ordinal:03} on {day}"
        for day, prefix, ordinal in skipped
        if (day, prefix, ordinal) not in left_out
    ]


def doubled_calls(evidence: Evidence, tickets: Tickets) -> list[str]:
    """Tickets called at two windows without a reason, and screens that called two at once."""
    wrong = [f"one screen called two: {text}" for text in evidence.two_at_once]
    windows: dict[str, list[Call]] = {}
    for call in evidence.calls:
        paper = paper_of(call, evidence.papers)
        if paper is not None:
            windows.setdefault(paper.ticket, []).append(call)
    seen = set()
    for ticket, calls in windows.items():
        changes = sum(one.window != other.window for one, other in pairwise(calls))
        words = tickets.words.get(ticket, Counter())
        if changes > sum(words[word] for word in _CALLED_AGAIN_AFTER):
            places = ", ".join(str(call.window) for call in calls)
            wrong.append(f"{calls[0].number} was called at the windows {places}")
            seen.add(ticket)
    return wrong + [
        text for ticket, text in _called_without_end(evidence.journal).items() if ticket not in seen
    ]


def _called_without_end(journal: Iterable[Record]) -> dict[str, str]:
    """Tickets that the journal calls again though nothing has put them back in line."""
    called_at: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    for record in journal:
        ticket, data = record.ticket, record.body["data"]
        if record.word in _CALLED_AGAIN_AFTER:
            called_at.pop(ticket, None)
        elif record.word == "called":
            window = data.get("window")
            if ticket in called_at:
                wrong[ticket] = (
                    f"{data.get('number')} was called at window {window} after window "
                    f"{called_at[ticket]}, and nothing between"
                )
            called_at[ticket] = window
    return wrong


def unshown_calls(evidence: Evidence) -> list[str]:
    """Calls in the journal that the window's screen did not show, each as often as it is missing.

    One that fell into a time when the screen was unplugged is excused.
    """
    shown = _shown_calls(evidence)
    missing = []
    for record in reversed(evidence.journal):  # of two calls and one sight, the later is meant
        if record.word != "called":
            continue
        window, number = record.body["data"].get("window"), record.body["data"].get("number")
        if shown[window, record.ticket]:
            shown[window, record.ticket] -= 1
        elif not _blind(evidence, window, evidence.happened_at.get(record.place)):
            missing.append(f"{number} at window {window}")
    return missing[::-1]


def unknown_calls(evidence: Evidence) -> list[str]:
    """Calls on a screen that no event tells of: what is shown has been on disk before."""
    journaled = Counter(
        (record.body["data"].get("window"), record.ticket)
        for record in evidence.journal
        if record.word == "called"
    )
    numbers = {paper.ticket: paper.number for paper in evidence.papers}
    more = _shown_calls(evidence) - journaled
    return [f"{numbers[ticket]} at window {window}" for window, ticket in more.elements()]


def _shown_calls(evidence: Evidence) -> Counter[tuple[int, str]]:
    """How often each window's screen called each ticket: a number alone comes again tomorrow."""
    return Counter(
        (call.window, paper.ticket)
        for call in evidence.calls
        if (paper := paper_of(call, evidence.papers)) is not None
    )


def _blind(evidence: Evidence, window: int, at: float | None) -> bool:
    spans = evidence.blind_windows.get(window, ())
    return at is not None and any(begin <= at <= end for begin, end in spans)


_PRESSED_FOR: Mapping[str, str] = {
    "ticket.called": "call_next",
    "ticket.recalled": "recall",
    "ticket.started": "start",
    "ticket.finished": "finish",
    "ticket.no-show": "no_show",
    "ticket.parked": "park",
    "ticket.resumed": "park",
    "window.opened": "sign_on",
    "window.closed": "sign_on",
    "window.paused": "pause",
    "window.reopened": "pause",
}
"""The key of the caller that leads to an event."""


def key_of(record: Record) -> Key | None:
    """The key that somebody pressed for this event; ``None``: it comes by itself."""
    data = record.body.get("data", {})
    window = data.get("window")
    if record.kind in _PRESSED_FOR:
        return (f"caller-{window}", _PRESSED_FOR[record.kind])
    if record.kind == "ticket.rated":
        return (f"evaluator-{window}", str(data.get("rating")))
    if record.kind == "ticket.issued":
        tier = data.get("tier", "normal")
        service = str(data.get("service"))
        return (DISPENSER, service if tier == "normal" else f"{service}-{tier}")
    return None


def _by_itself(record: Record) -> bool:
    """Whether the end of the day may have led to it, and nobody's finger."""
    unmeasured = record.body.get("data", {}).get("service_seconds") is None
    return record.kind == "window.closed" or (record.kind == "ticket.finished" and unmeasured)


def lost_presses(evidence: Evidence) -> list[str]:
    """Presses that people saw accepted and that led to no event. There is no excuse for one: what
    is accepted has been on disk before, whatever is killed then."""
    happened = Counter(key for record in evidence.journal if (key := key_of(record)) is not None)
    accepted = evidence.tally.accepted
    for caller in {station for station, pressed in accepted if pressed == "call_next"}:
        # It may end a service and call nobody, where nobody waits.
        finish = (caller, "finish")
        happened[caller, "call_next"] += max(0, happened[finish] - accepted[finish])
    return [f"{key} at {station}" for station, key in (accepted - happened).elements()]


def unasked_events(evidence: Evidence) -> list[str]:
    """Events of the kind that a finger leads to, beyond the presses that were not refused."""
    happened = Counter(
        key
        for record in evidence.journal
        if (key := key_of(record)) is not None and not _by_itself(record)
    )
    tally = evidence.tally
    allowed = tally.pressed - tally.refused
    for caller in {station for station, _ in happened}:
        allowed[caller, "finish"] += allowed[caller, "call_next"]  # the next call ends a service
    return [f"{key} at {station}" for station, key in (happened - allowed).elements()]


def untrue_refusals(evidence: Evidence) -> int:
    """How often the dispenser said no, beyond the presses that were given no number and the slips
    that failed. A daemon that dies may take along what it had refused, or was about to."""
    if evidence.kills.get("daemon"):
        return 0
    tally = evidence.tally
    presses = sum(count for (at, _), count in tally.pressed.items() if at == DISPENSER)
    words = Counter(record.word for record in evidence.journal)
    true = max(0, presses - words["issued"]) + words["voided"]
    return max(0, tally.dispenser_refusals - true)


_WINDOW_AFTER = {
    "window.opened": "idle",
    "window.paused": "paused",
    "window.reopened": "idle",
    "window.closed": "closed",
    "ticket.called": "calling",
    "ticket.started": "serving",
    "ticket.resumed": "serving",
    "ticket.finished": "idle",
    "ticket.no-show": "idle",
    "ticket.parked": "idle",
    "ticket.transferred": "idle",
}
"""What a window is after an event that names it."""


def shown_otherwise(live: HallLive | None, journal: Sequence[Record]) -> list[str]:
    """What dashboards see of the hall's present day, where its journal says something else."""
    if live is None or not journal:
        return []  # which are wrongs of their own
    days = [r.body["data"].get("business_day") for r in journal if r.kind == "day.opened"]
    day = days[-1] if days else None
    today = [r for r in journal if r.word and r.body["data"].get("business_day") == day]
    tickets = Tickets(today)
    services = {r.ticket: r.body["data"].get("service") for r in today}
    waiting = Counter(
        services[ticket] for ticket, state in tickets.states.items() if state == "waiting"
    )
    windows: dict[Any, tuple[Any, Any, Any]] = {}
    for record in journal:
        data = record.body["data"]
        if (state := _WINDOW_AFTER.get(record.kind)) is not None:
            clerk = None if state == "closed" else data.get("clerk")
            number = data.get("number") if state in {"calling", "serving"} else None
            windows[data.get("window")] = (state, clerk, number)
    said: dict[str, Any] = {
        "business day": live.business_day and live.business_day.isoformat(),
        "events": live.events,
        "behind": live.behind,
        "issued today": live.issued_today,
        "finished today": live.finished_today,
        "no-shows today": live.no_shows_today,
        "ratings": {rating: n for rating, n in live.satisfaction.ratings.items() if n},
        "waiting": {each.service: each.waiting for each in live.services if each.waiting},
        "windows": {each.window: (each.state, each.clerk, each.number) for each in live.windows},
    }
    true: dict[str, Any] = {
        "business day": day,
        "events": len(journal),
        "behind": 0,
        "issued today": tickets.count("issued"),
        "finished today": tickets.count("finished"),
        "no-shows today": tickets.count("no-show"),
        "ratings": dict(Counter(r.body["data"].get("rating") for r in today if r.word == "rated")),
        "waiting": dict(waiting),
        "windows": windows,
    }
    return [f"{what}: {said[what]} for {true[what]}" for what in said if said[what] != true[what]]


def paper_of(call: Call, papers: Sequence[TicketPaper]) -> TicketPaper | None:
    """The paper that a call is about: the newest with its number; ``None``: there was none."""
    for paper in reversed(papers):
        if paper.number == call.number and paper.at <= call.at:
            return paper
    return None


def _differences(journal: Sequence[Record], centre: Sequence[Record]) -> list[str]:
    """Journal and centre must say the same, word for word."""
    here = {record.place: record.body for record in journal}
    there = {record.place: record.body for record in centre}
    lost = [f"{epoch}.{seq}" for epoch, seq in here.keys() - there.keys()]
    invented = [f"{epoch}.{seq}" for epoch, seq in there.keys() - here.keys()]
    altered = [
        f"{epoch}.{seq}"
        for epoch, seq in here.keys() & there.keys()
        if here[epoch, seq] != there[epoch, seq]
    ]
    return [
        *_wrong("event never reached the centre", "events never reached the centre", lost),
        *_wrong("event is at the centre only", "events are at the centre only", invented),
        *_wrong("event was altered on its way", "events were altered on their way", altered),
    ]


def _paper_reasons(evidence: Evidence, tickets: Tickets) -> list[str]:
    """Paper, tickets and calls must belong together."""
    on_paper = {paper.ticket: paper.number for paper in evidence.papers}
    nobodys = [number for ticket, number in on_paper.items() if ticket not in tickets.words]
    dead = [number for ticket, number in on_paper.items() if tickets.states.get(ticket) == "voided"]
    unsettled = [
        ticket
        for ticket in tickets.with_word("issued")
        if not tickets.words[ticket]["printed"]
        and tickets.states[ticket] not in {"printing", "voided", "cancelled"}
    ]
    never_out = [ticket for ticket in tickets.with_word("printed") if ticket not in on_paper]
    called = [ticket for ticket in tickets.with_word("called") if ticket not in on_paper]
    shown = [
        f"{call.number} at window {call.window}"
        for call in evidence.calls
        if paper_of(call, evidence.papers) is None
    ]
    return [
        *_wrong("paper that no journal knows", "papers that no journal knows", nobodys),
        *_wrong("paper of a voided ticket", "papers of voided tickets", dead),
        *_wrong(
            "ticket neither printed nor voided", "tickets neither printed nor voided", unsettled
        ),
        *_wrong("ticket printed without paper", "tickets printed without paper", never_out),
        *_wrong("ticket called without paper", "tickets called without paper", called),
        *_wrong("number called without paper", "numbers called without paper", shown),
    ]


def _wrong(one: str, many: str, what: Sequence[str]) -> list[str]:
    """A reason as a sentence, or none."""
    if not what:
        return []
    named = [item for item in what if item]
    examples = "; ".join(named[:SHOWN]) + (" …" if len(named) > SHOWN else "")
    return [f"{len(what)} {one if len(what) == 1 else many}" + (f": {examples}" if named else "")]


def percentiles_ms(seconds: Sequence[float]) -> dict[str, float | None]:
    """Nearest-rank p50 and p99 in milliseconds; ``None`` where nothing was measured."""
    ordered = sorted(seconds)

    def rank(share: float) -> float | None:
        if not ordered:
            return None
        return round(ordered[max(0, math.ceil(share * len(ordered)) - 1)] * 1000, 1)

    return {"p50": rank(0.50), "p99": rank(0.99)}
