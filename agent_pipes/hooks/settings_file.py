"""An agent's settings file: which of our hooks are in it, and how they are merged into it."""

import json
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from agent_pipes.agents.base_hooks import Hooks
from agent_pipes.core.jsonl import Fields
from agent_pipes.core.stderr import warn
from agent_pipes.core.strict_json import StrictJSON

MAX_BACKUPS = 1000

_OPERATORS = re.compile(r"[|&;<>`$()]")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=.*", re.DOTALL)


class _Number(float):
    """A number that is written as it was read: `1e400` is infinite as a float."""

    text: str

    def __new__(cls, text: str) -> "_Number":
        number = super().__new__(cls, text)
        number.text = text
        return number


def is_ours(command: object) -> bool:
    """Return True if a command line is nothing but a call of our hook."""
    if not isinstance(command, str) or _OPERATORS.search(command):
        return False
    try:
        words = shlex.split(command)
    except ValueError:
        return False
    while words and _ASSIGNMENT.fullmatch(words[0]):
        words.pop(0)
    return len(words) > 1 and os.path.basename(words[0]) == "agent-strace" and words[1] == "hook"


def are_disabled(path: Path) -> bool:
    """Return True if the settings at `path` disable all hooks."""
    try:
        content = _content(path, path)
        return content is not None and _parsed(path, content).get("disableAllHooks") is True
    except click.UsageError:
        return False


def hook_commands(hooks: Hooks, path: Path) -> tuple[list[str], bool]:
    """Return the command lines in `path` that call our hook.

    The second value is False if `setup --write` would change them. Raise click.UsageError if the
    settings cannot be read.
    """
    content = _content(path, path)
    document = {} if content is None else _parsed(path, content)
    found = sorted(set(_commands(document.get("hooks"))))
    if len(found) != 1:
        return found, False
    return found, _merged(path, document, hooks.wanted(found[0])) == document


def _commands(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for each in value:
            yield from _commands(each)
    elif isinstance(value, dict):
        for each in value.values():
            yield from _commands(each)
        for key in ("command", "bash"):
            if is_ours(command := value.get(key)):
                yield str(command)


def settings_at(path: Path) -> Fields:
    """Return the settings at `path`, empty without a file. Raise click.UsageError if unreadable."""
    content = _content(path, path)
    return {} if content is None else _parsed(path, content)


def merge(path: Path, wanted: Fields, what: str = "hooks") -> None:
    """Put `wanted` into the settings at `path`, and keep a copy of the former ones.

    what: names it in the message.

    Raise click.UsageError if the settings are not what was expected; they are left alone then.
    """
    # Settings are often a link into a directory under version control: that file is changed.
    real = Path(os.path.realpath(path))
    before = _content(path, real)
    document = {} if before is None else _parsed(path, before)
    after = _serialized(_merged(path, document, wanted), before)
    if after == before:
        warn(f"{path}: nothing to change")
        return
    real.parent.mkdir(parents=True, exist_ok=True)
    copy = _back_up(real, before) if before is not None else None
    new = real.with_name(f".{real.name}.new")
    new.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with open(os.open(new, flags, 0o600), "wb") as file:
        file.write(after)
        file.flush()
        os.fsync(file.fileno())
        if before is not None:
            os.fchmod(file.fileno(), real.stat().st_mode & 0o777)
    if _content(path, real) != before:
        new.unlink()
        raise click.UsageError(f"{path}: changed by another program just now; try again")
    new.replace(real)
    warn(f"{path}: {what} added" + (f"; the former settings are in {copy}" if copy else ""))


def _content(path: Path, real: Path) -> bytes | None:
    try:
        return real.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise click.UsageError(f"{path}: {error.strerror}") from None


def _reader(path: Path) -> StrictJSON:
    def error(message: str) -> click.UsageError:
        return click.UsageError(f"{message}; nothing is changed, add the hooks by hand")

    return StrictJSON(path, error)


def _parsed(path: Path, content: bytes) -> Fields:
    reader = _reader(path)
    try:
        text = content.decode("utf-8-sig")
    except ValueError as error:
        reader.fail("", str(error))
    document = reader.parse(text, parse_float=_Number) if text.strip() else {}
    return reader.mapping("the settings", document)


def _merged(path: Path, document: Fields, wanted: Fields) -> Fields:
    """Return the settings with our hook once under each of its events, and nowhere else."""
    reader = _reader(path)
    merged = {**document}
    for key, value in wanted.items():
        if key == "version":
            merged.setdefault(key, value)
        elif key != "hooks":
            merged[key] = {**reader.mapping(key, merged.get(key, {})), **value}
    present = reader.mapping("hooks", document.get("hooks", {}))
    hooks: Fields = {}
    added = wanted.get("hooks", {})
    for event in dict.fromkeys([*present, *added]):
        entries = present.get(event, [])
        if not isinstance(entries, list):
            reader.fail_expected(f"hooks.{event}", "a list", entries)
        if replaced := _replaced(entries, added.get(event, [])):
            hooks[event] = replaced
        elif event in present and not entries:
            hooks[event] = entries
    return {**merged, "hooks": hooks} if hooks or "hooks" in merged else merged


def _replaced(entries: list[Any], ours: list[Fields]) -> list[Any]:
    """Return one event's entries with `ours` in place of a former hook of ours, else at the end."""
    kept: list[Any] = []
    for entry in entries:
        others = _without_ours(entry)
        if others is not None:
            kept.append(others)
        elif not any(each in kept for each in ours):
            kept += ours
    return kept if any(each in kept for each in ours) else kept + ours


def _without_ours(entry: Any) -> Any:
    """Return an entry without our hooks, None if nothing else is in it."""
    if not isinstance(entry, dict):
        return entry
    inner = entry.get("hooks")
    if isinstance(inner, list):
        others = [each for each in inner if _without_ours(each) is not None]
        if len(others) == len(inner):
            return entry
        return {**entry, "hooks": others} if others else None
    return None if any(is_ours(entry.get(key)) for key in ("command", "bash")) else entry


def _serialized(document: Fields, before: bytes | None) -> bytes:
    """Return the settings as JSON, with their former indentation and ending."""
    text = (before or b"").decode("utf-8-sig")
    indented = re.search(r"^([ \t]+)\S", text, re.MULTILINE)
    indent = indented[1] if indented else 2
    end = "\n" if before is None or text.endswith("\n") else ""
    pad = indent if isinstance(indent, str) else " " * indent
    return (_dumped(document, pad, "\n") + end).encode()


def _dumped(value: Any, pad: str, line: str) -> str:
    """Return `value` as indented JSON; `line` is a newline with the current indentation."""
    inner = line + pad
    if isinstance(value, dict) and value:
        items = [f"{_dumped(key, pad, '')}: {_dumped(value[key], pad, inner)}" for key in value]
        return "{" + inner + f",{inner}".join(items) + line + "}"
    if isinstance(value, list) and value:
        items = [_dumped(each, pad, inner) for each in value]
        return "[" + inner + f",{inner}".join(items) + line + "]"
    return value.text if isinstance(value, _Number) else json.dumps(value, ensure_ascii=False)


def _back_up(real: Path, content: bytes) -> Path:
    """Write a copy of the settings under a free name, and return its path."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    for number in range(MAX_BACKUPS):
        copy = real.with_name(f"{real.name}.bak{number or ''}")
        try:
            with open(os.open(copy, flags, real.stat().st_mode & 0o700), "wb") as file:
                file.write(content)
        except FileExistsError:
            continue
        return copy
    raise click.UsageError(f"{real}: {MAX_BACKUPS} copies of it exist; nothing is changed")
