"""The virtual hall's page server: who may look, who may press, and what comes over the wire."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from simulator import layout, web
from simulator.hall import HallOptions, VirtualHall
from simulator.web import serve_pages

WAIT_SECONDS = 10.0


@pytest.fixture
async def hall(tmp_path: Path) -> AsyncIterator[VirtualHall]:
    """Its devices on their wires; no program runs."""
    hall = VirtualHall(HallOptions(windows=2, directory=tmp_path))
    await hall.fittings.start()
    yield hall
    await hall.stop()


@pytest.fixture
async def address(hall: VirtualHall) -> AsyncIterator[URL]:
    async with serve_pages(hall, 0) as address:
        yield URL(address)


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


class Looker:
    """A browser without a face: keeps the sections that it was told."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.seen: dict[str, Any] = {}
        self.refused: list[str] = []

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            while not condition():
                news = json.loads(await self.socket.receive_str())
                if isinstance(news.get("refused"), str):
                    self.refused.append(news["refused"])
                    continue
                for name, content in news.items():
                    if content is None:
                        del self.seen[name]
                    else:
                        self.seen[name] = content

    async def do(self, **action: Any) -> None:
        await self.socket.send_json(action)

    def down(self, window: int, key: str) -> bool:
        keys = self.seen[f"window/{window}"]["caller"]["keys"]
        return next(bool(state["down"]) for state in keys if state["key"] == key)


async def look(client: aiohttp.ClientSession, address: URL) -> Looker:
    """A browser that has opened the page."""
    looker = Looker(await client.ws_connect(address / "live", origin=str(address.origin())))
    await looker.until(lambda: bool(looker.seen))
    return looker


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "http://127.0.0.1:1", "https://127.0.0.1", "file://", None],
)
async def test_another_site_cannot_press_buttons(
    client: aiohttp.ClientSession, address: URL, origin: str | None
) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await client.ws_connect(address / "live", origin=origin)
    assert refused.value.status == 403


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "["])
async def test_a_rebound_name_sees_nothing(
    client: aiohttp.ClientSession, address: URL, host: str
) -> None:
    for path in ("", "static/hall.js"):
        async with client.get(address / path, headers={"Host": host}) as response:
            assert response.status == 403
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await client.ws_connect(address / "live", headers={"Host": host}, origin=f"http://{host}")
    assert refused.value.status == 403


async def test_the_page_may_load_nothing_foreign_and_be_framed_by_nobody(
    client: aiohttp.ClientSession, address: URL, hall: VirtualHall
) -> None:
    async with client.get(address) as response:
        policy = response.headers["Content-Security-Policy"]
        text = await response.text()
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert f"frame-src {hall.centre_url};" in policy
    assert "unsafe" not in policy
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in text


async def test_files_beside_the_static_ones_stay_where_they_are(
    client: aiohttp.ClientSession, address: URL
) -> None:
    for path in ("/static/../web.py", "/static/%2e%2e/web.py", "/static/", "/web.py"):
        url = URL(str(address.origin()) + path, encoded=True)
        async with client.get(url) as response:
            assert response.status in {403, 404}, path


async def test_a_browser_sees_everything_once_and_then_what_changed(
    client: aiohttp.ClientSession, address: URL, hall: VirtualHall
) -> None:
    looker = await look(client, address)
    assert {"hall", "dispenser", "printer", "people", "faults", "window/1", "window/2"} <= set(
        looker.seen
    )
    hall.perform({"do": "paper_out", "on": True})
    news: dict[str, Any] = {}
    async with asyncio.timeout(WAIT_SECONDS):
        while "faults" not in news:
            news = json.loads(await looker.socket.receive_str())
    assert news["faults"]["paper_out"] is True
    assert "window/1" not in news
    await looker.socket.close()


async def test_a_key_is_down_as_long_as_the_finger_and_never_shorter_than_a_touch(
    client: aiohttp.ClientSession, address: URL, hall: VirtualHall
) -> None:
    looker = await look(client, address)
    panel = hall.fittings.caller(1)
    presses: list[tuple[str, float]] = []
    panel.on_press(lambda _, key, at: presses.append((key, at)))
    await looker.do(do="hold", at="caller-1", key="recall")
    await looker.until(lambda: looker.down(1, "recall"))
    await looker.do(do="hold", at="caller-1", key="recall")  # one finger, one press
    await looker.do(do="release", at="caller-1", key="recall")
    await looker.until(lambda: not looker.down(1, "recall"))
    assert [key for key, _ in presses] == ["recall"]
    held_for = asyncio.get_running_loop().time() - presses[0][1]
    assert held_for >= web.SHORTEST_TOUCH_SECONDS
    await looker.socket.close()


