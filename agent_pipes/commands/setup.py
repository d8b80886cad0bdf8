"""agent-strace setup: the settings by which an agent calls the hook; printed, or merged into the agent's own file."""

import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from agent_pipes.core.filter import Command, version_option
from agent_pipes.core.jsonl import Fields
from agent_pipes.core.stderr import warn
from agent_pipes.hooks.payload import AGENTS

SECONDS = 10
"""How long an agent waits for a hook at most."""

_CLAUDES = (
    "SessionStart",
    "UserPromptSubmit",
    "PreToolUse",
    "PostToolUse",
    "PostToolUseFailure",
    "SubagentStart",
    "SubagentStop",
    "Stop",
    "StopFailure",
    "SessionEnd",
)
_CODEXES = (
    "SessionStart",
    "UserPromptSubmit",
    "PreToolUse",
    "PostToolUse",
    "SubagentStart",
    "SubagentStop",
    "Stop",
    "SessionEnd",
)
_GEMINIS = ("SessionStart", "BeforeAgent", "BeforeTool", "AfterTool", "AfterAgent", "SessionEnd")
_COPILOTS = (
    "sessionStart",
    "userPromptSubmitted",
    "preToolUse",
    "postToolUse",
    "postToolUseFailure",
    "agentStop",
    "sessionEnd",
    "errorOccurred",
)
_CURSORS = (
    "sessionStart",
    "beforeSubmitPrompt",
    "preToolUse",
    "postToolUse",
    "postToolUseFailure",
    "subagentStart",
    "subagentStop",
    "afterAgentResponse",
    "sessionEnd",
)


@dataclass(frozen=True)
class Settings:
    """How one agent is told to call a hook.

    home:    the directory of its settings.
    file:    the settings, in there.
    project: those of one project, in the project's directory.
    events:  what it calls a hook for.
    entry:   what stands under an event, made from the command.
    rest:    what must stand beside the hooks.
    note:    what else there is to do, for people.
    """

    home: Path
    file: str
    project: str
    events: tuple[str, ...]
    entry: Callable[[str], Fields]
    rest: Fields = field(default_factory=dict)
    note: str = ""

    def wanted(self, command: str) -> Fields:
        """The settings that call `command`, and nothing else."""
        return {**self.rest, "hooks": {event: [self.entry(command)] for event in self.events}}


def settings_of(agent: str) -> Settings:
    """How `agent` is told."""
    match agent:
        case "claude":
            return Settings(
                _home("CLAUDE_CONFIG_DIR", ".claude"),
                "settings.json",
                ".claude/settings.local.json",
                _CLAUDES,
                _matched,
            )
        case "codex":
            note = (
                "Codex runs a new hook only once you have said that you trust it: see /hooks there"
            )
            return Settings(
                _home("CODEX_HOME", ".codex"),
                "hooks.json",
                ".codex/hooks.json",
                _CODEXES,
                _matched,
                note=note,
            )
        case "gemini":
            home = Path(os.environ.get("GEMINI_CLI_HOME") or Path.home()) / ".gemini"
            return Settings(
                home,
                "settings.json",
                ".gemini/settings.json",
                _GEMINIS,
                _named,
                {"hooksConfig": {"enabled": True}},
            )
        case "copilot":
            ours = "hooks/agent-strace.json"
            return Settings(
                _home("COPILOT_HOME", ".copilot"),
                ours,
                f".github/{ours}",
                _COPILOTS,
                _shelled,
                {"version": 1},
            )
        case _:
            return Settings(
                Path.home() / ".cursor",
                "hooks.json",
                ".cursor/hooks.json",
                _CURSORS,
                _plain,
                {"version": 1},
            )


def _home(variable: str, name: str) -> Path:
    given = os.environ.get(variable)
    return Path(given) if given else Path.home() / name


def _matched(command: str) -> Fields:
    return {"matcher": "", "hooks": [{"type": "command", "command": command, "timeout": SECONDS}]}


def _named(command: str) -> Fields:
    return {
        "matcher": "",
        "hooks": [
            {
                "type": "command",
                "name": "agent-strace",
                "command": command,
                "timeout": SECONDS * 1000,
            }
        ],
    }


