"""Tables that fit a terminal."""

import io

import pytest

from agent_pipes.core.display import cell_width, tilde
from agent_pipes.core.style import Style, terminal_style
from agent_pipes.core.table import (
    Column,
    compact_number,
    format_table,
)

COLUMNS = [
    Column("PATH", cut="left"),
    Column("COUNT", "right", drop=2),
    Column("NOTE", cut="right", drop=1),
    Column("$", "right"),
]
ROWS = [
    ["~/a/very/long/path/to/a/project", "1,234", "a note that goes on for a while", "12.34"],
    ["~/目录/项目", "5", "短い", "0.10"],
]


@pytest.mark.parametrize("width", [20, 30, 40, 60, 80, 200])
def test_every_line_fits_and_ends_with_the_last_column(width):
    lines = format_table(COLUMNS, ROWS, Style(width))
    assert max(map(cell_width, lines)) < width
    assert [line.split()[-1] for line in lines] == ["$", "12.34", "0.10"]


def test_a_column_is_cut_on_its_side_then_left_out():
    wide, narrow = (format_table(COLUMNS, ROWS, Style(width)) for width in (60, 24))
    assert "…" in wide[1] and "project" in wide[1] and "COUNT" in wide[0]
    assert "COUNT" not in narrow[0] and "NOTE" not in narrow[0]


def test_a_table_that_fits_is_not_cut():
    lines = format_table(COLUMNS, ROWS, Style(200))
    assert "…" not in "".join(lines) and lines[1].startswith("~/a/very/long/path/to/a/project")


def test_a_bar_shows_any_share_and_is_full_only_at_the_whole():
    style = Style(80)
    assert style.bar(0, 10) == "" and style.bar(1, 10) == "█" * 10
    assert style.bar(0.0001, 10) == "▏" and cell_width(style.bar(0.55, 10)) == 6
    assert Style(80, ascii=True).bar(0.5, 10) == "#####"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (907, "907"),
        (22_400, "22k"),
        (999_999, "1.0M"),
        (1_250_000, "1.2M"),
        (4e9, "4.0G"),
    ],
)
def test_counts_in_at_most_five_characters(count, text):
    assert compact_number(count) == text


def test_the_home_directory_is_a_tilde(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ann")
    assert tilde("/home/ann/x") == "~/x"
    assert tilde("/home/anna/x") == "/home/anna/x"


@pytest.mark.parametrize(
    "locale, plain", [("C", True), ("POSIX", True), ("C.UTF-8", False), ("de_DE.utf8", False)]
)
def test_a_locale_without_utf8_gets_plain_characters(locale, plain, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("LC_ALL", locale)
    # As Python does in the C locale.
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    assert terminal_style(80).ascii is plain
