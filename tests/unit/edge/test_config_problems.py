"""Every problem of a hall's file is told at once: where, what, and lines that would be right."""

import copy
import re
import tomllib
from itertools import product
from pathlib import Path
from string import ascii_uppercase
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import model_validator

from edge.config import ConfigInvalid, Problem, load
from edge.config.toml import toml_value
from edge.drivers.config import DeviceConfig
from edge.drivers.registry import Driver, drivers

GOOD = """
[hall]
id = "riverside"
name = { zh = "滨江营业厅", en = "Riverside" }
time_zone = "Asia/Shanghai"

[journal]
path = "/var/lib/nowserving/journal.db"

[rules]
recall_limit = 5

[uplink]
host = "mqtt.example.com"
password_file = "/run/credentials/nowserving-edge.service/mqtt-password"

[services.payment]
name = { zh = "缴费", en = "Payment" }
prefix = "A"
numbers = [1, 499]

[services.enquiry]
name = { zh = "咨询", en = "Enquiry" }
prefix = "A"
numbers = [500, 999]

[windows.1]
skills = ["payment", "enquiry"]
clerk = "1001"

[windows.2]
skills = "all"
clerk = "1002"

[buses.desks]
port = "/dev/serial/by-id/usb-rs485"

[devices.caller-1]
driver = "modbus_io"
role = "caller"
window = 1
bus = "desks"
unit = 1
keys = { call_next = 0, recall = 1, transfer-enquiry = 2 }
lamps = { accepted = 0, refused = 1 }

[devices.evaluator-1]
driver = "modbus_io"
role = "evaluator"
window = 1
bus = "desks"
unit = 11
keys = { satisfied = 0, dissatisfied = 1 }

[devices.buttons]
driver = "gpio"
role = "dispenser"
keys = { payment = 17, enquiry = 27 }
lamps = { ready = 5 }

[devices.far]
driver = "gpio"
role = "caller"
window = 2
pigpio = "192.0.2.9:8888"
keys = { call_next = 17, start = 18 }

[devices.printer]
driver = "escpos"
role = "printer"
port = "socket://127.0.0.1:9100"

[devices.bar-1]
driver = "onbon_bx"
role = "call_screen"
window = 1
port = "socket://127.0.0.1:5005"
"""

Path_ = tuple[str, ...]
LEAVE_OUT = object()


def as_toml(value: dict[str, Any]) -> str:
    """A document of inline tables: not pretty, but it says the same."""
    return "\n".join(f"{toml_value(key)} = {toml_value(each)}" for key, each in value.items())


def problems_of(folder: Path, file: dict[str, Any]) -> list[Problem]:
    path = folder / "hall.toml"
    path.write_text(as_toml(file), encoding="utf-8")
    assert tomllib.loads(path.read_text(encoding="utf-8")) == file
    try:
        load(path)
    except ConfigInvalid as invalid:
        refusal = invalid
    else:
        return []
    assert str(refusal).startswith(f"{path}: {len(refusal.problems)} problem")
    return refusal.problems


def changed(file: dict[str, Any], path: Path_, value: object) -> dict[str, Any]:
    file = copy.deepcopy(file)
    here = file
    for part in path[:-1]:
        here = here.setdefault(part, {})
    if value is LEAVE_OUT:
        del here[path[-1]]
    else:
        here[path[-1]] = value
    return file


def key_path(key: str) -> list[str]:
    """``devices."a b".port`` → its parts."""
    path: list[str] = []
    here: Any = tomllib.loads(f"{key} = 0")
    while isinstance(here, dict):
        ((part, here),) = here.items()
        path.append(part)
    return path


def merge(into: dict[str, Any], tables: dict[str, Any]) -> None:
    for name, value in tables.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict) and value:
            merge(into[name], value)
        else:
            into[name] = value


