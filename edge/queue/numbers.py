"""Which numbers of a business day are spent. A number is spent once it is issued, for ever.

Numbers are counted by what is printed, prefix and ordinal, and not by service: the configuration
may give a prefix to another service, or another range, in the middle of a day.
"""

from collections.abc import Iterable, Mapping

from contract.names import TicketNumber

Runs = tuple[tuple[int, int], ...]
"""Ordinals as runs, first and last of each: in order, with a gap between any two."""

Spent = Mapping[str, Runs]
"""Ordinals by prefix."""


def with_run(runs: Runs, first: int, last: int) -> Runs:
    """``runs`` and ``first`` to ``last``, some of which may be in it already."""
    if runs and runs[-1][1] + 1 == first <= last:  # the next number, as nearly always
        return (*runs[:-1], (runs[-1][0], last))
    before = tuple(run for run in runs if run[1] + 1 < first)
    behind = tuple(run for run in runs if run[0] - 1 > last)
    touched = runs[len(before) : len(runs) - len(behind)]
    if touched:
        first, last = min(first, touched[0][0]), max(last, touched[-1][1])
    return (*before, (first, last), *behind)


def next_unspent(runs: Runs, first: int, last: int) -> int | None:
    """The ordinal to issue in the range ``first`` to ``last``; ``None`` where all are spent.

    Numbers go up: it is the one behind the highest that is spent in this range, and only where the
    range ends there, the lowest that was left out.
    """
    behind = lowest = first
    for begins, ends in runs:
        if ends < first:
            continue
        if begins > last:
            break
        behind = ends + 1
        if begins <= lowest:
            lowest = behind
    if behind <= last:
        return behind
    return lowest if lowest <= last else None


def parsed(number: TicketNumber) -> tuple[str, int]:
    """Prefix and ordinal: ``A012`` is ``("A", 12)``, and so is ``A12``."""
    prefix = number.rstrip("0123456789")
    return prefix, int(number[len(prefix) :])


def with_number(spent: Spent, number: TicketNumber) -> Spent:
    """``spent`` and this number."""
    prefix, ordinal = parsed(number)
    return {**spent, prefix: with_run(spent.get(prefix, ()), ordinal, ordinal)}


def spent_by(numbers: Iterable[TicketNumber]) -> Spent:
    """All of these numbers, in any order."""
    ordinals: dict[str, list[int]] = {}
    for number in numbers:
        prefix, ordinal = parsed(number)
        ordinals.setdefault(prefix, []).append(ordinal)
    return {prefix: _runs(sorted(each)) for prefix, each in ordinals.items()}


def both(one: Spent, other: Spent) -> Spent:
    """What is spent by either."""
    union = dict(one)
    for prefix, runs in other.items():
        for first, last in runs:
            union[prefix] = with_run(union.get(prefix, ()), first, last)
    return union


def _runs(ordinals: list[int]) -> Runs:
    runs: Runs = ()
    for ordinal in ordinals:
        runs = with_run(runs, ordinal, ordinal)
    return runs
