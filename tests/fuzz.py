"""Functions that must not crash on any input, each tried on inputs that are made up.

    python tests/fuzz.py [INPUTS] [TARGET]     a million inputs of each target, or so many

These are made by chance, from real ones where that leads further than the first check: ten thousand a second. Those of
`make test` are made by hypothesis, which is slower, looks further, and shrinks what it finds.
"""

import contextlib
import json
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from agent_pipes.agents.registry import agent as agent_named
from agent_pipes.core import config
from agent_pipes.core.display import escape, format_duration
from agent_pipes.core.event import Event
from agent_pipes.core.jsonl import dumps, objects
from agent_pipes.core.options import COUNT, DOLLARS, DURATION, SIZE
from agent_pipes.detect.configuration import config_options
from agent_pipes.detect.registry import DETECTORS
from agent_pipes.scope.command_patterns import DeniedCommands
from agent_pipes.scope.globs import PathPatterns, place
from agent_pipes.scope.host_patterns import HostPatterns
from agent_pipes.scope.paths import absolute
from agent_pipes.scope.policy import PolicyError
from agent_pipes.scope.policy_file import load_policy
from agent_pipes.sessions import discovery
from agent_pipes.shell import command_line, normalize, parse

FIXTURES = Path(__file__).resolve().parent.parent / "agent_pipes" / "data" / "examples"

SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
VALUE = st.recursive(
    SCALAR,
    lambda inside: (
        st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=8), inside, max_size=3)
    ),
    max_leaves=8,
)
BYTES = st.binary(max_size=60)


def recorded(*patterns: str) -> list[bytes]:
    """The lines of fixtures: what inputs are made from that get further than the first check."""
    return [
        each
        for pattern in patterns
        for path in sorted(FIXTURES.glob(pattern))
        if path.is_file()
        for each in path.read_bytes().splitlines()
        if each.strip()
    ]


def read(lines: list[bytes]) -> list[dict[str, Any]]:
    """The objects on these lines; what a fixture holds broken on purpose is left out."""
    found = []
    for each in lines:
        with contextlib.suppress(ValueError):
            found += objects(each)
    return found


EVENTS = recorded("*.ndjson")
SESSIONS = {
    name: read(recorded(*patterns))
    for name, patterns in {
        "claude": ("claude/**/*.jsonl",),
        "codex": ("codex/**/*.jsonl",),
        "copilot": ("copilot/**/*.jsonl",),
        "gemini": ("gemini/**/*.jsonl",),
    }.items()
}


@st.composite
def torn(draw: st.DrawFn, lines: list[bytes]) -> bytes:
    """A real line with something cut out of it, and something else put there."""
    line = draw(st.sampled_from(lines))
    start = draw(st.integers(0, len(line)))
    return line[:start] + draw(BYTES) + line[start + draw(st.integers(0, 40)) :]


