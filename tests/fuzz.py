"""Functions that must not crash on any input, each tried on inputs that are made up.

    python tests/fuzz.py [INPUTS] [TARGET]     a million inputs of each target, or so many

These are made by chance, the same each time, from real ones where that leads further than the first check: ten
thousand a second. `make test` tries some thousands of them.
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
            if command.words:
                covers, is_sure = denied.match(command)
                assert isinstance(covers, str) and is_sure <= bool(covers)
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
NUMBERS = [
    0, 1, -1, 1.5, -0.0, 1e308, 2**63, 2**64, 10**30, 10**400, float("nan"), float("inf"), True, False, None,
]  # fmt: skip
TEXTS = [
    "", "x", "é\ud83d", "\x1b[2J", "\0", "../..", "/", "~", "$(x)", "a" * 300, "2026-11-22T10:00:00Z", "toolu_1", "Bash", "user", "assistant",
]  # fmt: skip


def any_value(chance: random.Random, depth: int = 2) -> Any:
    kind = chance.randrange(6 if depth else 4)
    if kind < 2:
        return chance.choice(NUMBERS)
    if kind < 4:
        return chance.choice(TEXTS)
    inside = [any_value(chance, depth - 1) for _ in range(chance.randrange(3))]
    return inside if kind == 4 else {chance.choice(TEXTS): each for each in inside}


def any_bytes(chance: random.Random) -> bytes:
    return chance.randbytes(chance.randrange(60))


def torn(chance: random.Random, lines: list[bytes]) -> bytes:
    line = chance.choice(lines)
    for _ in range(chance.randrange(1, 4)):
        start = chance.randrange(len(line) + 1)
        line = (
            line[:start]
            + (
                any_bytes(chance)
                if chance.random() < 0.5
                else chance.choice(lines)[start : start + 40]
            )
            + line[start + chance.randrange(40) :]
        )
    return line


def bent(chance: random.Random, records: list[dict[str, Any]]) -> dict[str, Any]:
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
                at[key] = any_value(chance)
            break
    return record


def any_text(chance: random.Random, pieces: list[str], most: int) -> str:
    return "".join(
        chance.choice(pieces)
        if chance.random() < 0.8
        else chr(chance.choice((chance.randrange(128), chance.randrange(0x3000))))
        for _ in range(chance.randrange(most))
    )


def file_like(examples: list[bytes]) -> Callable[[random.Random], bytes]:
    documents = [json.loads(each) for each in examples]
    return lambda chance: (
        torn(chance, examples)
        if chance.random() < 0.4
        else json.dumps(bent(chance, documents)).encode()
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
    "cd /x", "&&", "|", ";", "(", ")", "{", "}", "$(", "`", "'", '"', "<<EOF\n", "EOF\n", ">", "2>&1", "$((", "))", "\\", "\n", "if ", "then ", "fi", "for x in ", "do ", "done", "case x in ", "esac", " ", "rm -rf /", "sudo ", "env A=1 ", "bash -c ", "${x:-", "$'\\x41'", "#", "&", "<(", "[[ ", "]]", "!",
]  # fmt: skip

TARGETS: dict[str, tuple[Callable[[Any], None], Callable[[random.Random], Any]]] = {
    "parser": (
        parser,
        lambda chance: torn(chance, EVENTS) if chance.random() < 0.7 else any_bytes(chance),
    ),
    **{
        name: (
            translator(name),
            lambda chance, records=records: [
                bent(chance, records) for _ in range(chance.randrange(1, 5))
            ],
        )
        for name, records in SESSIONS.items()
    },
    "config": (config_file, file_like(CONFIGS)),
    "policy": (policy_file, file_like(POLICIES)),
    "matcher": (
        matcher,
        lambda chance: (
            [any_text(chance, PIECES, 7) for _ in range(chance.randrange(4))],
            [any_text(chance, PIECES, 7) for _ in range(chance.randrange(4))],
            any_text(chance, PIECES, 9),
            any_text(chance, PIECES, 9),
        ),
    ),
    "limits": (
        limits,
        lambda chance: (
            any_value(chance) if chance.random() < 0.2 else any_text(chance, FIGURES, 10)
        ),
    ),
    "shell": (shell, lambda chance: any_text(chance, SHELL, 16)),
}
"""Functions by name, and what makes an input of each."""


def fuzz(name: str, inputs: int) -> None:
    """Try one target on so many inputs, the same each time. Says the input on which it raises."""
    (target, make), chance = TARGETS[name], random.Random(name)
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
        fuzz(each, count)
        print(
            f"{each}: {count} inputs in {time.monotonic() - began:.0f} s, nothing found", flush=True
        )