def pasted(file: dict[str, Any], problem: Problem) -> dict[str, Any]:
    """What a person does with an example: a table goes where its head says, a lone head is the
    other name of the table, a line goes in place of the line that is wrong, a comment instead."""
    file = copy.deepcopy(file)
    right = tomllib.loads(problem.example)
    path = key_path(problem.key)
    if problem.example.startswith("["):
        head = key_path(problem.example.splitlines()[0][1:-1])
        here = file
        for part in path[:-1]:
            here = here[part] if isinstance(here.get(part), dict) else here
        if "\n" not in problem.example:
            here[head[-1]] = here.pop(path[-1])
        elif head == path:
            for part in path[:-1]:
                right = right[part]
            here.update(right)
        else:
            if not isinstance(file.get(path[0]), dict):
                file.pop(path[0], None)
            merge(file, right)
        return file
    if problem.example.startswith("# ["):
        path = key_path(problem.example[3:].removesuffix("]  is left out"))
    names = list(right)
    depth = path.index(names[0]) if names and names[0] in path else len(path) - 1
    here = file
    for part in path[:depth]:
        here = here[part]
    here.pop(path[depth], None)
    here.update(right)
    return file


def assert_examples_are_right(folder: Path, file: dict[str, Any]) -> list[Problem]:
    found = problems_of(folder, file)
    for problem in found:
        assert problem.example, problem
        after = problems_of(folder, pasted(file, problem))
        assert (problem.key, problem.what) not in [(p.key, p.what) for p in after], problem
    return found


def good() -> dict[str, Any]:
    return tomllib.loads(GOOD)


def test_the_good_file_is_good(tmp_path: Path) -> None:
    assert problems_of(tmp_path, good()) == []


