"""One connection to an MQTT broker, for the edge and for the centre alike.

A thin adapter of paho-mqtt's public interface to asyncio. paho is driven from the event loop:
we watch its socket, paho reads and writes packets. What we rely on, and why:

- A new paho client per connection. A re-used one sends again what it thinks is in flight.
- Nothing is published before CONNACK: paho answers "no connection", and keeps and sends it later.
- At most ``WINDOW`` publishes in flight; ``publish`` returns when the broker has confirmed it.
- MQTT 5 by default, where PUBACK says so when the broker's ACL refused the message. MQTT 3.1.1
  confirms a refused message like any other.
- The socket is read whatever our own reader does: it may itself be waiting for a PUBACK that
  stands behind other messages. Who reads too slowly is sent less all the same: a message is
  confirmed when the reader takes it, and a broker sends ``UNCONFIRMED`` ahead of that.
- mosquitto up to 2.0.11 at least, Debian's, sends more: each confirmation of its oldest message
  sets twenty free (its issue 2301). What it would keep for us waits here then, within the same
  bounds, and what is beyond them is dropped here as it would be there.

A PUBACK is not delivery to anybody: a broker that dies loses what it has confirmed.
"""

import asyncio
import logging
import secrets
import socket
import ssl
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Literal, Protocol, TypeVar

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

_UNSPECIFIED = 0x80
"""The reason code of a connection that just broke: it says nothing. MQTT 5.0, section 2.4."""

_T = TypeVar("_T")

WINDOW = 20
"""Publishes in flight at once: mosquitto's own default of ``max_inflight_messages``."""
UNCONFIRMED = 20
"""Messages that wait for our reader while the broker holds back more: MQTT 5's receive maximum.
MQTT 3.1.1 leaves it to the broker: mosquitto's ``max_inflight_messages``, 20 too."""
INBOX = 10_000
"""Unread messages beyond which more are dropped: ``max_queued_messages`` of our broker."""
INBOX_BYTES = 64 * 1024 * 1024
"""Likewise, in bytes of payload: ``max_queued_bytes``."""
BROKER_PACKET_BYTES = 1024 * 1024
"""The largest MQTT packet that our broker takes. Backlog batches stay below it."""
MAX_PACKET_BYTES = BROKER_PACKET_BYTES + 128 * 1024
"""The largest that is taken here. A broker passes a packet on longer than it came: by the topic
that was an alias, and by properties (each up to 64 KiB). One that is retained and could not be
taken would end each new session."""
READS_AT_ONCE = 100
"""Packets, before others have their turn at the event loop."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TlsConfig:
    """Files in PEM. Without ``cert_file`` the client has no certificate of its own."""

    ca_file: Path
    cert_file: Path | None = None
    key_file: Path | None = None


@dataclass(frozen=True)
class MqttConfig:
    """Where the broker is and who we are. The password is never part of a repr."""

    host: str
    port: int
    client_id: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: TlsConfig | None = None
    protocol: Literal[5, 311] = 5
    keepalive_seconds: int = 15
    """A dead connection is noticed after at most twice this time."""
    timeout_seconds: float = 10.0
    """For the connection, and for every answer of the broker."""


@dataclass(frozen=True)
class Message:
    topic: str
    payload: bytes
    retain: bool
    """Kept by the broker from before our subscription."""


@dataclass(frozen=True)
class Will:
    """What the broker publishes, at least once and retained, when this session ends without a
    goodbye."""

    topic: str
    payload: bytes


class SessionLost(Exception):
    """There is no connection (any more). Make a new session."""


class ConnectRefused(SessionLost):
    """The broker is there and won't have us: ``code`` is MQTT 5's reason for it (table 3-1)."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text, code)  # all of it, so that it can be raised anew
        self.text = text
        self.code = code

    def __str__(self) -> str:
        return self.text


class BrokerUnreachable(SessionLost):
    """Nobody answers there, or not in MQTT."""


class PublishRefused(Exception):
    """The broker refused this message (ACL, size); the session lives on. MQTT 5 only for the ACL.

    ``topic`` and ``reason`` say what and why.
    """

    def __init__(self, topic: str, reason: str) -> None:
        super().__init__(f"{topic}: {reason}")
        self.topic = topic
        self.reason = reason


