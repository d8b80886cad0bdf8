"""Pictures of the README: each is there, small, and free of what an SVG could run or load."""

import re
from xml.etree import ElementTree

import pytest

from tests.helpers.support import ROOT
from tests.make_pictures import terminal_svg

NAMED = re.findall(r"!\[[^\]]+\]\((man/pictures/[^)]+)\)", (ROOT / "README.md").read_text())
MAX_BYTES = 100_000


def test_the_readme_shows_each_picture_there_is():
    there = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("man/pictures/*"))
    assert sorted(NAMED) == there and len(there) >= 2


@pytest.mark.parametrize("name", NAMED)
def test_a_picture_is_small_and_loads_nothing(name):
    content = (ROOT / name).read_bytes()
    assert len(content) < MAX_BYTES
    if name.endswith(".svg"):
        tags = {each.tag.rpartition("}")[2] for each in ElementTree.fromstring(content).iter()}
        assert tags == {"svg", "title", "style", "rect", "text", "tspan"}
        assert b"url(" not in content and b"href" not in content


def test_a_screen_becomes_text_with_its_colours_and_places():
    svg = terminal_svg("\x1b[1m\x1b[31m✗\x1b[0m a  <b>\x1b[2m ··\x1b[39m\n", 40, "a & b")
    root = ElementTree.fromstring(svg)
    spans = [
        (each.text, each.get("class"), float(each.get("x")))
        for each in root.iter()
        if each.tag.endswith("tspan")
    ]
    assert [(text, kind) for text, kind, _ in spans] == [
        ("✗", "c31 b"), ("a", "f"), ("<b>", "f"), ("··", "d")
    ]  # fmt: skip
    assert [round((x - 16) / 8.4) for _, _, x in spans] == [0, 2, 5, 9]