WRONG: list[tuple[Path_, object, str, str]] = [
    # path, value, key, words
    (("hall",), LEAVE_OUT, "hall", "is missing"),
    (("hall",), 5, "hall", "must be a table"),
    (("hall", "id"), "River Side", "hall.id", "small letters, digits, - and _"),
    (("hall", "id"), 7, "hall.id", "must be text in quotes"),
    (("hall", "name"), {}, "hall.name", "must not be empty"),
    (("hall", "name"), {"fr": "X"}, "hall.name.fr", "must be 'zh' or 'en'"),
    (("hall", "name", "zh"), "", "hall.name.zh", "must not be empty"),
    (("hall", "name", "zh"), "厅" * 41, "hall.name.zh", "at most 40 characters"),
    (("hall", "time_zone"), "Asia/Shangri-La", "hall.time_zone", "no time zone 'Asia/Shangri-La'"),
    (("hall", "timezone"), "Asia/Shanghai", "hall.timezone", "did you mean time_zone?"),
    (("hall", "colour"), "red", "hall.colour", "unknown key; known here: "),
    (("hall", "day_resets_at"), "soon", "hall.day_resets_at", "a time of day"),
    (("hall", "languages"), [], "hall.languages", "must not be empty"),
    (("hall", "languages"), ["zh", "fr"], "hall.languages.1", "must be 'zh' or 'en'"),
    (("hall", "policy"), "fair", "hall.policy", "must be 'first_come' or 'strict_priority'"),
    (("hall", "ticket_url"), "http://x/{number}", "hall.ticket_url", "knows {hall} and {ticket}"),
    (("hall", "ticket_url"), "http://x/{hall.foo}", "hall.ticket_url", "knows {hall} and {tic"),
    (("hall", "ticket_url"), "http://x/{hall:99999999}", "hall.ticket_url", "knows {hall} and"),
    (("hall", "ticket_url"), "http://x/{hall!r}", "hall.ticket_url", "knows {hall} and {ticket}"),
    (("hall", "ticket_url"), "http://x/{hall[0]}", "hall.ticket_url", "knows {hall} and {tick"),
    (("hall", "ticket_url"), "http://x/{", "hall.ticket_url", "knows {hall} and {ticket}"),
    (("hall", "ticket_url"), "http://x/{}", "hall.ticket_url", "knows {hall} and {ticket}"),
    (("hall", "day_resets_at"), "04:00:59", "hall.day_resets_at", "no seconds"),
    (("hall", "day_resets_at"), "04:00+08:00", "hall.day_resets_at", "no offset"),
    (("journal",), LEAVE_OUT, "journal", "is missing"),
    (("journal", "path"), "", "journal.path", "must name a file"),
    (("journal", "path"), "/usr", "journal.path", "is a folder"),
    (("journal", "path"), "/var/lib/nowserving", "journal.path", "is a folder"),
    (("journal", "path"), "/etc/passwd/j.db", "journal.path", "/etc/passwd is no folder"),
    (("journal", "path"), 7, "journal.path", "must be a path in quotes"),
    (("journal", "path"), "/nowhere/j.db", "journal.path", "there is no folder /nowhere"),
    (("jurnal",), {"path": "/tmp/j.db"}, "jurnal", "did you mean journal?"),
    (("garden",), {"flowers": 3}, "garden", "unknown key; known here: "),
    (("garden",), 3, "garden", "unknown key; known here: "),
    (("rules", "recall_limit"), 51, "rules.recall_limit", "a whole number from 1 to 50"),
    (("rules", "recall_limit"), "five", "rules.recall_limit", "a whole number from 1 to 50"),
    (("rules", "rating_seconds"), 0, "rules.rating_seconds", "a number from 1 to 600"),
    (("uplink", "host"), "", "uplink.host", "a name or an address"),
    (("uplink", "host"), "mqtt://x", "uplink.host", "a name or an address"),
    (("uplink", "host"), "[::1]", "uplink.host", "without spaces, slashes, brackets"),
    (("uplink", "host"), "mqtt.example.com:8883", "uplink.host", "and the port"),
    (("uplink", "password_file"), "", "uplink.password_file", "must name a file"),
    (("uplink", "password_file"), "/usr", "uplink.password_file", "holds no password"),
    (("uplink", "port"), 0, "uplink.port", "from 1 to 65535"),
    (("uplink", "protocol"), 4, "uplink.protocol", "must be 5 or 311"),
    (("uplink", "password_file"), "nofile", "uplink.password_file", "there is no file nofile"),
    (("uplink", "tls"), {"ca_file": "/nowhere/ca"}, "uplink.tls.ca_file", "no file /nowhere/ca"),
    (
        ("uplink", "tls"),
        {"ca_file": "/dev/null", "cert_file": "/dev/null"},
        "uplink.tls.key_file",
        "belong together",
    ),
    (("services",), LEAVE_OUT, "services", "is missing"),
    (("services",), {}, "services", "has no table"),
    (("services",), 3, "services", "must be tables"),
    (("services", "payment"), 3, "services.payment", "must be a table"),
    (("services", "Pay ment"), {"name": {"zh": "x"}, "prefix": "Z"}, 'services."Pay ment"', "name"),
    (("services", "payment", "prefix"), "a1", "services.payment.prefix", "two capital letters"),
    (("services", "payment", "prefix"), LEAVE_OUT, "services.payment.prefix", "is missing"),
    (("services", "payment", "prefixx"), "A", "services.payment.prefixx", "did you mean prefix?"),
    (("services", "payment", "numbers"), [100, 1], "services.payment.numbers", "before they begin"),
    (("services", "payment", "numbers"), [1], "services.payment.numbers", "too few entries"),
    (("services", "payment", "numbers"), [1, 2, 3], "services.payment.numbers", "at most 2"),
    (("services", "payment", "numbers"), [0, 99], "services.payment.numbers.0", "1 to 99999"),
    (("services", "payment", "numbers"), 5, "services.payment.numbers", "a list in brackets"),
    (("services", "payment", "numbers"), [1, 500], "services.enquiry.numbers", "overlaps"),
    (("services", "payment", "numbers"), [500, 99999], "services.enquiry.numbers", "overlaps"),
    (
        ("services", "payment", "expected_minutes"),
        0,
        "services.payment.expected_minutes",
        "above 0",
    ),
    (
        ("windows",),
        {"1": {"skills": ["payment"]}, "2": {"skills": ["payment"]}},
        "services.enquiry",
        "no window takes this service",
    ),
    (("windows",), LEAVE_OUT, "windows", "is missing"),
    (("windows", "first"), {"skills": "all"}, "windows.first", "its number, 1 to 999"),
    (("windows", "01"), {"skills": "all"}, "windows.01", "without zeros in front"),
    (("windows", "007"), {"skills": "all"}, "windows.007", "without zeros in front"),
    (("windows", "1000"), {"skills": "all"}, "windows.1000", "its number, 1 to 999"),
    (("windows", "1", "skills"), 5, "windows.1.skills", "must be 'all', or a list"),
    (("windows", "1", "skills"), ["tea"], "windows.1.skills", "there is no service 'tea'"),
    (("windows", "1", "clerk"), "no spaces", "windows.1.clerk", "letters, digits, - and _"),
    (("buses", "desks", "port"), LEAVE_OUT, "buses.desks.port", "is missing"),
    (("buses", "desks", "port"), "COM3", "buses.desks.port", "no device path"),
    (("buses", "desks", "baud"), 100, "buses.desks.baud", "from 1200 to 1000000"),
    (("buses", "desks", "port"), "socket://127.0.0.1:5005", "buses.desks.port", "is claimed by"),
    (("buses",), {}, "devices.caller-1.bus", "there is no bus 'desks'; there are: none"),
    (("devices",), 3, "devices", "must be tables"),
    (("devices", "printer"), 3, "devices.printer", "must be a table"),
    (("devices", "Bar 2"), {"driver": "x"}, 'devices."Bar 2"', "small letters"),
    (("devices", "printer", "driver"), "epson", "devices.printer.driver", "no driver 'epson'"),
    (("devices", "printer", "driver"), LEAVE_OUT, "devices.printer.driver", "names no driver"),
    (("devices", "printer", "role"), LEAVE_OUT, "devices.printer.role", "is missing"),
    (("devices", "printer", "role"), "barista", "devices.printer.role", "must be 'dispenser'"),
    (("devices", "printer", "role"), "call_screen", "devices.printer.role", "can't be a call_s"),
    (("devices", "printer", "window"), 1, "devices.printer.window", "belongs to no window"),
    (("devices", "printer", "paper_mm"), 70, "devices.printer.paper_mm", "must be 58 or 80"),
    (("devices", "printer"), LEAVE_OUT, "devices", "need a printer, there is none"),
    (
        ("devices", "printer-2"),
        {"driver": "escpos", "role": "printer", "port": "/dev/usb/lp1"},
        "devices.printer-2",
        "need one printer, there are 2: printer, printer-2",
    ),
    (("devices", "bar-1", "window"), LEAVE_OUT, "devices.bar-1.window", "belongs to a window"),
    (("devices", "bar-1", "window"), 9, "devices.bar-1.window", "no window 9; there are: 1, 2"),
    (("devices", "bar-1", "port"), "socket://LOCALHOST:9100", "devices.bar-1.port", "claimed by"),
    (("devices", "caller-1", "unit"), 300, "devices.caller-1.unit", "from 1 to 247"),
    (("devices", "caller-1", "unit"), LEAVE_OUT, "devices.caller-1.unit", "is missing"),
    (("devices", "evaluator-1", "unit"), 1, "devices.evaluator-1.unit", "is claimed by"),
    (("devices", "caller-1", "bus"), "nobus", "devices.caller-1.bus", "no bus 'nobus'; there are"),
    (("devices", "caller-1", "buss"), "desks", "devices.caller-1.buss", "did you mean bus?"),
    (("devices", "caller-1", "keys"), 5, "devices.caller-1.keys", "names with values in braces"),
    (("devices", "caller-1", "keys", "tea"), 5, "devices.caller-1.keys.tea", "no key of a caller"),
    (("devices", "caller-1", "keys", "park"), 9, "devices.caller-1.keys.park", "from 0 to 7"),
    (("devices", "caller-1", "keys", "park"), 1, "devices.caller-1.keys.park", "both on input 1"),
    (("devices", "caller-1", "lamps", "x"), 1, "devices.caller-1.lamps.x", "both on output 1"),
    (("devices", "evaluator-1", "keys", "so"), 3, "devices.evaluator-1.keys.so", "is no rating"),
    (("devices", "buttons", "keys", "tea"), 9, "devices.buttons.keys.tea", "no service has this"),
    (("devices", "buttons", "keys", "tea"), 99, "devices.buttons.keys.tea", "no service has this"),
    (("devices", "buttons", "keys", "tea"), 99, "devices.buttons.keys.tea", "from 0 to 27"),
    (("devices", "buttons", "keys", "Tea"), 9, "devices.buttons.keys.Tea", "small letters"),
    (("devices", "buttons", "lamps", "no_paper"), 99, "devices.buttons.lamps.no_paper", "0 to 27"),
    (("devices", "buttons", "lamps", "no_paper"), 17, "devices.buttons.lamps.no_paper", "a key's"),
    (("devices", "buttons", "lamps", "no_paper"), 5, "devices.buttons.lamps.no_paper", "both on"),
    (("devices", "far", "keys", "park"), 18, "devices.far.keys.park", "both on pin 18"),
    (("devices", "far", "pigpio"), "nowhere", "devices.far.pigpio", "a host and a port"),
    (("devices", "far", "pigpio"), LEAVE_OUT, "devices.far.keys.call_next", "gpio:17 is claimed"),
]