def _shelled(command: str) -> Fields:
    return {"type": "command", "bash": command, "timeoutSec": SECONDS}


def _plain(command: str) -> Fields:
    return {"command": command, "timeout": SECONDS}


@click.command("setup", cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--agent",
    type=click.Choice(list(AGENTS)),
    help="Whose settings.  [default: those of each agent that is set up here]",
)
@click.option(
    "--guard",
    is_flag=True,
    help="Have the hook deny what is out of scope, and everything once the breaker has tripped.",
)
@click.option(
    "--project", is_flag=True, help="The settings of this directory, instead of the user's own."
)
@click.option(
    "--write", is_flag=True, help="Merge them into the agent's settings, of which a copy is kept."
)
def setup(agent: str | None, guard: bool, project: bool, write: bool) -> int:
    """Print the settings by which an agent calls the hook, or add them with --write.

    What else the settings hold is left as it is. Where they hold a hook of agent-strace already, it is replaced.
    """
    command = _command(guard)
    for name in [agent] if agent else _present():
        found = settings_of(name)
        path = Path(found.project) if project else found.home / found.file
        wanted = found.wanted(command)
        if write:
            merge(path, wanted)
        else:
            flags = "".join(
                f" --{flag}" for flag, given in (("project", project), ("guard", guard)) if given
            )
            warn(
                f"to be merged into {path}, as 'agent-strace setup --agent {name}{flags} --write' does:"
            )
            click.echo(json.dumps(wanted, indent=2))
        if found.note:
            warn(found.note)
    return 0


setup.params.append(version_option())


def _present() -> list[str]:
    """The agents whose settings have a directory here."""
    names = [name for name in AGENTS if settings_of(name).home.is_dir()]
    if not names:
        raise click.UsageError(
            f"none of the agents has settings here; name one with --agent: {', '.join(AGENTS)}"
        )
    return names


def _command(guard: bool) -> str:
    """The command line of the hook. It names us by our path: an agent need not have the same PATH as its user's shell."""
    called = sys.argv[0] if os.sep in sys.argv[0] else shutil.which(sys.argv[0]) or sys.argv[0]
    return shlex.join(
        [
            os.path.abspath(called) if os.sep in called else called,
            "hook",
            *(["--guard"] if guard else []),
        ]
    )


def calls(settings: Settings, path: Path) -> tuple[list[str], bool]:
    """The command lines by which the settings at `path` call our hook, and whether --write would leave these as they are.

    Raises click.UsageError as `merge` does.
    """
    content = _content(path, path)
    document = {} if content is None else _parsed(path, content)
    found = sorted(set(_calls(document.get("hooks"))))
    return found, len(found) == 1 and _merged(path, document, settings.wanted(found[0])) == document


def _calls(value: Any) -> Iterator[str]:
    for each in (
        value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    ):
        yield from _calls(each)
    if isinstance(value, dict):
        yield from (
            said
            for key in ("command", "bash")
            if isinstance(said := value.get(key), str) and _OURS.search(said)
        )


def merge(path: Path, wanted: Fields) -> None:
    """Put `wanted` into the settings at `path`, and keep a copy of what they were.

    Raises click.UsageError where they are not what settings look like: they are left alone then.
    """
    # Settings are often a link into a directory under version control: it is that file that changes.
    real = Path(os.path.realpath(path))
    before = _content(path, real)
    document = {} if before is None else _parsed(path, before)
    after = _written(_merged(path, document, wanted), before)
    if after == before:
        warn(f"{path}: nothing to change")
        return
    real.parent.mkdir(parents=True, exist_ok=True)
    kept = _kept(real, before) if before is not None else None
    new = real.with_name(f".{real.name}.new")
    new.unlink(missing_ok=True)
    with open(
        os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb"
    ) as file:
        file.write(after)
        file.flush()
        os.fsync(file.fileno())
        if before is not None:
            os.fchmod(file.fileno(), real.stat().st_mode & 0o777)
    if _content(path, real) != before:
        new.unlink()
        raise click.UsageError(
            f"{path} has been changed by someone else at this moment, and is left alone: try again"
        )
    new.replace(real)
    warn(f"{path}: hooks added" + (f"; the settings as they were are in {kept}" if kept else ""))


