"""The virtual hall's page: what devices show goes out to browsers, what fingers do comes in.

One WebSocket per browser. The page is cut into sections (the dispenser, each window, each piece
of paper …); a browser gets all of them once and then those that changed: at most ten times a
second while somebody presses things on it, five times while somebody looks on, and not at all
while its tab is hidden. A slow browser simply gets them less often. Browser and hall share this
machine's processors, and what a page takes, the devices lack.

The page can kill programs, so it listens on this machine only, and no other web site can reach
it through somebody's browser: ``Host`` must be a name of this machine (DNS rebinding), and the
``Origin`` of a WebSocket must be this very page (cross-site WebSocket).
"""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import segno
from aiohttp import WSMsgType, web

from simulator.hall import BadAction, VirtualHall
from simulator.perception import read_screen
from simulator.records import Unreadable
from simulator.tasks import in_background

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
_NAMES_OF_THIS_MACHINE = frozenset({"127.0.0.1", "localhost", "::1"})
_STATIC = Path(__file__).parent / "static"

REFRESH_SECONDS = 0.1
ONLOOKER_REFRESH_SECONDS = 0.2
"""For a browser whose fingers rest. A call blinks, and a flash of a lamp lasts, 0.3 s or more."""
FINGERS_REST_AFTER_SECONDS = 3.0
COUNT_SECONDS = 1.0
MAX_BROWSERS = 32
MAX_MESSAGE_BYTES = 2048
MAX_MEMBERS = 8
ACTIONS_PER_SECOND = 50.0
"""Fingers of one browser are not faster; what is above it is refused."""
SHORTEST_TOUCH_SECONDS = 0.15
"""A click may be shorter than any finger's touch: the key stays down for so long at least."""

Section = tuple[int, str]
"""(version, JSON)."""