@pytest.mark.parametrize(("path", "value", "key", "words"), WRONG)
def test_each_problem_is_named_in_words_with_an_example_that_is_right(
    tmp_path: Path, path: Path_, value: object, key: str, words: str
) -> None:
    found = assert_examples_are_right(tmp_path, changed(good(), path, value))
    assert words in {problem.key: problem.what for problem in found}.get(key, ""), found


@pytest.mark.parametrize(
    ("path", "value", "example"),
    [
        (("devices", "bar-1", "driver"), "siemens", 'driver = "onbon_bx"'),
        (("devices", "bar-1", "driver"), "escpoz", 'driver = "onbon_bx"'),
        (("devices", "buttons", "driver"), "siemens", 'driver = "gpio"'),
        (("devices", "caller-1", "driver"), "siemens", 'driver = "modbus_io"'),
        (("devices", "printer", "driver"), LEAVE_OUT, 'driver = "escpos"'),
        (("devices", "buttons", "keys"), 5, "keys = { payment = 17 }"),
        (("devices", "evaluator-1", "keys"), 5, "keys = { very_satisfied = 0 }"),
        (("devices", "caller-1", "keys"), 5, "keys = { call_next = 0 }"),
        (("devices", "extra"), 3, "# extra = 3  is left out"),
        (("windows", "07"), {"skills": "all"}, "[windows.7]"),
    ],
)
def test_an_example_fits_the_role_and_the_file(
    tmp_path: Path, path: Path_, value: object, example: str
) -> None:
    file = changed(good(), path, value)
    (problem,) = problems_of(tmp_path, file)
    assert problem.example == example
    assert problems_of(tmp_path, pasted(file, problem)) == []


