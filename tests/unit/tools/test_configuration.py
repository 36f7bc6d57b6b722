"""The configuration's reference page says what the models say."""

from tools.configuration import PAGE, page


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m tools.configuration"


def test_every_field_is_explained() -> None:
    undescribed = [
        line for line in page().splitlines() if line.startswith("| `") and "|  |" in line
    ]
    assert not undescribed
