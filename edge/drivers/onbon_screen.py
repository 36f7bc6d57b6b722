"""The driver of an Onbon LED bar above a window (窗口屏): shows a line, and knows that it does."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import ClassVar, Literal

from pydantic import Field

from contract.names import DeviceId, DeviceStatus
from edge.drivers.config import DeviceConfig, Role, port_claim
from edge.drivers.framing import Discarded, Reassembler
from edge.drivers.health import DeviceHealth
from edge.drivers.link import Link, Port, open_link
from edge.drivers.onbon_bx import (
    ANY_DEVICE_TYPE,
    CONTROLLER,
    MAX_FRAME_BYTES,
    Frame,
    Reply,
    TextArea,
    decode,
    encode_frame,
    encode_show,
    read_reply,
)
from edge.drivers.roles import ScreenLine, StatusCallback
from edge.drivers.supervisor import run_together

_log = logging.getLogger(__name__)


class OnbonConfig(DeviceConfig):
    """An Onbon BX-5K or BX-6K LED bar on RS-485, RS-232 or TCP (port 5005)."""

    roles: ClassVar[frozenset[Role]] = frozenset({Role.CALL_SCREEN})

    driver: Literal["onbon_bx"] = Field(title="Driver", description="Onbon BX-5K/6K font card.")
    port: Port = Field(
        title="Port", description="'/dev/serial/by-id/…' or 'socket://host:5005'. One bar a port."
    )
    baud: int = Field(
        default=57600, ge=1200, le=4_000_000, title="Baud rate", description="Serial ports only."
    )
    width: int = Field(
        default=128, ge=8, le=4096, title="Width", description="Dots, of the part that is used."
    )
    height: int = Field(
        default=16, ge=8, le=512, title="Height", description="Dots, of the part that is used."
    )
    x: int = Field(default=0, ge=0, le=4095, title="Left", description="Dots from the left edge.")
    y: int = Field(default=0, ge=0, le=511, title="Top", description="Dots from the top edge.")
    address: int = Field(
        default=1, ge=0, le=0xFFFE, title="Address", description="The card's screen address."
    )
    area: int = Field(
        default=0, ge=0, le=31, title="Area", description="Number of the card's dynamic area."
    )
    device_type: int = Field(
        default=ANY_DEVICE_TYPE,
        ge=0,
        le=255,
        title="Device type",
        description="254 is any; 97 (hexadecimal 61) is a BX-6K1.",
    )

    def claims(self) -> list[str]:
        return [port_claim(self.port)]


_REPLY_SECONDS = 0.5
_ATTEMPTS = 3
_LATE_SECONDS = 2.0
"""No bar takes so long to answer."""
_REFRESH_SECONDS = 10.0
"""A screen that was switched off and on meanwhile shows the truth again after this."""
_RETRY_SECONDS = 2.0
_REPEAT_SECONDS = 5.0
_BLINKS = 3
_BLINK_SECONDS = 0.4

_DARK = ScreenLine("")


class OnbonScreen:
    """A ``CallScreen`` on an Onbon bar.

    The latest line wins: what was not sent yet when a newer one comes is never sent. The line is
    sent again after a reconnect, and every 10 s, because a bar that was switched off keeps
    nothing and says nothing. The same line again within 5 s is dropped (a clerk who presses
    twice), but for one with ``blink``: that is an announcement, and goes dark and bright three
    times, also when it is the line that is already there.

    A bar is ``online`` while it answers, ``offline`` when three tries stay unanswered, and at
    ``fault`` when it answers with an error byte, which is logged as it came.

    Counters: ``opened``, ``shown``, ``repeats_dropped``, ``replies_missing``,
    ``replies_error``, ``replies_unexpected``, ``bytes_garbage``, ``frames_cut``,
    ``frames_malformed``, ``frames_checksum``, ``frames_foreign``.
    """

    def __init__(
        self,
        device_id: DeviceId,
        config: OnbonConfig,
        on_status: StatusCallback,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.id = device_id
        self._config = config
        self._health = DeviceHealth(device_id, on_status)
        self._monotonic = monotonic
        self._line = _DARK
        self._shown_at = float("-inf")
        self._blinks_left = 0
        self._changed = asyncio.Event()
        self._reply: asyncio.Future[Reply] | None = None
        self._owed: deque[tuple[float, bytes]] = deque()
        """Frames whose answers may still come, and when they were sent: a bar answers in order."""
        self._asked = b""
        """The frame whose answer is waited for."""

    def counters(self) -> Mapping[str, int]:
        return self._health.counters()

    def show(self, line: ScreenLine) -> None:
        now = self._monotonic()
        if line == self._line and self._still_announced(line, now):
            self._health.count("repeats_dropped")
            return
        self._line, self._shown_at = line, now
        self._blinks_left = _BLINKS if line.blink else 0
        self._changed.set()

    def _still_announced(self, line: ScreenLine, now: float) -> bool:
        """Whether the same line once more would change nothing that a person sees."""
        if line.blink:
            return self._blinks_left > 0
        return now - self._shown_at < _REPEAT_SECONDS

    async def run(self) -> None:
        link: Link | None = None
        try:
            link = await open_link(self._config.port, baud=self._config.baud)
            self._health.count("opened")
            self._owed.clear()
            await run_together(self._read(link), self._serve(link))
        except asyncio.CancelledError:
            if link is not None:
                # In a task of its own: until Python 3.11.5, time-outs within one that is cancelled
                # end as cancellations.
                await asyncio.shield(asyncio.create_task(self._go_dark(link)))
            raise
        except OSError as error:
            self._health.report(DeviceStatus.OFFLINE, str(error))
            raise
        finally:
            if link is not None:
                link.close()
            if self._health.status is not DeviceStatus.OFFLINE:
                self._health.report(DeviceStatus.UNKNOWN, "not served")

    async def _read(self, link: Link) -> None:
        stream: Reassembler[Frame] = Reassembler(decode, MAX_FRAME_BYTES)
        while True:
            for message in stream.feed(await link.read()):
                self._take(message)

    def _take(self, message: Frame | Discarded) -> None:
        if isinstance(message, Discarded):
            by = message.size if message.reason == "bytes_garbage" else 1
            self._health.count(message.reason, by)
            return
        reply = read_reply(message, self._config.address)
        if reply is None:
            self._health.count("frames_foreign")
            return
        answered = self._next_owed()
        if self._reply is None or self._reply.done() or answered != self._asked:
            # It may well be an answer to the frame in question, where an earlier one was lost;
            # then the frame is sent once more than needed. A line that is not there must never
            # pass for shown.
            self._health.count("replies_unexpected")
        else:
            if reply.error and self._health.status is not DeviceStatus.FAULT:
                _log.warning("%s answered with error: %s", self.id, message.data.hex(" "))
            self._reply.set_result(reply)

    async def _serve(self, link: Link) -> None:
        """Show the line, blink it if it is an announcement, and wait for news."""
        while True:
            self._changed.clear()
            well = await self._send(link, self._line)
            while well and self._blinks_left and not await self._news_within(_BLINK_SECONDS):
                await self._send(link, _DARK)
                if await self._news_within(_BLINK_SECONDS):
                    break
                self._blinks_left -= 1
                well = await self._send(link, self._line)  # else it is dark: again, and soon
            if not self._changed.is_set():
                await self._news_within(_REFRESH_SECONDS if well else _RETRY_SECONDS)

    def _next_owed(self) -> bytes:
        """The frame that an answer which comes now is about; none is where all are answered."""
        now = self._monotonic()
        while self._owed:
            sent_at, frame = self._owed.popleft()
            if now - sent_at < _LATE_SECONDS:
                return frame
        return b""

    async def _go_dark(self, link: Link) -> None:
        """At a clean stop: a call must not outlive whoever would take it back. What is not sent
        yet when a serial port is closed is lost, so the answer is waited for."""
        with suppress(OSError):
            await run_together(self._read(link), self._exchange_once(link, self._frame(_DARK)))

    async def _exchange_once(self, link: Link, frame: bytes) -> None:
        await self._exchange(link, frame)

    async def _news_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True

    async def _send(self, link: Link, line: ScreenLine) -> bool:
        """Whether the bar showed it. Gives up early when a newer line waits."""
        frame = self._frame(line)
        reply: Reply | None = None
        for _ in range(_ATTEMPTS):
            reply = await self._exchange(link, frame)
            if reply is not None and reply.error == 0:
                self._health.count("shown")
                self._health.report(DeviceStatus.ONLINE)
                return True
            self._health.count("replies_missing" if reply is None else "replies_error")
            if self._changed.is_set():
                break
        if reply is None:
            self._health.report(DeviceStatus.OFFLINE, "no answer")
        else:
            self._health.report(DeviceStatus.FAULT, f"error byte {reply.error:#04x}")
        return False

    async def _exchange(self, link: Link, frame: bytes) -> Reply | None:
        self._reply = asyncio.get_running_loop().create_future()
        self._asked = frame
        link.write(frame)
        self._owed.append((self._monotonic(), frame))
        try:
            async with asyncio.timeout(_REPLY_SECONDS):
                return await self._reply
        except TimeoutError:
            return None
        finally:
            self._reply = None

    def _frame(self, line: ScreenLine) -> bytes:
        show = encode_show(self._area(line))
        return encode_frame(Frame(self._config.address, CONTROLLER, show, self._config.device_type))

    def _area(self, line: ScreenLine) -> TextArea:
        config = self._config
        return TextArea(
            text=line.text,
            colour=line.colour,
            x=config.x,
            y=config.y,
            width=config.width,
            height=config.height,
            area=config.area,
        )