@st.composite
def bent(draw: st.DrawFn, records: list[dict[str, Any]]) -> dict[str, Any]:
    """A real record with up to three of its values, wherever they stand, replaced by others."""
    record = json.loads(json.dumps(draw(st.sampled_from(records))))
    for _ in range(draw(st.integers(0, 3))):
        at: Any = record
        while True:
            keys = list(at) if isinstance(at, dict) else list(range(len(at)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(at[key], (dict, list)) and at[key] and draw(st.booleans()):
                at = at[key]
                continue
            at[key] = draw(VALUE)
            break
    return record


def parser(line: bytes) -> None:
    try:
        found = list(objects(line))
    except ValueError:
        found = [{}]
    for fields in found:
        event = Event(line, fields)
        assert (
            type(event.type),
            type(event.time),
            type(event.session),
            type(event.id),
            type(event.parent),
            type(event.data),
        ) == (str, float, str, str, str, dict)
        assert event.agent == event.text("agent_id") and not isinstance(event.number("count"), bool)
        assert b"\n" not in dumps(fields)


def translator(name: str) -> Callable[[list[dict[str, Any]]], None]:
    def translate(records: list[dict[str, Any]]) -> None:
        translator = agent_named(name).translator()
        # As its line is read: not every number that Python has gets so far.
        for record in (found for each in records for found in objects(json.dumps(each).encode())):
            discovery.recognised(record)
            for fields in translator.translate(record, 1_795_359_278.0, "session.jsonl"):
                assert isinstance(fields["event_type"], str) and b"\n" not in dumps(fields)
        for fields in translator.end():
            assert isinstance(fields["event_type"], str)

    return translate


def config_file(content: bytes) -> None:
    PLACE.write_bytes(content)
    with contextlib.suppress(click.UsageError):
        values, off = config.load(PLACE, OPTIONS, DETECTORS)
        assert off <= set(DETECTORS) and set(values) <= {option.key for option in OPTIONS}


def policy_file(content: bytes) -> None:
    PLACE.write_bytes(content)
    with contextlib.suppress(PolicyError):
        load_policy(PLACE)


def matcher(asked: tuple[list[str], list[str], str, str]) -> None:
    patterns, hosts, path, host = asked
    with contextlib.suppress(ValueError, re.error):
        assert isinstance(
            PathPatterns(patterns, wide=True).match(
                place(absolute(path, "/home/dev/proj"), ["/home/dev/proj"]), "/home/dev/proj"
            ),
            str,
        )
    with contextlib.suppress(ValueError, re.error):
        assert isinstance(HostPatterns(hosts).match(host), str)
    with contextlib.suppress(ValueError, re.error):
        denied = DeniedCommands(patterns)
        for command in parse(path):
            assert not command.words or isinstance(denied.match(command), str)
            assert not command.words or isinstance(denied.may_match(command), str)
        assert isinstance(denied.phrase_in(path), str)


def limits(value: Any) -> None:
    for kind in (COUNT, DURATION, DOLLARS, SIZE):
        with contextlib.suppress(click.BadParameter):
            number = kind.convert(value, None, None)
            assert 0 <= number < 1 << 41
            if kind is DURATION and number:
                assert (
                    abs(
                        float(DURATION.convert(format_duration(round(number)) or "0", None, None))
                        - round(number)
                    )
                    <= 1
                )


def shell(text: str) -> None:
    command_line(text)
    normalize(text)
    for command in parse(text):
        str(command)
    assert all(char.isprintable() or char in "\u200d\ufe0f" for char in escape(text))


PLACE = Path(tempfile.mkdtemp()) / "file.json"
OPTIONS = config_options()
CONFIGS = [
    b'{"watchers": {"retry": {"max": 3, "alert": ["kill"]}, "cost": {"max_dollars": 1.5}, "loop": false}, "webhook": {"url": "https://example.invalid/x"}}'
]
POLICIES = [
    b'{"files": {"write": {"allow": ["src/**"], "deny": ["*.lock", "deploy/**"]}}, "commands": {"deny": ["rm *"]}}',
    (FIXTURES / "scope.json").read_bytes(),
]
PIECE = st.sampled_from(
    [
        "*",
        "**",
        "?",
        "[a-z]",
        "[!a]",
        "{a,b}",
        "/",
        "..",
        ".",
        "~",
        "src",
        "a b",
        "\\",
        "$HOME",
        "é",
        "[",
        "!",
        ":443",
        "*.example.com",
        "::1",
        "\0",
    ]
)
GLOB = st.lists(PIECE | st.text(max_size=4), max_size=6).map("".join)
DIGITS = st.text("0123456789.eE+-_$smhdwKMG٣ off", max_size=12)
WORDS = st.lists(
    st.sampled_from(
        [
            "cd /x",
            "&&",
            "|",
            ";",
            "(",
            ")",
            "{",
            "}",
            "$(",
            "`",
            "'",
            '"',
            "<<EOF\n",
            "EOF\n",
            ">",
            "2>&1",
            "$((",
            "))",
            "\\",
            "\n",
            "if",
            "then",
            "fi",
            "for",
            "do",
            "done",
            "case",
            "esac",
            " ",
            "rm -rf",
            "sudo",
            "env A=1",
            "bash -c",
            "${x:-",
            "$'\\x41'",
            "#",
            "&",
        ]
    )
    | st.text(max_size=5),
    max_size=12,
).map(" ".join)

TARGETS: dict[str, tuple[Callable[[Any], None], st.SearchStrategy[Any]]] = {
    "parser": (parser, BYTES | torn(EVENTS)),
    **{
        name: (translator(name), st.lists(bent(records), max_size=4))
        for name, records in SESSIONS.items()
    },
    "config": (
        config_file,
        BYTES
        | torn(CONFIGS)
        | bent([json.loads(each) for each in CONFIGS]).map(
            lambda found: json.dumps(found).encode()
        ),
    ),
    "policy": (
        policy_file,
        BYTES
        | torn(POLICIES)
        | bent([json.loads(each) for each in POLICIES]).map(
            lambda found: json.dumps(found).encode()
        ),
    ),
    "matcher": (
        matcher,
        st.tuples(st.lists(GLOB, max_size=4), st.lists(GLOB, max_size=4), GLOB, GLOB),
    ),
    "limits": (limits, DIGITS | VALUE),
    "shell": (shell, WORDS | st.text(max_size=80)),
}


def fuzz(name: str, seconds: float) -> int:
    """Try one target for a time, on equal inputs; raise its error on the smallest one."""
    target, inputs_of = TARGETS[name]
    tried, until = 0, time.monotonic() + seconds
    options = settings(
        max_examples=200, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    while time.monotonic() < until:
        seed(tried)(options(given(inputs_of)(lambda given: target(given))))()
        tried += 200
    return tried


# By chance: the same inputs, made without hypothesis.

NUMBERS = [
    0,
    1,
    -1,
    1.5,
    -0.0,
    1e308,
    2**63,
    2**64,
    10**30,
    10**400,
    float("nan"),
    float("inf"),
    True,
    False,
    None,
]
TEXTS = [
    "",
    "x",
    "é\ud83d",
    "\x1b[2J",
    "\0",
    "../..",
    "/",
    "~",
    "$(x)",
    "a" * 300,
    "2026-11-22T10:00:00Z",
    "toolu_1",
    "Bash",
    "user",
    "assistant",
]


def chance_value(chance: random.Random, depth: int = 2) -> Any:
    kind = chance.randrange(6 if depth else 4)
    if kind < 2:
        return chance.choice(NUMBERS)
    if kind < 4:
        return chance.choice(TEXTS)
    inside = [chance_value(chance, depth - 1) for _ in range(chance.randrange(3))]
    return inside if kind == 4 else {chance.choice(TEXTS): each for each in inside}


def chance_bytes(chance: random.Random) -> bytes:
    return chance.randbytes(chance.randrange(60))


def chance_torn(chance: random.Random, lines: list[bytes]) -> bytes:
    line = chance.choice(lines)
    for _ in range(chance.randrange(1, 4)):
        start = chance.randrange(len(line) + 1)
        line = (
            line[:start]
            + (
                chance_bytes(chance)
                if chance.random() < 0.5
                else chance.choice(lines)[start : start + 40]
            )
            + line[start + chance.randrange(40) :]
        )
    return line


def chance_bent(chance: random.Random, records: list[dict[str, Any]]) -> dict[str, Any]:
    record = json.loads(json.dumps(chance.choice(records)))
    for _ in range(chance.randrange(4)):
        at: Any = record
        while keys := (list(at) if isinstance(at, dict) else range(len(at))):
            key = chance.choice(keys)
            if isinstance(at[key], (dict, list)) and at[key] and chance.random() < 0.7:
                at = at[key]
                continue
            if isinstance(at, dict) and chance.random() < 0.1:
                del at[key]
            else:
                at[key] = chance_value(chance)
            break
    return record


def chance_text(chance: random.Random, pieces: list[str], most: int) -> str:
    return "".join(
        chance.choice(pieces)
        if chance.random() < 0.8
        else chr(chance.choice((chance.randrange(128), chance.randrange(0x3000))))
        for _ in range(chance.randrange(most))
    )


def chance_file(examples: list[bytes]) -> Callable[[random.Random], bytes]:
    documents = [json.loads(each) for each in examples]
    return lambda chance: (
        chance_torn(chance, examples)
        if chance.random() < 0.4
        else json.dumps(chance_bent(chance, documents)).encode()
    )


PIECES = [
    "*",
    "**",
    "?",
    "[a-z]",
    "[!a]",
    "{a,b}",
    "/",
    "..",
    ".",
    "~",
    "src",
    "a b",
    "\\",
    "$HOME",
    "é",
    "[",
    "!",
    ":443",
    "*.example.com",
    "::1",
    "\0",
]
FIGURES = [*"0123456789.eE+-_$smhdwKMG٣ ", "off", "1h", "30m"]
SHELL = [
    "cd /x",
    "&&",
    "|",
    ";",
    "(",
    ")",
    "{",
    "}",
    "$(",
    "`",
    "'",
    '"',
    "<<EOF\n",
    "EOF\n",
    ">",
    "2>&1",
    "$((",
    "))",
    "\\",
    "\n",
    "if ",
    "then ",
    "fi",
    "for x in ",
    "do ",
    "done",
    "case x in ",
    "esac",
    " ",
    "rm -rf /",
    "sudo ",
    "env A=1 ",
    "bash -c ",
    "${x:-",
    "$'\\x41'",
    "#",
    "&",
    "<(",
    "[[ ",
    "]]",
    "!",
]

CHANCE: dict[str, Callable[[random.Random], Any]] = {
    "parser": lambda chance: (
        chance_torn(chance, EVENTS) if chance.random() < 0.7 else chance_bytes(chance)
    ),
    **{
        name: (
            lambda chance, records=records: [
                chance_bent(chance, records) for _ in range(chance.randrange(1, 5))
            ]
        )
        for name, records in SESSIONS.items()
    },
    "config": chance_file(CONFIGS),
    "policy": chance_file(POLICIES),
    "matcher": lambda chance: (
        [chance_text(chance, PIECES, 7) for _ in range(chance.randrange(4))],
        [chance_text(chance, PIECES, 7) for _ in range(chance.randrange(4))],
        chance_text(chance, PIECES, 9),
        chance_text(chance, PIECES, 9),
    ),
    "limits": lambda chance: (
        chance_value(chance) if chance.random() < 0.2 else chance_text(chance, FIGURES, 10)
    ),
    "shell": lambda chance: chance_text(chance, SHELL, 16),
}


def by_chance(name: str, inputs: int) -> None:
    """Try one target on so many inputs, the same each time. Says the input on which it raises."""
    target, make, chance = TARGETS[name][0], CHANCE[name], random.Random(name)
    for number in range(inputs):
        made = make(chance)
        try:
            target(made)
        except Exception as error:
            error.add_note(f"{name}: input {number}: {made!r}")
            raise


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    for each in sys.argv[2:] or TARGETS:
        began = time.monotonic()
        by_chance(each, count)
        print(
            f"{each}: {count} inputs in {time.monotonic() - began:.0f} s, nothing found", flush=True
        )
