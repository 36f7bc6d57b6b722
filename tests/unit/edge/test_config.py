"""A hall's file is checked as a whole: every problem at once, with a line that is right."""

import re
import tomllib
from pathlib import Path

import pytest

from edge.config import ConfigInvalid, load, warnings
from edge.config.checks import about_disk, file_system_of
from edge.config.load import _LINES, FIRST_HALL

GOOD = """
[hall]
id = "riverside"
name = { zh = "滨江营业厅", en = "Riverside" }
time_zone = "Asia/Shanghai"

[journal]
path = "/var/lib/nowserving/journal.db"

[services.payment]
name = { zh = "缴费", en = "Payment" }
prefix = "A"

[services.enquiry]
name = { zh = "咨询", en = "Enquiry" }
prefix = "B"
expected_minutes = 7

[windows.1]
skills = ["payment", "enquiry"]
clerk = "1001"

[windows.2]
skills = "all"

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

[devices.buttons]
driver = "gpio"
role = "dispenser"
keys = { payment = 17, enquiry = 27, payment-priority = 22 }

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


def problems_of(tmp_path: Path, text: str) -> dict[str, str]:
    """What is wrong, by key; the whole line that people see as the value."""
    file = tmp_path / "hall.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigInvalid) as caught:
        load(file)
    assert str(caught.value).startswith(str(file))
    return {problem.key: str(problem) for problem in caught.value.problems}


def test_a_good_file_becomes_a_plan(tmp_path: Path) -> None:
    file = tmp_path / "hall.toml"
    file.write_text(GOOD, encoding="utf-8")
    plan = load(file).plan()
    assert plan.windows[1].preference == {"payment": 0, "enquiry": 1}
    assert plan.windows[2].preference == {"payment": 0, "enquiry": 0}
    assert plan.services["enquiry"].expected_seconds == 420
    assert plan.services["payment"].number(7) == "A007"


def test_services_in_an_inner_list_are_preferred_alike(tmp_path: Path) -> None:
    file = tmp_path / "hall.toml"
    file.write_text(GOOD.replace('["payment", "enquiry"]', '[["payment", "enquiry"]]'))
    assert load(file).plan().windows[1].preference == {"payment": 0, "enquiry": 0}


def test_all_problems_are_found_at_once(tmp_path: Path) -> None:
    broken = (
        GOOD.replace('id = "riverside"', 'id = "River Side"')
        .replace("Asia/Shanghai", "Asia/Shangri-La")
        .replace('prefix = "A"', 'prefixx = "A"')
        .replace("bus = ", "buss = ")
    )
    problems = problems_of(tmp_path, broken)
    assert {
        "hall.id",
        "hall.time_zone",
        "services.payment.prefix",
        "services.payment.prefixx",
        "devices.caller-1.bus",
        "devices.caller-1.buss",
    } <= problems.keys()
    assert "did you mean prefix?" in problems["services.payment.prefixx"]
    assert 'prefix = "A"' in problems["services.payment.prefix"]
    assert "Asia/Shanghai" in problems["hall.time_zone"]


def test_faults_in_one_table_do_not_hide_contradictions_between_others(tmp_path: Path) -> None:
    broken = (
        GOOD.replace('prefix = "B"', 'prefixx = "B"')
        .replace("call_next = 0", "tea = 0")
        .replace('bus = "desks"', 'bus = "desk"')
        .replace('port = "socket://127.0.0.1:9100"', 'prt = "socket://127.0.0.1:9100"')
    )
    problems = problems_of(tmp_path, broken)
    assert {
        "services.enquiry.prefixx",
        "services.enquiry.prefix",
        "devices.caller-1.keys.tea",
        "devices.caller-1.bus",
        "devices.printer.prt",
        "devices.printer.port",
    } == problems.keys(), "each fault once, and no complaint about what could not be read"


def test_a_missing_section_is_named_with_an_example(tmp_path: Path) -> None:
    problems = problems_of(tmp_path, GOOD.replace("[journal]", "[diary]"))
    assert "[journal]" in problems["journal"]
    assert "known here" in problems["diary"] or "did you mean" in problems["diary"]


def test_two_devices_on_one_pin_port_or_unit_are_named_together(tmp_path: Path) -> None:
    twice = (
        GOOD
        + """
[devices.lamps]
driver = "gpio"
role = "dispenser"
keys = { enquiry = 17 }

[devices.caller-2]
driver = "modbus_io"
role = "caller"
window = 2
bus = "desks"
unit = 1