class SubscribeRefused(Exception):
    """The broker refused a subscription; the session lives on."""


class Session(Protocol):
    """One connection. It is born connected and dies with its connection."""

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish with QoS 1 and return when the broker has confirmed it.

        May be called ``WINDOW`` times at once, more wait their turn. Messages leave in the order
        of the calls. Raises ``SessionLost`` (it may have arrived or not) or ``PublishRefused``.
        """
        ...

    async def subscribe(self, *filters: str) -> None:
        """Subscribe with QoS 1. Raises ``SessionLost`` or ``SubscribeRefused``."""
        ...

    def messages(self) -> AsyncIterator[Message]:
        """What arrives, in order, for one reader. Ends by raising ``SessionLost``."""
        ...


def new_client_id(name: str) -> str:
    """``name`` and 64 random bits, for the length of a process.

    A broker ends the session of whoever has the client id that another one brings, and ids are
    not bound to users: one that can be guessed is an off switch for every user of the broker. It
    stays the same over reconnections, so that they replace a session whose line has died.
    """
    return f"{name}-{secrets.token_hex(8)}"


class Backoff:
    """How long to wait before the next attempt: 0.5 s doubling to 30 s, each ± jitter."""

    def __init__(self, random: Random, first: float = 0.5, ceiling: float = 30.0) -> None:
        self._random = random
        self._first = first
        self._ceiling = ceiling
        self._next = first

    def next_delay(self) -> float:
        """Seconds to wait now; between half of the step and the step, so that halls that lost
        the same broker do not come back in the same instant."""
        step = self._next
        self._next = min(self._ceiling, step * 2)
        return step * (0.5 + 0.5 * self._random.random())

    def reset(self) -> None:
        """It worked: begin anew at the next failure."""
        self._next = self._first


def connect(config: MqttConfig, will: Will | None = None) -> AbstractAsyncContextManager[Session]:
    """A session for the length of an ``async with``.

    Leaving normally says goodbye to the broker. Leaving by an exception drops the connection, and
    the will speaks for us. Entering raises ``SessionLost``: ``BrokerUnreachable`` or
    ``ConnectRefused``, as a rule.
    """
    return _connected(config, will)


@asynccontextmanager
async def _connected(config: MqttConfig, will: Will | None) -> AsyncIterator[Session]:
    client = _new_client(config, will)
    try:
        # Name look-up, TCP and TLS handshakes block, so they have a thread.
        await _in_a_thread_that_nobody_waits_for(partial(_dial, client, config))
    except (OSError, ValueError) as error:  # ValueError: a host name that is none
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise BrokerUnreachable(
            f"no connection to the broker at {config.host}:{config.port}: {why}"
        ) from error
    session = _PahoSession(client, config)
    try:
        await session.wait_for_connack()
        yield session
    except BaseException:
        session.drop()
        raise
    await session.say_goodbye()


def _new_client(config: MqttConfig, will: Will | None) -> Client:
    v5 = config.protocol == 5
    client = Client(
        CallbackAPIVersion.VERSION2,
        client_id=config.client_id,
        protocol=MQTTProtocolVersion.MQTTv5 if v5 else MQTTProtocolVersion.MQTTv311,
        clean_session=None if v5 else True,
        reconnect_on_failure=False,
        manual_ack=True,
    )
    client.connect_timeout = config.timeout_seconds
    if config.username is not None:
        client.username_pw_set(config.username, config.password)
    if will is not None:
        client.will_set(will.topic, will.payload, qos=1, retain=True)
    return client


def _dial(client: Client, config: MqttConfig) -> None:
    context = None if config.tls is None else _TlsContext.of(config.tls)
    if context is not None:
        client.tls_set_context(context)
    try:
        if config.protocol == 5:
            limits = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            limits.ReceiveMaximum = UNCONFIRMED
            limits.MaximumPacketSize = MAX_PACKET_BYTES
            client.connect(
                config.host,
                config.port,
                config.keepalive_seconds,
                clean_start=True,
                properties=limits,
            )
        else:
            client.connect(config.host, config.port, config.keepalive_seconds)
    except BaseException:
        if context is not None and context.made is not None:
            context.made.close()
        raise


async def _in_a_thread_that_nobody_waits_for(work: Callable[[], None]) -> None:
    """As ``asyncio.to_thread``, whose threads the end of the program waits for: a name server that
    does not answer must not hold up a stop."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def settle(error: BaseException | None) -> None:
        if done.done():  # who waited has gone
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    def run() -> None:
        failed: BaseException | None = None
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            failed = error
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, failed)

    threading.Thread(target=run, name="dial", daemon=True).start()
    await done


