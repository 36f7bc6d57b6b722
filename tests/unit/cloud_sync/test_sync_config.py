import re
import tomllib
from pathlib import Path

import pytest

from cloud_sync.cli import EXIT_CONFIG, EXIT_USAGE, main
from cloud_sync.config import EXAMPLE, ConfigInvalid, SyncConfig, load


def write(folder: Path, text: str) -> Path:
    path = folder / "sync.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_example_is_right_but_for_its_files(tmp_path: Path) -> None:
    text = EXAMPLE
    for each in re.findall(r'"(/[^"]*password[^"]*)"', EXAMPLE):
        secret = tmp_path / Path(each).name
        secret.write_text("geheim\n", encoding="utf-8")
        text = text.replace(each, str(secret))
    config = load(write(tmp_path, text))
    assert config.broker().password == "geheim"
    assert "geheim" not in repr(config.broker())
    assert config.page.host == "127.0.0.1"


def test_all_problems_are_named_at_once_with_what_would_be_right(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
[mqtt]
port = 70000
protocol = 4
pasword_file = "x"
cert_file = "c"

[page]
port = "many"

[strore]
path = "x"

[colour]
""",
    )
    with pytest.raises(ConfigInvalid) as invalid:
        load(path)
    text = str(invalid.value)
    assert str(path) in text
    for part in (
        'mqtt.host: is missing; right would be, for example: host = "127.0.0.1"',
        "mqtt.port: Input should be less than or equal to 65535",
        "mqtt.protocol: ",
        "mqtt.pasword_file: unknown key; did you mean password_file? right would be, for example:",
        'password_file = "/run/credentials/',
        "mqtt.cert_file: c can't be read",
        "page.port: ",
        "port = 8090",
        "store: is missing; right would be, for example:\n    [store]\n    path = ",
        "strore: unknown key; did you mean store?",
        "colour: unknown key; known here: mqtt, page, presence, store",
    ):
        assert part in text
    assert len(invalid.value.problems) == 11


def test_what_is_wrong_in_one_key_hides_no_file_and_no_pair(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        '[mqtt]\nhost = "h"\nport = 0\ncert_file = "/no/c"\npassword_file = "/no/such"\n'
        '[store]\npath = "/"\n',
    )
    with pytest.raises(ConfigInvalid) as invalid:
        load(path)
    text = str(invalid.value)
    for part in (
        "mqtt.port: ",
        "mqtt.key_file: is missing: cert_file and key_file belong together; right would be",
        "mqtt.ca_file: is missing: cert_file needs it",
        "mqtt.cert_file: /no/c can't be read: No such file",
        "mqtt.password_file: /no/such can't be read: No such file",
        "store.path: / is a folder; name a file",
    ):
        assert part in text
    assert len(invalid.value.problems) == 6


def test_keys_that_belong_together_are_asked_for_together(tmp_path: Path) -> None:
    path = write(tmp_path, '[mqtt]\nhost = "h"\ncert_file = "c"\n[store]\npath = "x"\n')
    with pytest.raises(ConfigInvalid, match="cert_file and key_file belong together"):
        load(path)


def test_files_that_can_not_be_read_are_named(tmp_path: Path) -> None:
    path = write(tmp_path, '[mqtt]\nhost = "h"\npassword_file = "/no/such"\n[store]\npath = "x"\n')
    with pytest.raises(ConfigInvalid, match=r"mqtt\.password_file: /no/such can't be read"):
        load(path)


@pytest.mark.parametrize(
    "text", ["= nonsense", "\x00", "x = " + "[" * 5000 + "]" * 5000, "x = " + "9" * 5000]
)
def test_what_is_not_toml_is_said_so(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigInvalid, match=r"is not TOML.*right would be"):
        load(write(tmp_path, text))


def test_a_folder_is_no_file_and_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="is a folder; name the file in it"):
        load(tmp_path)


def test_a_file_in_another_encoding_is_told_the_line_and_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "sync.toml"
    path.write_bytes("# one\n# 本机\n".encode("gbk"))
    with pytest.raises(ConfigInvalid, match=r"line 2: is not UTF-8 .*; save the file as UTF-8"):
        load(path)


@pytest.mark.parametrize("page", ["port = 9001", "port = 7000\nwebsocket_port = 7000"])
def test_the_page_and_the_broker_can_not_have_one_port(tmp_path: Path, page: str) -> None:
    text = f'[mqtt]\nhost = "h"\n[store]\npath = "x"\n[page]\n{page}\n'
    with pytest.raises(ConfigInvalid, match=r"page\.websocket_port: .* is the page's own port"):
        load(write(tmp_path, text))
    elsewhere = 'websocket_url = "wss://halls.example.com/mqtt"\n'
    assert load(write(tmp_path, text + elsewhere)).page.websocket_url is not None


@pytest.mark.parametrize(
    ("mqtt", "page", "key"),
    [
        ("port = 8090", "port = 8090", "page.port"),
        ("port = 9001", "port = 8090", "page.websocket_port"),
        ("port = 9001", 'websocket_url = "wss://x.example/mqtt"\nport = 9001', "page.port"),
    ],
)
def test_the_page_can_not_have_the_port_of_a_broker_on_this_machine(
    tmp_path: Path, mqtt: str, page: str, key: str
) -> None:
    text = '[mqtt]\nhost = "{host}"\n' + mqtt + f'\n[store]\npath = "x"\n[page]\n{page}\n'
    with pytest.raises(ConfigInvalid, match=rf"{key}: \d+ is the port of the broker"):
        load(write(tmp_path, text.replace("{host}", "127.0.0.1")))
    load(write(tmp_path, text.replace("{host}", "mqtt.example.com")))


@pytest.mark.parametrize(
    ("port", "key", "right"),
    [(8090, "page.port", "port = 8091"), (9001, "page.websocket_port", "websocket_port = 9002")],
)
def test_a_file_without_a_page_has_its_usual_ports_and_is_told_others(
    tmp_path: Path, port: int, key: str, right: str
) -> None:
    text = f'[mqtt]\nhost = "localhost"\nport = {port}\n[store]\npath = "x"\n'
    with pytest.raises(ConfigInvalid, match=rf"{key}: {port} is the port of .* {right}$"):
        load(write(tmp_path, text))


def test_a_port_that_browsers_are_not_told_is_in_nobodys_way(tmp_path: Path) -> None:
    text = '[mqtt]\nhost = "127.0.0.1"\nport = 9001\n[store]\npath = "x"\n[page]\n'
    assert load(write(tmp_path, text + 'websocket_url = "wss://x.example/mqtt"\n'))


@pytest.mark.parametrize("name", ["halls.example.com:80", "HALLS", "a b", "-", "x/y", ""])
def test_a_name_of_the_page_is_one(tmp_path: Path, name: str) -> None:
    text = f'[mqtt]\nhost = "h"\n[store]\npath = "x"\n[page]\nnames = ["{name}"]\n'
    with pytest.raises(ConfigInvalid, match=r"page\.names"):
        load(write(tmp_path, text))


def test_check_ends_with_the_exit_code_for_configurations(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "--config", str(tmp_path / "none.toml")]) == EXIT_CONFIG
    error = capsys.readouterr().err
    assert "can't be read" in error
    assert "[store]" in error  # and it shows what a right file looks like
    assert (
        main(["check", "--config", str(write(tmp_path, "[mqtt]\nhost='h'\n[store]\npath='x'"))])
        == 0
    )
    assert "good: broker h:1883" in capsys.readouterr().out


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for part in ("check", "rebuild", "[mqtt]", "Exit codes"):
        assert part in text


def test_only_an_origin_may_show_the_page_in_a_frame(tmp_path: Path) -> None:
    head = "[mqtt]\nhost = 'h'\n[store]\npath = 'x'\n[page]\nframed_by = "
    good = load(write(tmp_path, f"{head}['https://portal.example.com', 'http://127.0.0.1:*']"))
    assert good.page.framed_by == ("https://portal.example.com", "http://127.0.0.1:*")
    for bad in ("https:", "*", "https://a.example; script-src *", "https://a.example/page"):
        with pytest.raises(ConfigInvalid, match=r"page\.framed_by"):
            load(write(tmp_path, f"{head}['{bad}']"))


def test_without_a_command_there_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == EXIT_USAGE
    assert "derive everything anew" in capsys.readouterr().err


def test_the_examples_for_what_is_missing_can_be_pasted(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid) as invalid:
        load(write(tmp_path, ""))
    examples = [problem.partition("for example:")[2] for problem in invalid.value.problems]
    assert len(examples) == 2
    pasted = tomllib.loads("".join(examples))
    assert set(pasted) == {"mqtt", "store"}
    SyncConfig.model_validate(pasted)


def test_the_example_for_a_list_is_a_list(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match=r"page\.framed_by\.1") as invalid:
        load(write(tmp_path, "[page]\nframed_by = ['https://a.example', 'x']"))
    (problem,) = [each for each in invalid.value.problems if "framed_by" in each]
    example = tomllib.loads(problem.partition("for example:")[2])
    assert example == {"framed_by": ["https://portal.example.com"]}


GOOD = """
[mqtt]
host = "127.0.0.1"

[store]
path = "centre.db"
"""


def test_a_file_that_notepad_saved_is_read(tmp_path: Path) -> None:
    path = tmp_path / "sync.toml"
    path.write_text(GOOD, encoding="utf-8-sig")
    assert load(path).store.path == Path("centre.db")


@pytest.mark.parametrize("store", ["", "/tmp"])
def test_a_store_that_is_a_folder_is_refused_before_the_start(tmp_path: Path, store: str) -> None:
    with pytest.raises(ConfigInvalid, match="is a folder; name a file"):
        load(write(tmp_path, GOOD.replace("centre.db", store)))