def _content(path: Path, real: Path) -> bytes | None:
    try:
        return real.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise click.UsageError(f"{path}: {error.strerror}") from None


def _parsed(path: Path, content: bytes) -> Fields:
    try:
        document = (
            json.loads(content.decode("utf-8-sig"), object_pairs_hook=_once)
            if content.strip()
            else {}
        )
    except json.JSONDecodeError as error:
        raise click.UsageError(
            f"{path}:{error.lineno}:{error.colno}: not JSON: {error.msg}; nothing is changed, add the hooks by hand"
        ) from None
    except (ValueError, RecursionError) as error:
        raise click.UsageError(
            f"{path}: {error}; nothing is changed, add the hooks by hand"
        ) from None
    return _object(path, "the settings", document)


def _once(pairs: list[tuple[str, Any]]) -> Fields:
    found: Fields = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r} stands there twice")
        found[key] = value
    return found


def _object(path: Path, where: str, value: Any) -> Fields:
    if not isinstance(value, dict):
        raise click.UsageError(
            f"{path}: {where}: expected an object; nothing is changed, add the hooks by hand"
        )
    return value


def _merged(path: Path, document: Fields, wanted: Fields) -> Fields:
    """The settings with `wanted` in them: our own hook once under each of its events, and nowhere else."""
    merged = {**document}
    for key, value in wanted.items():
        if key == "version":
            merged.setdefault(key, value)
        elif key != "hooks":
            merged[key] = {**_object(path, key, merged.get(key, {})), **value}
    present = _object(path, "hooks", document.get("hooks", {}))
    hooks: Fields = {}
    for event in dict.fromkeys([*present, *wanted["hooks"]]):
        entries = present.get(event, [])
        if not isinstance(entries, list):
            raise click.UsageError(
                f"{path}: hooks.{event}: expected a list; nothing is changed, add the hooks by hand"
            )
        if left := _replaced(entries, wanted["hooks"].get(event, [])):
            hooks[event] = left
        elif event in present and not entries:
            hooks[event] = entries
    return {**merged, "hooks": hooks}


def _replaced(entries: list[Any], ours: list[Fields]) -> list[Any]:
    """The entries of one event with `ours` in the place of the hook of agent-strace that was there, or behind the others."""
    left: list[Any] = []
    for entry in entries:
        others = _without_ours(entry)
        if others is not None:
            left.append(others)
        elif not any(each in left for each in ours):
            left += ours
    return left if any(each in left for each in ours) else left + ours


_OURS = re.compile(r"(^|[\s/'\"])agent-strace['\"]?\s+hook(\s|$)")


def _without_ours(entry: Any) -> Any:
    """An entry without the hooks of agent-strace in it, None where nothing else is in it."""
    if not isinstance(entry, dict):
        return entry
    inner = entry.get("hooks")
    if isinstance(inner, list):
        others = [each for each in inner if _without_ours(each) is not None]
        return (
            entry if len(others) == len(inner) else {**entry, "hooks": others} if others else None
        )
    ours = any(
        isinstance(said := entry.get(key), str) and _OURS.search(said)
        for key in ("command", "bash")
    )
    return None if ours else entry


def _written(document: Fields, before: bytes | None) -> bytes:
    """The settings as JSON, with the indentation and the ending that they had."""
    text = (before or b"").decode("utf-8-sig")
    indented = re.search(r"^([ \t]+)\S", text, re.MULTILINE)
    indent = indented[1] if indented else 2
    end = "\n" if before is None or text.endswith("\n") else ""
    return (json.dumps(document, indent=indent, ensure_ascii=False) + end).encode()


def _kept(real: Path, before: bytes) -> Path:
    """A copy of the settings as they were, under a name that is free."""
    for number in range(1000):
        copy = real.with_name(f"{real.name}.bak{number or ''}")
        try:
            with open(
                os.open(
                    copy,
                    os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC,
                    real.stat().st_mode & 0o700,
                ),
                "wb",
            ) as file:
                file.write(before)
            return copy
        except FileExistsError:
            continue
    raise click.UsageError(f"{real}: a thousand copies of it lie there already; nothing is changed")
