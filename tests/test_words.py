"""Pages and messages in plain words: phrases that readers had to read twice do not come back."""

import ast
import re
from pathlib import Path

import pytest

from agent_pipes.detect.registry import DETECTORS
from tests.helpers.support import ROOT

PHRASES = (
    r"\bturns? in circles\b",
    r"\bwhat became of\b",
    r"\bwhat becomes of\b",
    r"\bis told of\b",
    r"\bare told of\b",
    r"\bit is said\b",
    r"\bis said at\b",
    r"\bready to be taken\b",
    r"\bwrite where they must not\b",
    r"\bin the words of\b",
    r"\bmay be given again\b",
    r"\bstands? (?:in|behind|before|there|still)\b",
    r"\bstandard error is none\b",
    r"(?<!there )\bis no (?:terminal|process|file|name)\b",
    r"\bby itself where it is\b",
    r"\bone's own\b",
    r"\bis no good\b",
    r"\bbehind (?:each|the|it|a)\b",
    r"\bbeside what all have\b",
    r"\bwhere (?:it|that|this|none) (?:is|has|does)\b",
    r"\bwhat (?:an agent|it|they) (?:says|writes|has started|had started)\b",
    r"\b(?:is|are|was) told\b",
    r"\btells of\b",
    r"\bleft alone:",
    r"\bwhatever goes wrong\b",
    r"\bwhat (?:is said|is found|stands)\b",
    r"\bsays? so\b",
    r"\bmay be given\b",
    r"\bwarned of\b",
    r"\blimit (?:that )?was passed\b",
    r"\bended with status\b",
    r"\bwas ended by\b",
    r"\bcannot be looked at\b",
    r"\btold (?:by|from) (?:its|another)\b",
    r"\bdid not come back\b",
    r"\bwith no answer between\b",
)
"""Phrases of facts/plain-words: each has a usual word (report, contain, follow, print, if)."""

PAGES = (
    "README.md",
    "SECURITY.md",
    "CONTRIBUTING.md",
    *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "man").glob("*.[17]")),
)

FIRST_WORDS = {"How", "It", "Of", "They", "What", "Where", "Whether", "Which"}
"""Words that begin a clause, while a docstring begins with an imperative or a noun phrase."""

SOURCES = sorted(each.name for each in (ROOT / "agent_pipes").iterdir() if each.is_dir())
"""Rooms of the package, whose messages and help are read by users."""


def strings(file: Path) -> str:
    """Return the texts of a module, docstrings included, one per line."""
    tree = ast.parse(file.read_text())
    texts = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return "\n".join(" ".join(text.split()) for text in texts if isinstance(text, str))


def found(text: str) -> list[str]:
    return [match[0] for phrase in PHRASES for match in re.finditer(phrase, text, re.I)]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_no_phrase_that_must_be_read_twice(page):
    assert found((ROOT / page).read_text()) == []


@pytest.mark.parametrize("source", SOURCES)
def test_messages_and_comments_have_none_either(source):
    path = ROOT / "agent_pipes" / source
    files: list[Path] = sorted(path.rglob("*.py"))
    assert {file.name: words for file in files if (words := found(strings(file)))} == {}


def test_the_help_of_each_limit_names_it_as_a_limit():
    helps = {
        (watcher, option.name): option.help
        for watcher, detector in DETECTORS.items()
        for option in detector.options
    }
    wrong = {
        name: text
        for name, text in helps.items()
        if str(name[1]).startswith("max") and not (text or "").startswith("Limit on ")
    }
    assert len(helps) > 20 and wrong == {}


def test_no_description_of_the_config_schema_is_cut_off():
    schema = (ROOT / "agent_pipes/data/config.schema.json").read_text()
    described = re.findall(r'"description": "(.*)"', schema)
    assert (
        described and [text for text in described if re.search(r"\b(e\.g|i\.e|e|i)\.$", text)] == []
    )


@pytest.mark.parametrize("folder", ["agent_pipes", "bin", "tests"])
def test_a_docstring_begins_with_an_imperative_or_a_noun_phrase(folder):
    assert [
        f"{path.relative_to(ROOT)}: {words[1]}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for words in re.finditer(r'^ *"""(([A-Z][a-z]+) .*)', path.read_text(), re.M)
        if words[2] in FIRST_WORDS
    ] == []