async def test_keys_come_up_when_the_browser_goes(
    client: aiohttp.ClientSession, address: URL
) -> None:
    leaving, staying = await look(client, address), await look(client, address)
    await leaving.do(do="hold", at="caller-2", key="start")
    await staying.until(lambda: staying.down(2, "start"))
    await leaving.socket.close()
    await staying.until(lambda: not staying.down(2, "start"))
    await staying.socket.close()


async def test_one_browser_cannot_lift_the_finger_of_another(
    client: aiohttp.ClientSession, address: URL
) -> None:
    one, other = await look(client, address), await look(client, address)
    await one.do(do="hold", at="caller-1", key="pause")
    await other.until(lambda: other.down(1, "pause"))
    await other.do(do="release", at="caller-1", key="pause")
    await other.do(do="paper_low", on=True)
    await other.until(lambda: bool(other.seen["faults"]["paper_low"]))
    assert other.down(1, "pause")
    await one.socket.close()
    await other.socket.close()


HOSTILE = [
    "",
    "x",
    "[]",
    "null",
    "1e999",
    '{"do": null}',
    '{"do": ["press"]}',
    '{"do": "press", "at": {"a": 1}, "key": "start"}',
    "[" * 1500,
    json.dumps({str(n): n for n in range(50)}),
]
UNKNOWN = [
    {},
    {"do": "format_disk"},
    {"do": "press"},
    {"do": "hold", "at": "caller-9", "key": "start"},
    {"do": "hold", "at": "caller-1", "key": "self_destruct"},
    {"do": "speed", "value": float("nan")},
    {"do": "speed", "value": 1e9},
    {"do": "speed", "value": True},
    {"do": "kill", "program": "init"},
    {"do": "unplug", "cable": "../../etc", "on": True},
    {"do": "network_down", "minutes": -1},
    {"do": "paper_out", "on": "yes"},
]


async def test_nonsense_is_ignored_and_what_cannot_be_done_is_answered(
    client: aiohttp.ClientSession, address: URL
) -> None:
    looker = await look(client, address)
    for text in HOSTILE:
        await looker.socket.send_str(text)
    await looker.socket.send_bytes(b"\x00\xff")
    for action in UNKNOWN:
        await looker.socket.send_str(json.dumps(action))
    await looker.until(lambda: len(looker.refused) == len(UNKNOWN))
    await looker.do(do="paper_out", on=True)
    await looker.until(lambda: bool(looker.seen["faults"]["paper_out"]))
    await looker.socket.close()


async def test_a_flood_is_refused_and_the_rest_goes_on(
    client: aiohttp.ClientSession, address: URL
) -> None:
    looker = await look(client, address)
    for _ in range(400):
        await looker.do(do="paper_low", on=True)
    await looker.until(lambda: "too many actions a second" in looker.refused)
    other = await look(client, address)
    await other.do(do="paper_out", on=True)
    await other.until(lambda: bool(other.seen["faults"]["paper_out"]))
    await looker.socket.close()
    await other.socket.close()


async def test_a_hidden_page_is_told_nothing_until_it_is_looked_at_again(
    client: aiohttp.ClientSession, address: URL
) -> None:
    hidden = await look(client, address)
    onlooker = await look(client, address)
    await hidden.do(do="look", on=False)
    await hidden.do(do="no such thing")
    await hidden.until(lambda: bool(hidden.refused))
    for on in (True, False) * 3 + (True,):
        await onlooker.do(do="paper_low", on=on)
        await onlooker.until(lambda on=on: onlooker.seen["faults"]["paper_low"] is on)  # type: ignore[misc]
    # A hidden page can still act, and hears of nothing but a refusal.
    await hidden.do(do="no such thing either")
    news = json.loads(await hidden.socket.receive_str())
    assert "no such thing either" in news["refused"]
    await hidden.do(do="look", on=True)
    await hidden.until(lambda: bool(hidden.seen["faults"]["paper_low"]))
    await hidden.socket.close()
    await onlooker.socket.close()