def test_a_printer_that_is_missing_is_not_given_the_name_of_another_device(tmp_path: Path) -> None:
    file = good()
    file["devices"]["printer"] = file["devices"].pop("bar-1")
    (problem,) = assert_examples_are_right(tmp_path, file)
    assert problem.example.startswith("[devices.printer-2]")
    assert problems_of(tmp_path, pasted(file, problem)) == []


def _services(prefixes: list[str]) -> dict[str, Any]:
    names = {"zh": "缴费"}
    return {
        f"s{index}": {"name": names, "prefix": prefix, "numbers": [1, 99999]}
        for index, prefix in enumerate(prefixes)
    }


def _only_services(prefixes: list[str]) -> dict[str, Any]:
    parts = {part: good()[part] for part in ("hall", "journal")}
    windows = {"1": {"skills": "all"}}
    return {**parts, "services": _services(prefixes), "windows": windows}


def test_a_27th_service_gets_a_prefix_of_two_letters(tmp_path: Path) -> None:
    file = _only_services([*ascii_uppercase, "A"])
    (problem,) = assert_examples_are_right(tmp_path, file)
    assert (problem.key, problem.example) == ("services.s26.numbers", 'prefix = "AA"')


def test_a_service_beyond_the_last_prefix_is_left_out(tmp_path: Path) -> None:
    pairs = ["".join(pair) for pair in product(ascii_uppercase, repeat=2)]
    (problem,) = problems_of(tmp_path, _only_services([*ascii_uppercase, *pairs, "A"]))
    assert problem.example == "# [services.s702]  is left out"


