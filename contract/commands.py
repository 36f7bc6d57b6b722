"""What somebody wants of a hall, and the names of the answers that are "no"."""

from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, Field, model_validator

from contract.names import (
    BusinessDay,
    CancelReason,
    ClerkId,
    CommandId,
    Language,
    Rating,
    ServiceId,
    Strict,
    TicketId,
    TicketNumber,
    Tier,
    Tolerant,
    VoidReason,
    WindowNumber,
)


class IssueTicket(Strict):
    """A customer takes a number. ``ticket`` is a fresh ULID, made by who asks."""

    command: Literal["issue_ticket"] = "issue_ticket"
    ticket: TicketId
    service: ServiceId
    tier: Tier = Tier.NORMAL
    language: Language = Language.ZH


class ConfirmPrint(Strict):
    """The printer has really printed it: the ticket may be called."""

    command: Literal["confirm_print"] = "confirm_print"
    ticket: TicketId


class FailPrint(Strict):
    """The paper failed: the number is spent and nobody waits under it."""

    command: Literal["fail_print"] = "fail_print"
    ticket: TicketId
    reason: VoidReason


class SignOn(Strict):
    """A clerk opens a window."""

    command: Literal["sign_on"] = "sign_on"
    window: WindowNumber
    clerk: ClerkId


class SignOff(Strict):
    """The clerk leaves; the window is closed."""

    command: Literal["sign_off"] = "sign_off"
    window: WindowNumber


class CallNext(Strict):
    """Call who is next by the hall's policy. While serving, the service is finished first."""

    command: Literal["call_next"] = "call_next"
    window: WindowNumber


class CallTicket(Strict):
    """Call this very ticket, out of turn."""

    command: Literal["call_ticket"] = "call_ticket"
    window: WindowNumber
    ticket: TicketId


class Recall(Strict):
    """Announce the ticket that is called at the window again."""

    command: Literal["recall"] = "recall"
    window: WindowNumber


class Start(Strict):
    """The customer who was called came: the service begins."""

    command: Literal["start"] = "start"
    window: WindowNumber


class Finish(Strict):
    """The service ends, and the evaluator asks."""

    command: Literal["finish"] = "finish"
    window: WindowNumber


class NoShow(Strict):
    """The customer who was called did not come."""

    command: Literal["no_show"] = "no_show"
    window: WindowNumber


class Rejoin(Strict):
    """A no-show came after all, or a voided ticket turns out to have paper."""

    command: Literal["rejoin"] = "rejoin"
    ticket: TicketId


class Transfer(Strict):
    """Hand the ticket at ``window`` to another service, or to one certain window: one of them."""

    command: Literal["transfer"] = "transfer"
    window: WindowNumber
    to_service: ServiceId | None = None
    to_window: WindowNumber | None = None

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if (self.to_service is None) == (self.to_window is None):
            raise ValueError("a transfer names to_service or to_window, one of them")
        return self


class Park(Strict):
    """Set the ticket that is served aside (the customer fills in a form)."""

    command: Literal["park"] = "park"
    window: WindowNumber


class Resume(Strict):
    """Take a parked ticket back; without ``ticket``, the one parked longest by this window, or else
    by one that is no longer configured."""

    command: Literal["resume"] = "resume"
    window: WindowNumber
    ticket: TicketId | None = None


class Pause(Strict):
    """Take no more customers for now."""

    command: Literal["pause"] = "pause"
    window: WindowNumber
    reason: Annotated[str, Field(max_length=200)] = ""


class Reopen(Strict):
    """Take customers again after a pause."""

    command: Literal["reopen"] = "reopen"
    window: WindowNumber


class Rate(Strict):
    """A rating key was pressed at ``window``; it counts for the ticket that is asked about."""

    command: Literal["rate"] = "rate"
    window: WindowNumber
    rating: Rating
    reason: Annotated[str, Field(max_length=200)] = ""


class CloseRating(Strict):
    """The evaluator's time is over for this ticket."""

    command: Literal["close_rating"] = "close_rating"
    window: WindowNumber
    ticket: TicketId


class Cancel(Strict):
    """End a ticket that nobody serves."""

    command: Literal["cancel"] = "cancel"
    ticket: TicketId
    reason: CancelReason = CancelReason.CUSTOMER


class OpenDay(Strict):
    """Begin a business day; numbers start anew."""

    command: Literal["open_day"] = "open_day"
    business_day: BusinessDay


class CloseDay(Strict):
    """End the business day: whoever still waits is cancelled, whoever is served is finished."""

    command: Literal["close_day"] = "close_day"