[devices.bar-2]
driver = "onbon_bx"
role = "call_screen"
window = 2
port = "socket://127.0.0.1:5005"
"""
    )
    file = tmp_path / "hall.toml"
    file.write_text(twice, encoding="utf-8")
    with pytest.raises(ConfigInvalid) as caught:
        load(file)
    text = str(caught.value)
    assert "gpio:17 is claimed by devices.buttons and devices.lamps" in text
    assert "devices.caller-1 and devices.caller-2" in text
    assert "devices.bar-1 and devices.bar-2" in text


def test_a_service_that_no_window_takes_is_refused(tmp_path: Path) -> None:
    lonely = GOOD.replace('["payment", "enquiry"]', '["payment"]').replace('"all"', '["payment"]')
    problems = problems_of(tmp_path, lonely)
    assert "no window takes this service" in problems["services.enquiry"]


def test_the_example_for_a_service_that_nobody_takes_names_no_service_that_there_is_not(
    tmp_path: Path,
) -> None:
    lonely = GOOD.replace('["payment", "enquiry"]', '[["tea", "payment"], "milk"]')
    file = tmp_path / "hall.toml"
    file.write_text(lonely.replace('"all"', '["payment"]'), encoding="utf-8")
    with pytest.raises(ConfigInvalid) as caught:
        load(file)
    (example,) = [p.example for p in caught.value.problems if p.key == "services.enquiry"]
    assert 'skills = [["payment"], "enquiry"]' in example


def test_a_skill_that_is_no_service_is_refused(tmp_path: Path) -> None:
    problems = problems_of(tmp_path, GOOD.replace('["payment", "enquiry"]', '["payment", "tea"]'))
    assert "'tea'" in problems["windows.1.skills"]


def test_number_ranges_that_overlap_under_one_prefix_are_refused(tmp_path: Path) -> None:
    problems = problems_of(tmp_path, GOOD.replace('prefix = "B"', 'prefix = "A"'))
    assert "overlaps with services.payment" in problems["services.enquiry.numbers"]


def test_ranges_apart_may_share_a_prefix(tmp_path: Path) -> None:
    file = tmp_path / "hall.toml"
    file.write_text(GOOD.replace('prefix = "B"', 'prefix = "A"\nnumbers = [1000, 1999]'))
    assert load(file).plan().services["enquiry"].number(1000) == "A1000"


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (("keys = { payment = 17", "keys = { tea = 17"), "devices.buttons.keys.tea"),
        (("call_next = 0", "call_nex = 0"), "devices.caller-1.keys.call_nex"),
        (("transfer-enquiry", "transfer-tea"), "devices.caller-1.keys.transfer-tea"),
        (('bus = "desks"', 'bus = "desk"'), "devices.caller-1.bus"),
        (('role = "caller"\nwindow = 1', 'role = "caller"\nwindow = 9'), "devices.caller-1.window"),
        (('driver = "escpos"', 'driver = "escpoz"'), "devices.printer.driver"),
    ],
)
def test_words_that_point_to_nothing_are_refused(
    tmp_path: Path, change: tuple[str, str], key: str
) -> None:
    assert key in problems_of(tmp_path, GOOD.replace(*change))


def test_ticket_buttons_without_a_printer_are_refused(tmp_path: Path) -> None:
    start = GOOD.index("[devices.printer]")
    end = GOOD.index("[devices.bar-1]")
    problems = problems_of(tmp_path, GOOD[:start] + GOOD[end:])
    assert "need a printer" in problems["devices"]


def test_a_bus_a_device_and_the_journal_have_names_of_their_own(tmp_path: Path) -> None:
    bus = '\n[buses.bar-1]\nport = "/dev/ttyUSB9"\n[buses.journal]\nport = "/dev/ttyUSB8"\n'
    problems = problems_of(tmp_path, GOOD + bus)
    assert "this name is that of buses.bar-1, too" in problems["devices.bar-1"]
    assert "this name is the journal's, too" in problems["buses.journal"]


def test_a_file_in_another_encoding_is_told_the_line_and_the_way_out(tmp_path: Path) -> None:
    file = tmp_path / "hall.toml"
    file.write_bytes(GOOD.lstrip().encode("gbk"))
    with pytest.raises(ConfigInvalid, match=r"line 3: is not UTF-8 .*; save the file as UTF-8"):
        load(file)


@pytest.mark.parametrize(
    "text",
    [
        "x = " + "[" * 5000 + "]" * 5000,
        "[" + ".".join(["a"] * 5000) + "]",
        "x = " + "[" * 50 + "]" * 50,
        "x = " + "9" * 5000,
        "x = 0x" + "f" * 5000,
    ],
    ids=["deep lists", "a deep table", "lists", "a number of 5,000 digits", "a long number"],
)
def test_what_python_can_not_hold_is_refused_in_words(tmp_path: Path, text: str) -> None:
    file = tmp_path / "hall.toml"
    file.write_text(GOOD + text + "\n", encoding="utf-8")
    with pytest.raises(
        ConfigInvalid, match=r"(the file|line 1): (is not TOML|is nested too deep|has a number)"
    ):
        load(file)


@pytest.mark.parametrize("path", ["/dev/null", ":memory:", "/tmp/:memory:"])
def test_a_journal_that_would_keep_nothing_is_refused(tmp_path: Path, path: str) -> None:
    problems = problems_of(tmp_path, re.sub(r'(?m)^path = ".*"', f'path = "{path}"', GOOD))
    assert "the journal is a file" in problems["journal.path"]


A_BUS = '[buses.b]\nport = "/dev/ttyS9"\nbaud = "9600"\n\n'


@pytest.mark.parametrize(
    ("good", "lax", "key", "said"),
    [
        ("window = 1\n", "window = true\n", "devices.caller-1.window", "a whole number"),
        ("window = 1\n", 'window = "1"\n', "devices.caller-1.window", "a whole number"),
        (
            "[journal]",
            "[rules]\nrating_seconds = true\n[journal]",
            "rules.rating_seconds",
            "number",
        ),
        ('"dispenser"', '"dispenser"\npull = "off"', "devices.buttons.pull", "true or false"),
        ("[journal]", A_BUS + "[journal]", "buses.b.baud", "must be"),
    ],
    ids=["true", "text", "a duration", "a truth in quotes", "a speed"],
)
def test_a_value_of_another_type_is_not_taken_for_the_right_one(
    tmp_path: Path, good: str, lax: str, key: str, said: str
) -> None:
    assert good in FIRST_HALL
    file = tmp_path / "hall.toml"
    file.write_text(FIRST_HALL.replace(good, lax), encoding="utf-8")
    with pytest.raises(ConfigInvalid) as invalid:
        load(file)
    assert said in {problem.key: problem.what for problem in invalid.value.problems}[key]


def test_a_pin_is_a_number_and_no_truth(tmp_path: Path) -> None:
    problems = problems_of(tmp_path, GOOD.replace("payment = 17", "payment = true"))
    assert "must be a whole number" in problems["devices.buttons.keys.payment"]


def test_keypads_that_can_not_refuse_and_journals_that_move_are_warned_of(tmp_path: Path) -> None:
    file = tmp_path / "hall.toml"
    text = re.sub(r"(?m)^lamps = .*$", "", FIRST_HALL)
    file.write_text(text, encoding="utf-8")
    said = "\n".join(warnings(load(file)))
    assert "devices.buttons: no lamp or buzzer is called 'refused'" in said
    assert "devices.caller-1: no lamp or buzzer" in said
    assert "journal.path: journal.db depends on the folder" in said
    file.write_text(FIRST_HALL, encoding="utf-8")
    assert "no lamp or buzzer" not in "\n".join(warnings(load(file)))


def test_keypads_that_answer_no_press_that_counts_are_warned_of(tmp_path: Path) -> None:
    file = tmp_path / "hall.toml"
    silent = "devices.caller-1: a press that counts is not answered there"
    text = re.sub(r"accepted = [0-9]+, ", "", FIRST_HALL)
    assert text != FIRST_HALL
    file.write_text(text, encoding="utf-8")
    assert silent in "\n".join(warnings(load(file)))
    screen = (
        '[devices.bar-1]\ndriver = "onbon_bx"\nrole = "call_screen"\nwindow = 1\n'
        'port = "/dev/ttyS8"\n'
    )
    file.write_text(text + "\n" + screen, encoding="utf-8")
    assert silent not in "\n".join(warnings(load(file)))
    file.write_text(FIRST_HALL, encoding="utf-8")
    assert silent not in "\n".join(warnings(load(file)))


@pytest.mark.parametrize(
    ("hall", "username", "said"),
    [
        ("centre", "", "hall.id: 'centre' is another's user"),
        ("dashboards", "", "hall.id: 'dashboards' is another's user"),
        ("east-gate", 'username = "east"', "what 'east' sends of hall 'east-gate' goes nowhere"),
        ("east-gate", 'username = "east-gate"', ""),
    ],
)
def test_a_hall_that_no_broker_would_let_through_is_warned_of(
    tmp_path: Path, hall: str, username: str, said: str
) -> None:
    file = tmp_path / "hall.toml"
    text = FIRST_HALL.replace("my-first-hall", hall)
    file.write_text(text + f'\n[uplink]\nhost = "localhost"\n{username}\n', encoding="utf-8")
    told = [each for each in warnings(load(file)) if each.startswith(("hall.id", "uplink.user"))]
    assert len(told) == bool(said)
    assert said in "".join(told)


def test_a_file_that_is_no_toml_says_where(tmp_path: Path) -> None:
    line = GOOD.count("\n") + 2
    problems = problems_of(tmp_path, GOOD + "\nprefix == 3\n")
    assert "'prefix == 3'" in problems[f"line {line}"]
    problems = problems_of(tmp_path, GOOD + "\nprefix =")
    assert "'prefix ='" in problems[f"line {line}"]
    assert tomllib.loads(_LINES).keys() == {"name", "number", "list", "table"}


def test_a_folder_is_no_file_and_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="is a folder; name the file in it"):
        load(tmp_path)


def test_a_file_that_is_not_there_says_so_and_what_could_be_in_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="can't be read: No such file") as invalid:
        load(tmp_path / "nothing.toml")
    (problem,) = invalid.value.problems
    path = tmp_path / "hall.toml"
    path.write_text(problem.example, encoding="utf-8")
    assert list(load(path).windows) == [1]
    tutorial = Path(__file__).parents[3] / "docs/tutorial/your-first-hall.md"
    assert problem.example in tutorial.read_text(encoding="utf-8")


def test_what_may_disappoint_is_a_warning_not_an_error(tmp_path: Path) -> None:
    file = tmp_path / "hall.toml"
    file.write_text(GOOD + '\n[uplink]\nhost = "mqtt.example.com"\nport = 1883\n', encoding="utf-8")
    found = "\n".join(warnings(load(file)))
    assert "windows.2: nobody can call there" in found
    assert "no TLS" in found


def test_one_clerk_at_two_windows_is_a_warning(tmp_path: Path) -> None:
    file = tmp_path / "hall.toml"
    windows = '\n[windows.8]\nskills = "all"\nclerk = "1001"\n'
    file.write_text(GOOD + windows, encoding="utf-8")
    found = "\n".join(warnings(load(file)))
    assert "windows.8.clerk: 1001 is the clerk of window" in found


def test_a_journal_on_a_disk_that_forgets_is_told_from_one_that_does_not() -> None:
    mounts = "/dev/sda1 / ext4 rw 0 0\ntmpfs /run tmpfs rw 0 0\noverlay /srv overlay rw 0 0\n"
    assert file_system_of(Path("/run/nowserving/journal.db"), mounts) == "tmpfs"
    assert file_system_of(Path("/var/lib/nowserving/journal.db"), mounts) == "ext4"


def test_a_journal_behind_a_link_is_on_the_disk_that_the_link_leads_to(tmp_path: Path) -> None:
    (tmp_path / "card").mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "card")
    mounts = f"/dev/sda1 / ext4 rw 0 0\n/dev/sda2 {tmp_path}/card vfat rw 0 0\n"
    assert file_system_of(tmp_path / "data" / "journal.db", mounts) == "vfat"


@pytest.mark.parametrize(
    ("kind", "said"), [("overlay", "forgets at a power cut"), ("vfat", "an old copy"), ("ext4", "")]
)
def test_a_disk_that_may_disappoint_is_warned_of(kind: str, said: str) -> None:
    told = list(about_disk(Path("/data/journal.db"), f"/dev/sda1 /data {kind} rw 0 0\n"))
    assert len(told) == bool(said)
    assert said in "".join(told)


def test_a_bus_too_slow_for_taps_is_a_warning(tmp_path: Path) -> None:
    units = "".join(
        f'\n[devices.evaluator-{n}]\ndriver = "modbus_io"\nrole = "evaluator"\nwindow = 1\n'
        f'bus = "desks"\nunit = {n}\nkeys = {{ satisfied = 0 }}\n'
        for n in range(10, 26)
    )
    slow = GOOD.replace('usb-rs485"', 'usb-rs485"\nbaud = 9600')
    file = tmp_path / "hall.toml"
    file.write_text(slow + units, encoding="utf-8")
    assert any("buses.desks" in warning and "60 ms" in warning for warning in warnings(load(file)))