async def test_a_half_ticket_is_told_of_only_while_it_hangs_there(
    client: aiohttp.ClientSession, address: URL, hall: VirtualHall
) -> None:
    looker = await look(client, address)
    await looker.do(do="paper_out", on=True)
    await looker.until(lambda: bool(looker.seen["printer"]["paper_out"]))
    assert looker.seen["printer"]["strip"] == []
    await looker.do(do="paper_out", on=False)
    await looker.until(lambda: not looker.seen["printer"]["paper_out"])
    port = URL(hall.fittings.printer.endpoint.url).port
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"\x1b@half of it\n")
    async with asyncio.timeout(WAIT_SECONDS):
        while not hall.fittings.printer.snapshot()["strip"]:
            await asyncio.sleep(0.01)
    await looker.do(do="paper_low", on=True)
    await looker.until(lambda: bool(looker.seen["printer"]["paper_low"]))
    assert looker.seen["printer"]["strip"] == []
    await looker.do(do="paper_out", on=True)
    await looker.until(lambda: bool(looker.seen["printer"]["strip"]))
    assert looker.seen["printer"]["strip"][0]["text"] == "half of it"
    writer.close()
    await writer.wait_closed()
    await looker.socket.close()


async def test_a_huge_message_ends_its_own_connection_only(
    client: aiohttp.ClientSession, address: URL
) -> None:
    staying = await look(client, address)
    flooding = await look(client, address)
    await flooding.socket.send_str("x" * (web.MAX_MESSAGE_BYTES + 1))
    async with asyncio.timeout(WAIT_SECONDS):
        while (await flooding.socket.receive()).type is aiohttp.WSMsgType.TEXT:
            pass
    assert flooding.socket.close_code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG
    await staying.do(do="paper_out", on=True)
    await staying.until(lambda: bool(staying.seen["faults"]["paper_out"]))
    await staying.socket.close()


async def test_no_more_browsers_than_can_be_served(
    client: aiohttp.ClientSession, address: URL
) -> None:
    lookers = [await look(client, address) for _ in range(web.MAX_BROWSERS)]
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await client.ws_connect(address / "live", origin=str(address.origin()))
    assert refused.value.status == 503
    for looker in lookers:
        await looker.socket.close()


async def test_the_server_ends_with_browsers_still_looking(
    client: aiohttp.ClientSession, hall: VirtualHall
) -> None:
    async with serve_pages(hall, 0) as address:
        looker = await look(client, URL(address))
    async with asyncio.timeout(WAIT_SECONDS):
        while (await looker.socket.receive()).type is aiohttp.WSMsgType.TEXT:
            pass
    assert looker.socket.closed


async def test_paper_is_described_as_it_was_printed(
    client: aiohttp.ClientSession, address: URL, hall: VirtualHall
) -> None:
    looker = await look(client, address)
    job = (
        b"\x1b@\x1ba\x01\x1d!\x33A007\n\x1d!\x00"
        b"\x1d(k\x04\x001A2\x00\x1d(k\x03\x001C\x06\x1d(k\x03\x001E1"
        b"\x1d(k\x0a\x001P0TICKET7\x1d(k\x03\x001Q0\x1dV\x41\x00"
    )
    port = URL(hall.fittings.printer.endpoint.url).port
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(job)
    await looker.until(lambda: "paper/1" in looker.seen)
    writer.close()
    await writer.wait_closed()
    text, code = looker.seen["paper/1"]["items"]
    assert (text["text"], text["height"], text["align"]) == ("A007", 4, "center")
    assert (code["kind"], code["text"]) == ("qr", "TICKET7")
    assert code["svg"].startswith("data:image/svg+xml")
    assert looker.seen["printer"]["papers"] == [1]
    await looker.socket.close()


def test_a_code_too_long_for_any_qr_is_told_as_text() -> None:
    item = {"kind": "qr", "text": "x" * 3000, "level": "H"}
    assert web._drawn(item)["svg"] is None


def test_every_key_that_the_page_names_is_a_key_of_the_hall() -> None:
    """Shortcuts are in the page; keys are in the layout."""
    script = Path(web.__file__).with_name("static") / "windows.js"
    text = script.read_text(encoding="utf-8")
    for key in (*layout.CALLER_KEYS, *layout.EVALUATOR_KEYS):
        assert f"{key}:" in text
