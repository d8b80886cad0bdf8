"""The file of the results: groups are merged, and the README quotes what is in it."""

import re

from tests.bench import results
from tests.bench.bench import ROOT, ROWS
from tests.bench.results import Row, put, section


def test_a_group_replaces_its_section_and_leaves_the_others(tmp_path):
    path = tmp_path / "results.md"
    for name, taken in (("bill", "1 s"), ("start", "2 ms"), ("bill", "3 s")):
        row = Row(f"`{name}`", taken, "", 0.5, 1)
        put(path, name, section(name, "today", [row], "## of a profile"[3:]), ["start", "bill"])
    text = path.read_text()
    assert re.findall(r"^## (\w+)", text, re.M) == ["start", "bill"]
    assert "3 s" in text and "2 ms" in text and "1 s |" not in text


def test_a_target_that_is_missed_is_said():
    assert "**not met**" in Row("x", "", "", 1.1, 1).line()
    assert "**not met**" not in Row("x", "", "", 1.0, 1).line() + Row("x", "", "", 9, 0).line()


def test_the_readme_quotes_the_results():
    text = results.OURS.read_text()
    assert set(re.findall(r"^## (\w+)", text, re.M)) == set(ROWS)
    found = results.QUOTE.search((ROOT / "README.md").read_text())
    assert found and found[0] == results.quoted(text)
    assert all(f"| {begin}" in found[0] for begin in results.QUOTED)