def test_a_window_beyond_the_last_number_is_left_out(tmp_path: Path) -> None:
    file = _only_services(["A"])
    file["windows"] = {str(number): {"skills": "all"} for number in range(1, 1000)}
    (problem,) = problems_of(tmp_path, changed(file, ("windows", "first"), {"skills": "all"}))
    assert problem.example == "# [windows.first]  is left out"


@pytest.mark.parametrize(
    ("content", "right"),
    [
        (b"secret\n", True),
        ("Schlüssel\n".encode(), True),
        (b"x" * 65535 + b"\n", True),
        (b"x" * 65536, False),
        (b"secr\xe9t\n", False),
    ],
)
def test_a_password_is_text_that_mqtt_can_carry(
    tmp_path: Path, content: bytes, right: bool
) -> None:
    secret = tmp_path / "password"
    secret.write_bytes(content)
    found = problems_of(tmp_path, changed(good(), ("uplink", "password_file"), str(secret)))
    assert [problem.key for problem in found] == ([] if right else ["uplink.password_file"])


@pytest.mark.parametrize(
    "host", ["mqtt.example.com", "192.0.2.7", "::1", "2001:db8::7", "localhost"]
)
def test_a_host_may_be_a_name_or_an_address_of_either_kind(tmp_path: Path, host: str) -> None:
    assert problems_of(tmp_path, changed(good(), ("uplink", "host"), host)) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("journal", "path"), "/tmp/\0"),
        (("devices", "bar-1", "port"), "/dev/\0"),
        (("buses", "desks", "port"), "/dev/\0"),
        (("windows", "1", "skills"), ["\0"]),
        (("devices", "\0"), {}),
    ],
)
def test_a_text_with_a_nul_is_refused(tmp_path: Path, path: Path_, value: object) -> None:
    (problem,) = problems_of(tmp_path, changed(good(), path, value))
    assert problem.what == r"has a character \u0000 in a text"


def test_a_file_that_begins_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    file = tmp_path / "hall.toml"
    file.write_text(GOOD, encoding="utf-8-sig")
    assert file.read_bytes().startswith(b"\xef\xbb\xbf")
    assert load(file).hall.id == "riverside"


RELATED = ("claimed by", "overlaps", " too", "there are")
"""Said of two tables, and only where both could be read."""
ALONE = [wrong for wrong in WRONG if len(wrong[0]) > 2 and not any(w in wrong[3] for w in RELATED)]


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(st.sampled_from(ALONE), min_size=2, max_size=8, unique_by=lambda each: each[0][:2]))
def test_what_is_wrong_in_one_table_hides_nothing_in_another(
    tmp_path: Path, wrong: list[tuple[Path_, object, str, str]]
) -> None:
    file = good()
    for path, value, _, _ in wrong:
        file = changed(file, path, value)
    found = {problem.key: problem.what for problem in problems_of(tmp_path, file)}
    for _, _, key, words in wrong:
        assert words in found.get(key, ""), key


