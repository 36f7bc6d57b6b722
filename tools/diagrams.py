"""Draw the state machines of the queue core, from the very tables that it runs on.

python -m tools.diagrams            write docs/reference/state-machines.md
python -m tools.diagrams --check    exit 1 where the page has drifted
"""

import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from contract.events import HallEvent
from contract.names import HallPhase, WindowState
from edge.queue.machines import ENDED, HALL, TICKET, WINDOW

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference" / "state-machines.md"

Table = Mapping[Any, Mapping[type[HallEvent], StrEnum]]

HEAD = """\
<!-- Generated from edge/queue/machines.py by `python -m tools.diagrams`: don't edit, a test
compares. -->
# State machines

Every arrow is an [event](events.md). What has no arrow can't happen: the command that would lead
to it is refused by name, with the ticket, the window and the state. The tables are in
`edge/queue/machines.py`; this page is drawn from them.
"""

TICKET_TEXT = """\
A number is reserved before it is printed, and a ticket waits when its paper has really come out.
A ticket has ended when it is {ended}; a no-show, and a ticket
of which nobody can tell whether it was printed, may rejoin while the day lasts. A rating changes no
state: the window asks about the finished ticket until it is rated or the time is over.
"""
WINDOW_TEXT = """\
A window holds one ticket while it is calling or serving, and has one clerk while it is not closed.
Who waits for one certain window goes back to the line of the service when that window closes.
"""
HALL_TEXT = """\
Closing the day ends every ticket and closes every window first.
"""


def page() -> str:
    """The page as Markdown with Mermaid diagrams."""
    ended = sorted(state.value for state in ENDED)
    ends = f"{', '.join(ended[:-1])} or {ended[-1]}"
    return "\n".join(
        [
            HEAD,
            "## Ticket\n",
            TICKET_TEXT.format(ended=ends),
            diagram(TICKET),
            "## Window\n",
            WINDOW_TEXT,
            diagram(WINDOW, start=WindowState.CLOSED),
            "## Hall\n",
            HALL_TEXT,
            diagram(HALL, start=HallPhase.CLOSED),
        ]
    )


def diagram(table: Table, start: StrEnum | None = None) -> str:
    """One table as a Mermaid state diagram.

    ``start`` is the state at the beginning, where the table has no row ``None`` for it.
    """
    lines = ["```mermaid", "stateDiagram-v2"]
    if start is not None:
        lines.append(f"    [*] --> {start}")
    for state, row in table.items():
        for target in dict.fromkeys(row.values()):
            labels = ", ".join(label(event) for event, to in row.items() if to is target)
            lines.append(f"    {state or '[*]'} --> {target}: {labels}")
        if not row:
            lines.append(f"    {state} --> [*]")
    return "\n".join([*lines, "```\n"])


def label(event: type[HallEvent]) -> str:
    """``hall.ticket.no-show.v1`` is drawn as ``ticket no-show``."""
    _, subject, verb, _ = event.type.split(".")
    return f"{subject} {verb}"


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    drifted = not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page()
    if arguments:
        if drifted:
            print(f"{PAGE.name} has drifted: run `python -m tools.diagrams`.", file=sys.stderr)
        return int(drifted)
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)}: {'written' if drifted else 'unchanged'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
