"""What the hall says to people, in its languages."""

from math import ceil

from contract.events import WaitEstimated
from contract.names import Language, TicketNumber, WindowNumber
from edge.queue.plan import WaitEstimate

Minutes = tuple[int, int]
"""About, at most."""


def counted(number: int, what: str) -> str:
    """``1 window``, ``2 windows``: in English, for logs and the command line."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def plain(text: object) -> str:
    """Whatever a stranger wrote, as something that a log, a database and a terminal take."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in str(text))


def minutes(estimate: WaitEstimate | WaitEstimated) -> Minutes | None:
    """A wait as people are told it: whole minutes, at least one, above 20 in steps of five.

    ``None`` where nobody can tell. Both may be the same: then it is said once.
    """
    if estimate.p50_seconds is None or estimate.p90_seconds is None:
        return None
    about, at_most = _rounded(estimate.p50_seconds), _rounded(estimate.p90_seconds)
    return about, max(about, at_most)


def _rounded(seconds: float) -> int:
    whole = max(1, ceil(seconds / 60))
    return whole if whole <= 20 else ceil(whole / 5) * 5


def call(number: TicketNumber, window: WindowNumber, language: Language) -> str:
    """Who is called where, in the language of the ticket."""
    if language is Language.ZH:
        return f"{number} 请到{window}号窗口"
    return f"{number} to window {window}"


def serving(number: TicketNumber, language: Language) -> str:
    return f"{number} 正在办理" if language is Language.ZH else f"{number} now serving"


def paused(language: Language) -> str:
    return "暂停服务" if language is Language.ZH else "Position paused"


def closed(language: Language) -> str:
    return "窗口关闭" if language is Language.ZH else "Closed"


def out_of_order(language: Language) -> str:
    return "系统故障 请稍候" if language is Language.ZH else "Please wait: system fault"


def idle(waiting: int, wait: Minutes | None, language: Language) -> str:
    """How many wait for this window's services, and how long somebody new would; a welcome where
    nobody waits."""
    if language is Language.ZH:
        if not waiting:
            return "欢迎光临"
        return f"等候{waiting}人" + (f" 约{_range(wait)}分钟" if wait else "")
    if not waiting:
        return "Welcome"
    return f"{waiting} waiting" + (f", {_range(wait)} min" if wait else "")


def _range(wait: Minutes) -> str:
    about, at_most = wait
    return str(about) if about == at_most else f"{about}-{at_most}"
