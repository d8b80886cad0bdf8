"""Every regular expression compiles, although most are compiled only at their first use."""

import importlib
import pkgutil

import agent_pipes
from agent_pipes.core.lazy_regex import _Pattern, pattern


def test_every_pattern_of_the_project_compiles():
    modules = [each.name for each in pkgutil.walk_packages(agent_pipes.__path__, "agent_pipes.")]
    found = [
        value
        for name in modules
        for value in vars(importlib.import_module(name)).values()
        if isinstance(value, _Pattern)
    ]
    assert len(found) > 50 and all(
        each.search("") is None or True for each in found if isinstance(each._text, str)
    )
    assert all(each.pattern == each._text for each in found)


def test_it_matches_as_the_compiled_one_does():
    words = pattern(r"(\w+)-\1")
    assert (
        words.fullmatch("ab-ab")[1] == "ab"
        and words.search("ab-cd") is None
        and pattern(rb"x").match(b"x")
    )