class _TlsContext(ssl.SSLContext):
    """Checks the broker's certificate and name. Remembers the socket that it made, because paho
    leaves it open when the handshake fails."""

    made: ssl.SSLSocket | None = None

    @classmethod
    def of(cls, files: TlsConfig) -> "_TlsContext":
        context = cls(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_verify_locations(files.ca_file)
        if files.cert_file is not None:
            context.load_cert_chain(files.cert_file, files.key_file)
        return context

    def wrap_socket(self, *arguments: Any, **options: Any) -> ssl.SSLSocket:
        self.made = super().wrap_socket(*arguments, **options)
        return self.made


class _PahoSession:
    """A paho client whose socket is watched by the event loop. Lives on the loop's thread only."""

    def __init__(self, client: Client, config: MqttConfig) -> None:
        self._client = client
        self._broker = f"the broker at {config.host}:{config.port}"
        self._user = f"user {config.username}" if config.username else "a login without a user"
        self._timeout = config.timeout_seconds
        self._protocol = config.protocol
        self._loop = asyncio.get_running_loop()
        self._lost: SessionLost | None = None
        self._over = asyncio.Event()
        self._connack: asyncio.Future[None] = self._loop.create_future()
        self._unconfirmed: dict[int, asyncio.Future[ReasonCode]] = {}
        self._subscribing: dict[int, asyncio.Future[list[ReasonCode]]] = {}
        self._window = asyncio.Semaphore(WINDOW)
        self._largest_packet = 0  # 0: no limit
        self._inbox: deque[tuple[Message, int]] = deque()
        """Each with the packet id to confirm it by; 0 for one of QoS 0."""
        self._inbox_bytes = 0
        self._dropped = 0
        self._arrival: asyncio.Future[None] | None = None
        self._reading = False
        self._writing = False
        self._packets = 0  # that called us back, to see whether there may be more to read
        self._timer: asyncio.TimerHandle | None = None

        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_socket_close = self._on_socket_close
        sock = client.socket()
        if not isinstance(sock, socket.socket):  # it broke while CONNECT was written
            self._lose(SessionLost(f"the connection to {self._broker} broke before it was used"))
            return
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self._watch_reads()
        self._watch_writes()
        self._tick()

    # --- for the one who uses it ------------------------------------------------------------

    async def wait_for_connack(self) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                await self._connack
        except TimeoutError:
            raise BrokerUnreachable(f"{self._broker} did not answer CONNECT") from None

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        async with self._window:
            self._raise_if_lost()
            # 12: fixed header, packet id, property length and topic length at their longest
            if 0 < self._largest_packet < len(payload) + len(topic.encode()) + 12:
                raise PublishRefused(topic, f"larger than {self._largest_packet} bytes")
            info = self._client.publish(topic, payload, qos=1, retain=retain)
            if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
                self._lose(SessionLost(f"could not publish: {info.rc.name}"))
                self._raise_if_lost()
            self._watch_writes()
            reason = await self._answer(self._unconfirmed, info.mid, "PUBACK")
        if reason.is_failure:
            raise PublishRefused(topic, str(reason))

    async def subscribe(self, *filters: str) -> None:
        self._raise_if_lost()
        result, mid = self._client.subscribe([(each, 1) for each in filters])
        if result != MQTTErrorCode.MQTT_ERR_SUCCESS or mid is None:
            self._lose(SessionLost(f"could not subscribe: {result.name}"))
            self._raise_if_lost()
            return
        self._watch_writes()
        reasons = await self._answer(self._subscribing, mid, "SUBACK")
        if len(reasons) != len(filters):
            self._lose(SessionLost(f"{self._broker} answered {len(filters)} wishes by {reasons}"))
            self._raise_if_lost()
        refused = [
            f"{each}: {reason}"
            for each, reason in zip(filters, reasons, strict=True)
            if reason.is_failure
        ]
        if refused:
            raise SubscribeRefused("; ".join(refused))

    async def messages(self) -> AsyncIterator[Message]:
        while True:
            while self._inbox:
                message, mid = self._inbox.popleft()
                self._inbox_bytes -= len(message.payload)
                if mid and self._lost is None:
                    self._client.ack(mid, qos=1)
                    self._watch_writes()
                yield message
            self._raise_if_lost()
            self._arrival = self._loop.create_future()
            try:
                await self._arrival
            finally:
                self._arrival = None

    async def say_goodbye(self) -> None:
        """DISCONNECT, so that the broker does not publish the will."""
        if self._lost is not None:
            return
        self._client.disconnect()
        self._watch_writes()
        with suppress(TimeoutError):
            async with asyncio.timeout(1.0):  # for what is still unsent before it
                await self._over.wait()
        self.drop()

    def drop(self) -> None:
        """Close without a goodbye."""
        self._lose(SessionLost("dropped by ourselves"))
        self._close()

    # --- answers ----------------------------------------------------------------------------

    async def _answer(self, pending: dict[int, asyncio.Future[_T]], mid: int, what: str) -> _T:
        """The broker's answer to packet ``mid``; a broker that stays silent is given up."""
        # The answer can't have come yet: paho reads only in our socket callback.
        future: asyncio.Future[_T] = self._loop.create_future()
        pending[mid] = future
        try:
            async with asyncio.timeout(self._timeout):
                return await future
        except TimeoutError:
            self._lose(SessionLost(f"{self._broker} did not answer with {what}"))
            self._raise_if_lost()
            raise
        finally:
            pending.pop(mid, None)

    def _raise_if_lost(self) -> None:
        if self._lost is not None:
            raise type(self._lost)(*self._lost.args)

    def _lose(self, reason: SessionLost) -> None:
        """The end of this session: everybody who waits for something of it is told."""
        if self._lost is not None:
            return
        self._lost = reason
        self._over.set()
        if self._timer is not None:
            self._timer.cancel()
        waiters: list[asyncio.Future[Any]] = [self._connack]
        waiters += [*self._unconfirmed.values(), *self._subscribing.values()]
        for waiting in waiters:
            if not waiting.done():
                waiting.set_exception(reason)
                waiting.exception()  # seen; whoever awaits it gets it all the same
        self._wake_reader()
        # Later, because paho may have called us, and it can't be called back from there.
        self._loop.call_soon(self._close)

    def _close(self) -> None:
        """paho closes and forgets a socket when it reads the end of the stream."""
        sock = self._client.socket()
        if isinstance(sock, socket.socket):
            self._stop_watching(sock)
            with suppress(OSError):  # not connected any more: the read finds out the same
                sock.shutdown(socket.SHUT_RDWR)
            while self._client.socket() is not None:
                try:
                    self._client.loop_read()
                except Exception:  # noqa: BLE001 - nobody wants to know what else was in there
                    sock.close()  # paho would choke on the same packet for ever
                    break

    def _wake_reader(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    # --- the socket -------------------------------------------------------------------------

    def _watch_reads(self) -> None:
        if not self._reading and self._lost is None:
            self._loop.add_reader(self._sock, self._on_readable)
            self._reading = True

    def _watch_writes(self) -> None:
        if self._lost is None and self._client.want_write() != self._writing:
            self._writing = not self._writing
            if self._writing:
                self._loop.add_writer(self._sock, self._on_writable)
            else:
                self._loop.remove_writer(self._sock)

    def _stop_watching(self, sock: socket.socket) -> None:
        if self._reading:
            self._loop.remove_reader(sock)
        if self._writing:
            self._loop.remove_writer(sock)
        self._reading = self._writing = False

    def _on_readable(self) -> None:
        try:
            for _ in range(READS_AT_ONCE):
                if self._lost is not None:
                    return
                before = self._packets
                self._client.loop_read()
                if self._announced_bytes() > MAX_PACKET_BYTES:
                    raise ValueError(f"a packet of {self._announced_bytes()} bytes")
                sock = self._client.socket()
                decrypted = isinstance(sock, ssl.SSLSocket) and sock.pending() > 0
                if self._packets == before and not decrypted:
                    break
            else:  # TLS may hold bytes that the socket no longer tells of
                self._loop.call_soon(self._on_readable)
        except Exception as error:  # noqa: BLE001 - what paho chokes on ends the session, loudly
            self._lose(SessionLost(f"could not read what {self._broker} sent: {error!r}"))
        self._watch_writes()

    def _announced_bytes(self) -> int:
        """Of the packet that is being read. paho would gather 256 MB; whoever speaks MQTT 3.1.1
        can't be told that we don't, and not everybody heeds it."""
        packet: dict[str, int] = getattr(self._client, "_in_packet", {})
        return packet.get("remaining_length", 0)

    def _on_writable(self) -> None:
        self._client.loop_write()
        self._watch_writes()

    def _tick(self) -> None:
        """paho sends its pings and notices a silent broker here."""
        if self._lost is None:
            self._client.loop_misc()
            self._watch_writes()
            self._timer = self._loop.call_later(1.0, self._tick)

    # --- paho calls back --------------------------------------------------------------------

    def _on_connect(
        self, _client: Client, _data: Any, _flags: ConnectFlags, reason: ReasonCode,
        properties: Properties | None,
    ) -> None:  # fmt: skip
        self._packets += 1
        if reason.is_failure:
            text = f"{self._broker} refused {self._user}: {reason}"
            self._lose(ConnectRefused(text, reason.value))
        elif not self._connack.done():
            # MQTT 3.1.1 has no word for it, and the broker ends the connection of who sends more.
            untold = 0 if self._protocol == 5 else BROKER_PACKET_BYTES
            self._largest_packet = getattr(properties, "MaximumPacketSize", untold)
            self._connack.set_result(None)

    def _on_disconnect(
        self, _client: Client, _data: Any, flags: DisconnectFlags, reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:  # fmt: skip
        how = "ended the connection" if flags.is_disconnect_packet_from_server else "is gone"
        why = "" if reason.value == _UNSPECIFIED else f": {reason}"
        self._lose(SessionLost(f"{self._broker} {how}{why}"))

    def _on_publish(
        self, _client: Client, _data: Any, mid: int, reason: ReasonCode, _properties: Properties
    ) -> None:
        self._packets += 1
        future = self._unconfirmed.get(mid)
        if future is not None and not future.done():
            future.set_result(reason)

    def _on_subscribe(
        self, _client: Client, _data: Any, mid: int, reasons: list[ReasonCode],
        _properties: Properties | None,
    ) -> None:  # fmt: skip
        self._packets += 1
        future = self._subscribing.get(mid)
        if future is not None and not future.done():
            future.set_result(reasons)

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        self._packets += 1
        size = len(message.payload)
        if len(self._inbox) >= INBOX or self._inbox_bytes + size > INBOX_BYTES:
            self._drop_message(message)
        else:
            received = Message(message.topic, bytes(message.payload), message.retain)
            self._inbox.append((received, message.mid if message.qos else 0))
            self._inbox_bytes += size
            self._wake_reader()

    def _drop_message(self, message: MQTTMessage) -> None:
        """Said at 1, 2, 4, 8 …"""
        self._client.ack(message.mid, message.qos)
        self._dropped += 1
        if self._dropped & (self._dropped - 1) == 0:
            log.error(
                "messages faster than they could be taken, dropped so far: %d, now of %.100s",
                *(self._dropped, message.topic),
            )

    def _on_socket_close(self, _client: Client, _data: Any, sock: Any) -> None:
        self._stop_watching(sock)
