"""What somebody wants of a hall, and the names of the answers that are "no"."""

from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, Field, model_validator

from contract.names import (
    BusinessDay,
    CancelReason,
    ClerkId,
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
    command: Literal["confirm_print"] = "confirm_print"
    ticket: TicketId


class FailPrint(Strict):
    command: Literal["fail_print"] = "fail_print"
    ticket: TicketId
    reason: VoidReason


class SignOn(Strict):
    command: Literal["sign_on"] = "sign_on"
    window: WindowNumber
    clerk: ClerkId


class SignOff(Strict):
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
    command: Literal["recall"] = "recall"
    window: WindowNumber


class Start(Strict):
    command: Literal["start"] = "start"
    window: WindowNumber


class Finish(Strict):
    command: Literal["finish"] = "finish"
    window: WindowNumber


class NoShow(Strict):
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
    command: Literal["park"] = "park"
    window: WindowNumber


class Resume(Strict):
    """Take a parked ticket back; without ``ticket``, the one parked longest by this window."""

    command: Literal["resume"] = "resume"
    window: WindowNumber
    ticket: TicketId | None = None


class Pause(Strict):
    command: Literal["pause"] = "pause"
    window: WindowNumber
    reason: Annotated[str, Field(max_length=200)] = ""


class Reopen(Strict):
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
    command: Literal["cancel"] = "cancel"
    ticket: TicketId
    reason: CancelReason = CancelReason.CUSTOMER


class OpenDay(Strict):
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
    DAY_ALREADY_OPEN = "day_already_open"
    DAY_IN_THE_PAST = "day_in_the_past"
    UNKNOWN_SERVICE = "unknown_service"
    UNKNOWN_WINDOW = "unknown_window"
    UNKNOWN_TICKET = "unknown_ticket"
    TICKET_EXISTS = "ticket_exists"
    NUMBERS_EXHAUSTED = "numbers_exhausted"
    WRONG_TICKET_STATE = "wrong_ticket_state"
    WRONG_WINDOW_STATE = "wrong_window_state"
    CLERK_AT_OTHER_WINDOW = "clerk_at_other_window"
    NOBODY_WAITING = "nobody_waiting"
    NOTHING_PARKED = "nothing_parked"
    RECALL_LIMIT = "recall_limit"
    TOO_EARLY = "too_early"
    NO_WINDOW_FOR_SERVICE = "no_window_for_service"
    NOTHING_TO_RATE = "nothing_to_rate"
    ALREADY_RATED = "already_rated"
    JOURNAL_UNAVAILABLE = "journal_unavailable"
    """The event could not be made durable (disk full, disk error): nothing has happened."""
    PRINTER_UNAVAILABLE = "printer_unavailable"
    STOPPING = "stopping"
    """The controller is shutting down."""
    EXPIRED = "expired"
    REPLAYED = "replayed"
    MALFORMED = "malformed"


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

    id: TicketId
    issued_at: AwareDatetime
    expires_at: AwareDatetime
    body: Command


class CentralReply(Tolerant):
    id: TicketId
    accepted: bool
    event_types: tuple[str, ...] = ()
    refusal: Refusal | None = None
