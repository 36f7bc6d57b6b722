"""The centre's page, its files, and ``/healthz``.

The page holds no data: it is fed over MQTT by WebSocket, straight from the broker, as a user who
may only read. Whoever can open it is told that user's password, hence no other site may reach it
through somebody's browser: ``Host`` must be an address, a name of this machine, or one of
``PageSettings.names`` (DNS rebinding comes with a name of its own).
"""

import errno
import ipaddress
import logging
import os
import re
import socket
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from importlib import resources
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from contract import topics

_HOST = re.compile(r"^[A-Za-z0-9.:-]{1,255}$")


@dataclass(frozen=True)
class PageSettings:
    """What the page needs to find its data."""

    websocket_port: int
    websocket_url: str | None
    username: str
    password: str = field(repr=False)
    names: tuple[str, ...] = ()
    """Names that people find the page at, beside those of this machine."""
    framed_by: tuple[str, ...] = ()
    """Origins whose pages may show this one in a frame, beside its own."""


@dataclass(frozen=True)
class ServiceHealth:
    """How the service is."""

    connected: bool
    """To the broker. Without it nothing comes in; nothing is lost either."""
    events: int
    dead_letters: int
    counters: dict[str, int]


class CannotListen(Exception):
    """The page has no address: the message says why, and which key of the configuration it is."""

    def __init__(self, host: str, port: int, error: OSError) -> None:
        if error.errno == errno.EADDRINUSE:
            what = "another program listens there. Stop it, or set another port"
        elif error.errno in (errno.EACCES, errno.EPERM):
            what = "this user may not listen there. Set a port from 1024 on"
        else:
            number = error.errno or 0  # below 0 where the host's name is not known
            why = os.strerror(number) if number > 0 else str(error.strerror)
            what = f"{why}. Set an address of this machine, or a free port"
        super().__init__(
            f"the page can't be served at {host}:{port}: {what} (keys host and port in [page] of "
            "the configuration)"
        )


@asynccontextmanager
async def serve(
    host: str, port: int, settings: PageSettings, health: Callable[[], Awaitable[ServiceHealth]]
) -> AsyncIterator[None]:
    """The web server for the length of an ``async with``. Raises ``CannotListen``."""
    application = _application(settings, health)
    runner = web.AppRunner(application, access_log=None, logger=_quiet_about_bad_requests())
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise CannotListen(host, port, error) from error
        yield
    finally:
        await runner.cleanup()


def _application(
    settings: PageSettings, health: Callable[[], Awaitable[ServiceHealth]]
) -> web.Application:
    static = Path(str(resources.files("cloud_sync") / "static"))

    async def page(_: web.Request) -> web.StreamResponse:
        return web.FileResponse(static / "index.html")

    async def configuration(request: web.Request) -> web.Response:
        return web.json_response(
            {
                "websocketUrl": _websocket_url(request, settings),
                "username": settings.username,
                "password": settings.password,
                "topics": {"halls": topics.LIVE_OF_ALL, "network": topics.NETWORK},
            }
        )

    async def healthz(_: web.Request) -> web.Response:
        try:
            state = await health()
        except sqlite3.Error as error:
            return web.json_response({"database": str(error)}, status=503)
        return web.json_response(asdict(state), status=200 if state.connected else 503)

    async def protect(request: web.Request, response: web.StreamResponse) -> None:
        broker = urlsplit(_websocket_url(request, settings))
        response.headers["Content-Security-Policy"] = (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
            f"connect-src 'self' {broker.scheme}://{broker.netloc}; "
            "base-uri 'none'; form-action 'none'; "
            f"frame-ancestors 'self' {' '.join(settings.framed_by)}"
        )
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Cache-Control"] = "no-cache"

    known_names = _NAMES_OF_THIS_MACHINE | {socket.gethostname().lower(), *settings.names}

    @web.middleware
    async def known_host(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        name = (request.url.host or "").lower()
        if request.path != "/healthz" and not (_is_address(name) or name in known_names):
            raise web.HTTPForbidden(
                text=f"This page is not known as {_host(request)}. If it should be, add that to "
                "the key names in [page] of the centre's configuration.\n"
            )
        return await handler(request)

    application = web.Application(middlewares=[known_host])
    application.router.add_get("/", page)
    application.router.add_get("/config.json", configuration)
    application.router.add_get("/healthz", healthz)
    application.router.add_static("/static", static)
    application.on_response_prepare.append(protect)
    return application


_NAMES_OF_THIS_MACHINE = frozenset({"localhost"})


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _quiet_about_bad_requests() -> logging.Logger:
    """Where aiohttp tells of errors. What a stranger sends is none: it is answered with 400, and
    must not fill the log with tracebacks."""
    logger = logging.getLogger(f"{__name__}.server")
    logger.addFilter(_is_our_error)
    return logger


def _is_our_error(record: logging.LogRecord) -> bool:
    return record.exc_info is None or not isinstance(record.exc_info[1], HttpProcessingError)


def _host(request: web.Request) -> str:
    """The host that the browser found us at, as it stands in an address."""
    host = request.url.host or ""
    if not _HOST.match(host):  # it goes into headers
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _websocket_url(request: web.Request, settings: PageSettings) -> str:
    """Where this browser finds the broker: at the host that it found the page at."""
    if settings.websocket_url is not None:
        return settings.websocket_url
    return f"ws://{_host(request)}:{settings.websocket_port}/mqtt"