BAD = """
[hall]
id = "River Side"
name = { fr = "Chez nous" }
time_zone = "Asia/Shangri-La"

[journal]
path = "/nowhere/journal.db"

[uplink]
host = ""
password_file = "nofile"

[services.payment]
name = { zh = "缴费" }
prefix = "A"
expected_minutes = -1

[services.enquiry]
name = { zh = "咨询" }
prefixx = "B"
prefix = "A"
numbers = [999, 1999]

[services.cards]
name = { zh = "卡" }
prefix = "C"
numbers = [100, 1]

[windows.1]
skills = ["payment", "enquiry", "cards", "tea"]
clerk = "1001"

[windows.2]
skills = "all"
clerk = "1001"
chair = "red"

[buses.desks]
port = "/dev/ttyUSB0"
baud = 1

[devices.caller-1]
driver = "modbus_io"
role = "caller"
window = 9
bus = "nobus"
unit = 300
keys = { call_next = 0, recall = 0, dance = 3 }

[devices.evaluator-1]
driver = "modbus_io"
role = "evaluator"
bus = "desks"
unit = 2
keys = { satisfied = 11, so_so = 1 }

[devices.buttons]
driver = "gpio"
role = "dispenser"
pigpo = "10.0.0.1:8888"
keys = { payment = 17, enquiry = 17 }
lamps = { ready = 99, refused = 17 }

[devices.printer]
driver = "epson"
role = "printer"

[devices.printer-2]
driver = "escpos"
role = "printer"
port = "/dev/ttyUSB0"

[devices.bar-1]
driver = "onbon_bx"
role = "call_screen"
window = 1
port = "COM3"
"""


def test_a_really_bad_file_needs_one_round(tmp_path: Path) -> None:
    found = assert_examples_are_right(tmp_path, tomllib.loads(BAD))
    by_key = {problem.key: problem.what for problem in found}
    assert len(by_key) == len(found)
    tables = list(dict.fromkeys(problem.key.split(".")[0] for problem in found))
    assert tables == list(tomllib.loads(BAD)), "in the order in which they were written"
    expected = {
        "hall.id": "small letters",
        "hall.name.fr": "'zh' or 'en'",
        "hall.time_zone": "no time zone",
        "journal.path": "no folder /nowhere",
        "uplink.host": "a name or an address",
        "uplink.password_file": "there is no file nofile",
        "services.payment.expected_minutes": "above 0",
        "services.enquiry.prefixx": "did you mean prefix?",
        "services.enquiry.numbers": "overlaps with services.payment",
        "services.cards.numbers": "before they begin",
        "windows.1.skills": "no service 'tea'",
        "windows.2.chair": "unknown key",
        "buses.desks.baud": "from 1200",
        "devices.caller-1.window": "no window 9",
        "devices.caller-1.bus": "no bus 'nobus'",
        "devices.caller-1.unit": "from 1 to 247",
        "devices.caller-1.keys.recall": "both on input 0",
        "devices.caller-1.keys.dance": "no key of a caller",
        "devices.evaluator-1.window": "belongs to a window",
        "devices.evaluator-1.keys.satisfied": "from 0 to 7",
        "devices.evaluator-1.keys.so_so": "no rating",
        "devices.buttons.pigpo": "did you mean pigpio?",
        "devices.buttons.keys.enquiry": "both on pin 17",
        "devices.buttons.lamps.ready": "from 0 to 27",
        "devices.buttons.lamps.refused": "a key's",
        "devices.printer.driver": "no driver 'epson'",
        "devices.printer-2": "there are 2: printer, printer-2",
        "buses.desks.port": "is claimed by devices.printer-2 and buses.desks",
        "devices.bar-1.port": "no device path",
    }
    assert by_key.keys() == expected.keys()
    assert {key for key, words in expected.items() if words not in by_key[key]} == set()


def test_a_place_that_is_taken_is_given_the_next_free_one(tmp_path: Path) -> None:
    file = changed(good(), ("devices", "far", "pigpio"), LEAVE_OUT)
    (problem,) = problems_of(tmp_path, file)
    assert problem.example == "keys = { call_next = 19, start = 18 }"
    file = changed(good(), ("devices", "evaluator-1", "unit"), 1)
    (problem,) = problems_of(tmp_path, file)
    assert problem.example == "unit = 2"


def test_two_who_want_one_place_are_not_given_the_same_other_one(tmp_path: Path) -> None:
    file = good()
    first = file["devices"]["evaluator-1"]
    file["devices"] |= {"evaluator-8": {**first}, "evaluator-9": {**first}}
    problems = problems_of(tmp_path, file)
    assert [problem.key for problem in problems] == [
        "devices.evaluator-8.unit",
        "devices.evaluator-9.unit",
    ]
    assert len({problem.example for problem in problems}) == 2


