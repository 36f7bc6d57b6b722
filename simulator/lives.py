"""Whether what the journal tells of tickets can have happened to people.

The daemon has tables for this; here it is said once more, by somebody who has not read them: what
may come after what, that a ticket stays what it was issued as, and that who calls, serves and is
rated is one clerk at one window.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from simulator.records import Record

_ASIDE = frozenset({"wait-estimated", "recalled"})
"""After these a ticket is where it was before."""
_MAY_FOLLOW: Mapping[str, frozenset[str]] = {
    "issued": frozenset({"wait-estimated", "printed", "voided", "cancelled"}),
    "printed": frozenset({"called", "cancelled"}),
    "voided": frozenset({"rejoined"}),
    "called": frozenset({"recalled", "started", "no-show", "transferred", "cancelled"}),
    "started": frozenset({"finished", "parked", "transferred"}),
    "parked": frozenset({"resumed", "cancelled"}),
    "resumed": frozenset({"finished", "parked", "transferred"}),
    "no-show": frozenset({"rejoined"}),
    "rejoined": frozenset({"called", "cancelled"}),
    "transferred": frozenset({"called", "cancelled"}),
    "finished": frozenset({"rated", "unrated"}),
    "rated": frozenset(),
    "unrated": frozenset(),
    "cancelled": frozenset(),
}
"""By the words of ``hall.ticket.<word>.v1``."""
_COMES_TO_WINDOW = frozenset({"called", "resumed"})
_AT_ITS_WINDOW = frozenset(
    {"recalled", "started", "finished", "no-show", "parked", "transferred", "rated", "unrated"}
)


@dataclass(slots=True)
class _Life:
    last: str
    stays: dict[str, Any]
    """What no event may say otherwise, but for the service, which a transfer changes."""
    window: Any = None
    clerk: Any = None


def impossible_lives(journal: Iterable[Record]) -> list[str]:
    """What is told of tickets and can't have happened, in words."""
    lives: dict[str, _Life] = {}
    clerks: dict[Any, Any] = {}
    wrong: list[str] = []
    for record in journal:
        data = record.body.get("data", {})
        if record.kind.startswith("window."):
            left = record.kind == "window.closed"
            clerks[data.get("window")] = None if left else data.get("clerk")
        if not record.word:
            continue
        life = lives.get(record.ticket)
        if life is None:
            lives[record.ticket] = _Life(record.word, _what_stays(data), *_where(data))
            problem = "" if record.word == "issued" else f"{record.word}, and never issued"
        else:
            problem = _problem(life, record.word, data, clerks)
            _live_on(life, record.word, data)
        if problem:
            wrong.append(f"{data.get('number')}: {problem}")
    return wrong


def _problem(life: _Life, word: str, data: Mapping[str, Any], clerks: Mapping[Any, Any]) -> str:
    if word == life.last == "issued":
        return ""  # that is a number twice, and said as such
    if word not in _MAY_FOLLOW.get(life.last, ()):
        return f"{word} after {life.last}"
    for name, value in life.stays.items():
        said = data.get("from_service" if (word, name) == ("transferred", "service") else name)
        if said != value:
            return f"{word} with {name} {said}, and it was {value}"
    window, clerk = _where(data)
    if word in _AT_ITS_WINDOW and (window, clerk) != (life.window, life.clerk):
        return (
            f"{word} at window {window} by {clerk}, and it was at {life.window} with {life.clerk}"
        )
    if word in _COMES_TO_WINDOW and clerk != clerks.get(window):
        return f"{word} at window {window} by {clerk}, where {clerks.get(window) or 'nobody'} is"
    return ""


def _live_on(life: _Life, word: str, data: Mapping[str, Any]) -> None:
    if word not in _ASIDE:
        life.last = word
    if word == "transferred":
        life.stays = _what_stays(data)
    if word in _COMES_TO_WINDOW:
        life.window, life.clerk = _where(data)


def _what_stays(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: data.get(name) for name in ("number", "business_day", "service", "tier")}


def _where(data: Mapping[str, Any]) -> tuple[Any, Any]:
    return data.get("window"), data.get("clerk")