@asynccontextmanager
async def serve_pages(hall: VirtualHall, port: int) -> AsyncIterator[str]:
    """Serve the virtual hall's page, and give its address. ``port`` 0 takes a free one.

    Raises ``OSError`` for a port that is in use.
    """
    page = HallPage(hall)
    runner = web.AppRunner(page.application(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, HOST, port)
        await site.start()
        yield f"http://{HOST}:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


class HallPage:
    """The page's server side, for one hall and any number of browsers."""

    def __init__(self, hall: VirtualHall) -> None:
        self.counters: Counter[str] = Counter()
        """``actions``, ``actions_refused``, ``messages_malformed``, ``hosts_refused``,
        ``origins_refused``, ``browsers_refused``."""
        self._hall = hall
        self._board = Board()
        self._events: dict[str, int] | None = None
        self._dirty = asyncio.Event()
        self._browsers: set[Browser] = set()
        hall.on_change(self._dirty.set)

    def application(self) -> web.Application:
        application = web.Application(middlewares=[self._only_this_machine])
        application.router.add_get("/", self._index)
        application.router.add_get("/live", self._live)
        application.router.add_static("/static/", _STATIC)
        application.on_response_prepare.append(self._protect)
        application.cleanup_ctx.append(self._working)
        return application

    # --- HTTP -------------------------------------------------------------------------------------

    @web.middleware
    async def _only_this_machine(
        self,
        request: web.Request,
        handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        if _host_name(request.headers.get("Host", "")) not in _NAMES_OF_THIS_MACHINE:
            self.counters["hosts_refused"] += 1
            raise web.HTTPForbidden(text="This page is for this machine only.")
        return await handler(request)

    async def _index(self, _: web.Request) -> web.StreamResponse:
        return web.FileResponse(_STATIC / "index.html")

    async def _protect(self, request: web.Request, response: web.StreamResponse) -> None:
        # Old browsers don't take 'self' for a WebSocket.
        response.headers["Content-Security-Policy"] = (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
            f"connect-src 'self' ws://{request.headers.get('Host', HOST)}; "
            f"frame-src {self._hall.centre_url}; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Cache-Control"] = "no-cache"

    async def _live(self, request: web.Request) -> web.StreamResponse:
        origin = urlsplit(request.headers.get("Origin", ""))
        if origin.scheme != "http" or origin.netloc != request.headers.get("Host"):
            self.counters["origins_refused"] += 1
            raise web.HTTPForbidden(text="Only this page itself may press buttons.")
        if len(self._browsers) >= MAX_BROWSERS:
            self.counters["browsers_refused"] += 1
            raise web.HTTPServiceUnavailable(text="Too many browsers are looking.")
        # Uncompressed: it never leaves this machine.
        socket = web.WebSocketResponse(
            max_msg_size=MAX_MESSAGE_BYTES, heartbeat=15.0, compress=False
        )
        await socket.prepare(request)
        browser = Browser(self._hall, self._board, socket, self.counters, self._dirty.set)
        self._browsers.add(browser)
        self._dirty.set()
        try:
            await browser.serve()
        finally:
            self._browsers.discard(browser)
        return socket

    # --- keeping the board ------------------------------------------------------------------------

    async def _working(self, _: web.Application) -> AsyncIterator[None]:
        tasks = [
            in_background(self._keep_board(), "the page's board"),
            in_background(self._count_events(), "counting events for the page"),
        ]
        yield
        for task in tasks:
            task.cancel()
        for browser in list(self._browsers):
            await browser.close()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep_board(self) -> None:
        """Look at the hall when something has changed and somebody is looking."""
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            if self._somebody_looks():
                self._board.update(sections(self._hall.snapshot(), self._events))
                for browser in self._browsers:
                    browser.board_changed()
            await asyncio.sleep(REFRESH_SECONDS)

    def _somebody_looks(self) -> bool:
        return any(browser.looking for browser in self._browsers)

    async def _count_events(self) -> None:
        """How many events the journal has, and how many of them the centre keeps."""
        while True:
            if self._somebody_looks():
                with suppress(Unreadable):  # no journal yet, or busy: the last count stands
                    here, there = await asyncio.to_thread(self._hall.count_events)
                    self._events = {"journaled": here, "at_centre": there}
                    self._dirty.set()
            await asyncio.sleep(COUNT_SECONDS)


class Board:
    """What there is to see, in sections; each new text of a section has a new version."""

    def __init__(self) -> None:
        self.sections: dict[str, Section] = {}
        self._version = 0

    def update(self, seen: Iterator[tuple[str, Any]]) -> None:
        """Take over what is seen now; a section that is not seen any more is gone."""
        sections: dict[str, Section] = {}
        for name, content in seen:
            text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
            before = self.sections.get(name)
            if before is None or before[1] != text:
                self._version += 1
                sections[name] = (self._version, text)
            else:
                sections[name] = before
        self.sections = sections


def sections(
    snapshot: Mapping[str, Any], events: Mapping[str, int] | None
) -> Iterator[tuple[str, Any]]:
    """The page's sections and what they hold, from ``VirtualHall.snapshot``."""
    for name in ("hall", "services", "people", "programs", "broker", "faults"):
        yield name, snapshot[name]
    yield "figures", {**snapshot["figures"], "events": events}
    dispenser = dict(snapshot["dispenser"])
    printer = dict(dispenser.pop("printer"))
    papers = printer.pop("papers")
    strip = printer.pop("strip")
    # In an ordinary print it is there for half a second: the ticket that comes out stands for it.
    hangs = printer["paper_out"] or printer["cover_open"]
    printer.pop("counters")  # of interest to nobody here, and never still
    printer["papers"] = [paper["number"] for paper in papers]
    yield "dispenser", dispenser
    yield "printer", {**printer, "strip": [_drawn(item) for item in strip] if hangs else []}
    for paper in papers:
        items = [_drawn(item) for item in paper["items"]]
        yield f"paper/{paper['number']}", {**paper, "items": items}
    for window in snapshot["windows"]:
        screen = dict(window["screen"])
        screen.pop("counters")
        screen.pop("updated_at")
        screen["showing"] = read_screen(screen["text"]).showing
        yield f"window/{window['window']}", {**window, "screen": screen}


def _drawn(item: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same, a QR code with a picture of itself."""
    if item["kind"] != "qr":
        return item
    return {**item, "svg": _qr_picture(item["text"], item["level"])}


_QR_MASK = 3


@lru_cache(maxsize=256)
def _qr_picture(text: str, level: str) -> str | None:
    """A ``data:`` URL; ``None`` for a text that no QR code can hold."""
    try:
        # Readers take any mask; to weigh all eight would keep the devices waiting.
        code = segno.make_qr(text, error=level, boost_error=False, mask=_QR_MASK)
    except segno.DataOverflowError:
        return None
    return code.svg_data_uri(border=1, dark="#26221d", omitsize=True)


class Browser:
    """One browser: shows the board, and carries its fingers to the keys."""

    _REFUSED_TOO_FAST: ClassVar[str] = "too many actions a second"

    def __init__(
        self,
        hall: VirtualHall,
        board: Board,
        socket: web.WebSocketResponse,
        counters: Counter[str],
        look_again: Callable[[], None],
    ) -> None:
        self._hall = hall
        self._board = board
        self._socket = socket
        self._counters = counters
        self._look_again = look_again
        self._changed = asyncio.Event()
        self._looking = asyncio.Event()
        self._looking.set()
        self._touched = asyncio.Event()
        self._touched_at = float("-inf")
        self._sent: dict[str, int] = {}
        self._down: dict[tuple[str, str], float] = {}
        """Keys that a finger of this browser is on, since when."""
        self._tokens = ACTIONS_PER_SECOND
        self._tokens_at = asyncio.get_running_loop().time()

    @property
    def looking(self) -> bool:
        """Its tab is not hidden."""
        return self._looking.is_set()

    def board_changed(self) -> None:
        self._changed.set()

    async def close(self) -> None:
        await self._socket.close()

    async def serve(self) -> None:
        """Until the browser has gone."""
        sending = in_background(self._send_changes(), "sending to a browser")
        try:
            async for message in self._socket:
                if message.type is WSMsgType.TEXT:
                    await self._take(message.data)
                else:
                    self._counters["messages_malformed"] += 1
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            for at, key in list(self._down):
                self._lift(at, key)

    # --- out --------------------------------------------------------------------------------------

    async def _send_changes(self) -> None:
        while True:
            await self._changed.wait()
            await self._looking.wait()
            self._changed.clear()
            text = self._news()
            if text is not None:
                try:
                    await self._socket.send_str(text)
                except ConnectionError:
                    return  # the reader sees it too, and ends
            await asyncio.sleep(REFRESH_SECONDS)
            if asyncio.get_running_loop().time() - self._touched_at > FINGERS_REST_AFTER_SECONDS:
                self._touched.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(ONLOOKER_REFRESH_SECONDS - REFRESH_SECONDS):
                        await self._touched.wait()

    def _news(self) -> str | None:
        """Sections that this browser has not seen, ``null`` for those that are gone."""
        now = self._board.sections
        news = [
            f"{json.dumps(name)}:{text}"
            for name, (version, text) in now.items()
            if self._sent.get(name) != version
        ]
        news += [f"{json.dumps(name)}:null" for name in self._sent if name not in now]
        self._sent = {name: version for name, (version, _) in now.items()}
        return "{" + ",".join(news) + "}" if news else None

    # --- in ---------------------------------------------------------------------------------------

    async def _take(self, text: str) -> None:
        action = _read_action(text)
        if action is None:
            self._counters["messages_malformed"] += 1
            return
        self._counters["actions"] += 1
        if action.get("do") == "look":
            self._look(on=bool(action.get("on")))
            return
        self._touched_at = asyncio.get_running_loop().time()
        self._touched.set()
        # A finger that goes up is never too fast: its key would stay down.
        if action.get("do") != "release" and not self._has_token():
            await self._refuse(self._REFUSED_TOO_FAST)
            return
        try:
            self._perform(action)
        except BadAction as error:
            await self._refuse(str(error))

    async def _refuse(self, why: str) -> None:
        self._counters["actions_refused"] += 1
        with suppress(ConnectionError):
            await self._socket.send_str(json.dumps({"refused": why[:300]}, ensure_ascii=False))

    def _look(self, *, on: bool) -> None:
        """Its tab came to the front, or is hidden: then it needs nothing."""
        if on:
            self._looking.set()
            self._look_again()
        else:
            self._looking.clear()

    def _has_token(self) -> bool:
        now = asyncio.get_running_loop().time()
        grown = self._tokens + (now - self._tokens_at) * ACTIONS_PER_SECOND
        self._tokens, self._tokens_at = min(ACTIONS_PER_SECOND, grown), now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _perform(self, action: Mapping[str, Any]) -> None:
        """Raises ``BadAction``."""
        key = (str(action.get("at")), str(action.get("key")))
        if action.get("do") == "hold":
            if key not in self._down:
                self._hall.perform(action)
                self._down[key] = asyncio.get_running_loop().time()
        elif action.get("do") == "release":
            if key in self._down:
                self._lift(*key)
        else:
            self._hall.perform(action)

    def _lift(self, at: str, key: str) -> None:
        """The finger goes up, once a finger's shortest touch is over; also when the hall closes."""
        loop = asyncio.get_running_loop()
        since = self._down.pop((at, key))
        release = self._hall.fittings.panels[at].release
        loop.call_at(max(loop.time(), since + SHORTEST_TOUCH_SECONDS), release, key)


def _read_action(text: str) -> dict[str, Any] | None:
    """A flat JSON object of a few plain values; ``None`` for everything else."""
    try:
        action = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(action, dict) or len(action) > MAX_MEMBERS:
        return None
    if not all(isinstance(value, str | int | float | bool) for value in action.values()):
        return None
    return action


def _host_name(host: str) -> str | None:
    """``localhost`` of ``localhost:8080``; ``None`` for what is no host at all."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None