class Teapot(DeviceConfig):
    """A driver of somebody else, whose rule is a validator of pydantic's."""

    driver: Literal["teapot"]
    spout: Literal["left", "right"]
    litres: float = 1.0

    @model_validator(mode="after")
    def _not_too_full(self) -> "Teapot":
        if self.litres > 2:
            raise ValueError("it would spill")
        return self


def test_the_rules_of_somebody_elses_driver_are_told_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teapot = Driver(Teapot, lambda *_: pytest.fail("a check builds nothing"))
    known = {**drivers(), "teapot": teapot}
    monkeypatch.setattr("edge.drivers.registry.drivers", lambda: known)
    table = {"driver": "teapot", "role": "call_screen", "window": 1, "spout": "left", "litres": 3}
    (problem,) = assert_examples_are_right(tmp_path, changed(good(), ("devices", "bar-1"), table))
    assert (problem.key, problem.what) == ("devices.bar-1", "it would spill")


def test_ranges_that_share_one_number_overlap(tmp_path: Path) -> None:
    for numbers in ([1, 500], [999, 1500]):
        file = changed(good(), ("services", "payment", "numbers"), numbers)
        assert "services.enquiry.numbers" in [p.key for p in problems_of(tmp_path, file)]
    file = changed(good(), ("services", "payment", "numbers"), [1000, 1500])
    assert problems_of(tmp_path, file) == []


def test_a_window_that_can_not_be_read_is_not_said_to_take_nothing(tmp_path: Path) -> None:
    file = changed(good(), ("windows",), {"1": {"skills": 5}, "two": {"skills": "all"}})
    assert not [p for p in problems_of(tmp_path, file) if "no window takes" in p.what]


def test_a_printer_that_can_not_be_read_is_not_missed(tmp_path: Path) -> None:
    file = changed(good(), ("devices", "printer"), {"driver": "escpos", "role": 5})
    assert not [p for p in problems_of(tmp_path, file) if "need" in p.what]


def test_what_lies_where_nobody_may_look_is_not_called_missing(tmp_path: Path) -> None:
    for path in ("/run/credentials/x/password", "/proc/1/root/x" * 50):
        file = changed(good(), ("uplink", "password_file"), path)
        assert "uplink.password_file" not in [p.key for p in problems_of(tmp_path, file)]


def test_the_example_of_several_lines_stands_under_its_problem() -> None:
    said = str(Problem("journal", "is missing", '[journal]\npath = "/x"'))
    assert said.splitlines() == [
        "  journal: is missing",
        "      right would be, for example:",
        "        [journal]",
        '        path = "/x"',
    ]


FIELDS = [
    (section, field)
    for section, table in tomllib.loads(GOOD).items()
    for field in ([*table, "x"] if section in {"hall", "journal", "rules", "uplink"} else [])
] + [
    (section, name, field)
    for section in ("services", "windows", "buses", "devices")
    for name, table in tomllib.loads(GOOD)[section].items()
    for field in (*table, "numbers", "clerk", "baud", "lamps", "pigpio", "x")
]
SCALARS = st.one_of(
    st.integers(-5, 100_000),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.sampled_from(["", "all", "payment", "A b", "socket://h:1", "/dev/x", "ä\n\"'\\", "COM1"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["zh", "payment", "A b", "tea", ""]), inner, max_size=3),
    ),
    max_leaves=5,
)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(changes=st.lists(st.tuples(st.sampled_from(FIELDS), VALUES), min_size=1, max_size=3))
def test_whatever_is_written_is_answered_in_words_and_with_toml(
    tmp_path: Path, changes: list[tuple[Path_, object]]
) -> None:
    file = good()
    for path, value in changes:
        file = changed(file, path, value)
    for problem in assert_examples_are_right(tmp_path, file):
        assert not re.search(r"Input should|should (be|match|have)|\^\[", problem.what), problem