Command = Annotated[
    IssueTicket
    | ConfirmPrint
    | FailPrint
    | SignOn
    | SignOff
    | CallNext
    | CallTicket
    | Recall
    | Start
    | Finish
    | NoShow
    | Rejoin
    | Transfer
    | Park
    | Resume
    | Pause
    | Reopen
    | Rate
    | CloseRating
    | Cancel
    | OpenDay
    | CloseDay,
    Field(discriminator="command"),
]


class RefusalReason(StrEnum):
    """Why a command was refused. A refusal is an answer: it beeps, lights or shows."""

    DAY_NOT_OPEN = "day_not_open"
    """No business day is open."""
    DAY_ALREADY_OPEN = "day_already_open"
    """A business day is still open: close it first."""
    DAY_IN_THE_PAST = "day_in_the_past"
    """The day is over, or its numbers are forgotten."""
    DAY_TOO_FAR_AHEAD = "day_too_far_ahead"
    """It is long before the day begins, by the hall's clock or by the last day that was open."""
    UNKNOWN_SERVICE = "unknown_service"
    """The hall has no such service."""
    UNKNOWN_WINDOW = "unknown_window"
    """The hall has no such window."""
    UNKNOWN_TICKET = "unknown_ticket"
    """No ticket of this business day has this id."""
    TICKET_EXISTS = "ticket_exists"
    """A ticket with this id was issued already."""
    NUMBERS_EXHAUSTED = "numbers_exhausted"
    """The service's range of numbers is used up for today."""
    WRONG_TICKET_STATE = "wrong_ticket_state"
    """The ticket's state does not allow it; ``state`` says which it is in."""
    WRONG_WINDOW_STATE = "wrong_window_state"
    """The window's state does not allow it; ``state`` says which it is in."""
    CLERK_AT_OTHER_WINDOW = "clerk_at_other_window"
    """The clerk is signed on to another window: sign off there first."""
    NOBODY_WAITING = "nobody_waiting"
    """Nobody waits whom this window may call."""
    NOTHING_PARKED = "nothing_parked"
    """The window has parked no ticket, nor has one that is no longer configured."""
    RECALL_LIMIT = "recall_limit"
    """The ticket was announced as often as the hall's rules allow."""
    TOO_EARLY = "too_early"
    """The hall's rules ask for more calls, or more seconds, before a no-show."""
    NO_WINDOW_FOR_SERVICE = "no_window_for_service"
    """No window of the hall takes the service."""
    NOTHING_TO_RATE = "nothing_to_rate"
    """The evaluator of this window asks nobody at the moment."""
    ALREADY_RATED = "already_rated"
    """The ticket has its rating: the first press counts."""
    JOURNAL_UNAVAILABLE = "journal_unavailable"
    """The event could not be made durable (disk full, disk error): nothing has happened."""
    PRINTER_UNAVAILABLE = "printer_unavailable"
    """No printer can print a ticket now: nothing was issued."""
    PRESSED_TWICE = "pressed_twice"
    """A moment after the same key: the second press would take back the first."""
    KEYS_TOGETHER = "keys_together"
    """Several keys at once: somebody leans on them."""
    UNKNOWN_KEY = "unknown_key"
    """A key that means nothing here, or nothing now."""
    OVERLOADED = "overloaded"
    """More is waiting for an answer already than can be kept."""
    INTERNAL_ERROR = "internal_error"
    """A bug of this software stopped the command; nothing has happened, the log says more."""
    NOT_FOR_CENTRAL = "not_for_central"
    """Only a device of the hall can say this: paper must come of it, or has come."""
    STOPPING = "stopping"
    """The controller is shutting down."""
    EXPIRED = "expired"
    """The command came after its ``expires_at``."""
    REPLAYED = "replayed"
    """A command with this id was taken before."""
    MALFORMED = "malformed"
    """The command does not fit its model."""


class Refusal(Tolerant):
    """A named "no", with what it is about."""

    reason: RefusalReason
    command: str
    ticket: TicketId | None = None
    number: TicketNumber | None = None
    window: WindowNumber | None = None
    state: str | None = None
    detail: str = ""

    def __str__(self) -> str:
        about: list[str] = [f"{self.command} refused: {self.reason}"]
        fields: dict[str, Any] = {
            "ticket": self.number or self.ticket,
            "window": self.window,
            "state": self.state,
        }
        about += [f"{name} {value}" for name, value in fields.items() if value is not None]
        return ", ".join(about) + (f" ({self.detail})" if self.detail else "")


class CentralCommand(Tolerant):
    """A command from the centre, good until ``expires_at``, taken once per ``id``."""

    id: CommandId
    issued_at: AwareDatetime
    expires_at: AwareDatetime
    body: Command


class CentralReply(Tolerant):
    """What became of a command from the centre: the events it led to, or a refusal.

    A command that is refused as replayed tells the events that it led to the first time, too.
    """

    id: CommandId
    accepted: bool
    event_types: tuple[str, ...] = ()
    refusal: Refusal | None = None
