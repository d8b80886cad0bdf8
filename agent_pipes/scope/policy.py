"""What an agent may read, write, run and reach: `.agent-scope.json`, and judging by it.

    {"files":    {"read":  {"allow": ["src/**"], "deny": [".env"]},
                  "write": {"allow": ["src/**"], "deny": ["deploy/**"]}},
     "commands": {"allow": ["pytest", "git status"], "deny": ["git push", "rm -rf *"]},
     "network":  {"deny_all": true, "allow": ["localhost", "*.example.org"]}}

What is denied is denied, whatever allows it; a list of what is allowed makes everything else denied. How patterns
match stands in `agent_pipes/globs.py` and in trace-detect-scope(1).
"""

import json
import os
import re
import stat
from collections.abc import Callable
from posixpath import basename, dirname, join, normpath
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from agent_pipes.core.stderr import program_name, write_line
from agent_pipes.scope import About, Use
from agent_pipes.scope.globs import CommandPatterns, HostPatterns, PathPatterns, Place, place
from agent_pipes.shell import Command
from agent_pipes.shell.commands import MAX_PATH_BYTES

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")

_SYSTEM_DIRECTORIES = (
    "/bin",
    "/sbin",
    "/usr/bin",
    "/usr/sbin",
    "/usr/local/bin",
    "/opt/homebrew/bin",
)
LARGEST = 16 << 20
"""Bytes of the largest policy."""

_LINE_MAX = 1 << 16

_FREE = frozenset(
    [
        "cd",
        "pushd",
        "popd",
        "echo",
        "printf",
        "true",
        "false",
        ":",
        "test",
        "[",
        "[[",
        "pwd",
        "exit",
        "return",
        "break",
        "continue",
        "set",
        "unset",
        "export",
        "declare",
        "typeset",
        "local",
        "readonly",
        "shift",
        "wait",
        "read",
        "trap",
    ]
)
"""Builtins of the shell that run nothing: a list of allowed commands need not hold them."""


class PolicyError(Exception):
    """A policy that cannot be enforced as it stands. The message names the file, the key and what was expected."""


class Verdict(NamedTuple):
    """What a policy says of one thing. `rule` names what it breaks ("" for nothing), `unjudged` what could not be told."""

    rule: str = ""
    unjudged: str = ""


FINE = Verdict()


class Names(NamedTuple):
    """A file or directory, by the name that was given and by the one that is behind its symbolic links, both absolute."""

    path: str
    real: str

    @classmethod
    def of(cls, path: str) -> "Names":
        """What the absolute `path` is now."""
        return cls(normpath(path), real(path))


class _Lists(NamedTuple):
    """What is denied and what is allowed of one kind of thing; None for a list that is not there."""

    deny: PathPatterns | None
    allow: PathPatterns | None


class Policy:
    """A policy as it was when it was loaded, from `path`. Raises PolicyError."""

    def __init__(self, path: "str | Path", content: dict[str, Any]) -> None:
        self.path = path
        self.name = str(path)
        files, commands, network = (
            content.get(key, {}) for key in ("files", "commands", "network")
        )
        self._files = {
            access: self._lists(files.get(access, {}), f"files.{access}")
            for access in ("read", "write")
        }
        self._denied = self._made(CommandPatterns, commands.get("deny") or [], "commands.deny")
        flags = {
            _with_flags_sorted(pattern.split()): pattern for pattern in commands.get("deny") or []
        }
        self._denied_by_flags, self._patterns_of_flags = CommandPatterns(list(flags)), flags
        self._allowed = (
            self._made(CommandPatterns, commands["allow"], "commands.allow")
            if "allow" in commands
            else None
        )
        self._hosts = self._made(HostPatterns, network.get("allow", []), "network.allow")
        self.deny_all = bool(network.get("deny_all", "allow" in network))
        covered: dict[About, bool] = {
            "read": any(self._files["read"]),
            "write": any(self._files["write"]),
            "command": bool(commands.get("deny")) or self._allowed is not None,
            "network": self.deny_all,
        }
        self._covered = frozenset(about for about, is_covered in covered.items() if is_covered)
        if not self._covered:
            raise refused(
                path,
                "",
                "nothing to enforce: expected a list under files.read, files.write or commands, or network.deny_all",
            )

    def _lists(self, lists: dict[str, Any], key: str) -> _Lists:
        deny = (
            self._made(lambda patterns: _paths(patterns, wide=True), lists["deny"], f"{key}.deny")
            if lists.get("deny")
            else None
        )
        allow = (
            self._made(
                lambda patterns: _paths(patterns, wide=False), lists["allow"], f"{key}.allow"
            )
            if "allow" in lists
            else None
        )
        return _Lists(deny, allow)

    def _made(self, kind: Callable[[list[str]], T], patterns: list[str], key: str) -> T:
        """The patterns of one list; an error is said of the one that it is in."""
        try:
            return kind(patterns)
        except (ValueError, re.error):
            for at, pattern in enumerate(patterns):
                try:
                    kind([pattern])
                except (ValueError, re.error) as error:
                    raise refused(
                        self.path, f"{key}[{at}]", f"{error}, found {_shown(pattern)}"
                    ) from None
            raise

    def covers(self, *about: About) -> bool:
        """Whether there is a rule about any of these."""
        return not self._covered.isdisjoint(about)

    def path_verdict(self, use: Use, names: Names, root: Names) -> Verdict:
        """What it says of `use`, whose path is that of `names`, in a session whose directory is `root`."""
        lists, key = self._files[use.access], f"files.{use.access}"
        if not lists.deny and not lists.allow:
            return FINE
        places = [place(name, root) for name in dict.fromkeys(names)]
        for where in places if lists.deny else ():
            pattern = _denied(lists.deny, where, use, root.path) if lists.deny else ""
            if pattern:
                return Verdict(f'denied by {key}.deny "{pattern}"')
        if lists.allow:
            where = places[-1]
            if not (
                lists.allow.match(where, root.path)
                or (use.extent and lists.allow.match(where.within(), root.path))
            ):
                if use.glob and lists.allow.possible(place(_fixed(names.real), root), root.path):
                    return Verdict(unjudged="glob")
                return Verdict(f"outside {key}.allow")
        if lists.deny and use.glob:
            return Verdict(unjudged="glob")
        if (
            lists.deny
            and use.extent == "all"
            and any(lists.deny.possible(where, root.path) for where in places)
        ):
            return Verdict(unjudged="tree")
        return FINE

    def command_verdict(self, command: Command) -> Verdict:
        """What it says of one simple command."""
        program = command.words[0].text
        if self._denied.begins(program[:_LINE_MAX]) or (
            "/" in program and self._denied.begins(basename(program)[:_LINE_MAX])
        ):
            line = str(command)[:_LINE_MAX]
            short = (
                " ".join([basename(program), *command.argv[1:]])[:_LINE_MAX]
                if "/" in program
                else line
            )
            flags = self._denied_by_flags.match(_with_flags_sorted(short.split(" ")))
            pattern = (
                self._denied.match(line)
                or self._denied.match(short)
                or self._patterns_of_flags.get(flags, "")
            )
            if pattern:
                return Verdict(f'denied by commands.deny "{pattern}"')
        if (
            self._allowed is None
            or command.is_wrapper
            or command.words[0].unresolved
            or command.name in _FREE
            or _only_cuts(command)
        ):
            return FINE
        runner: Command | None = command
        while runner:
            line = str(runner)[:_LINE_MAX]
            where = dirname(runner.words[0].text)
            if where in _SYSTEM_DIRECTORIES:
                line = line[len(where) + 1 :]
            if self._allowed.match(line):
                return FINE
            runner = runner.outer
        return Verdict("outside commands.allow")

    def host_verdict(self, host: str) -> Verdict:
        """What it says of reaching `host`."""
        if not self.deny_all or self._hosts.match(host):
            return FINE
        return Verdict(
            "outside network.allow" if self._hosts.patterns else "denied by network.deny_all"
        )


def _denied(patterns: PathPatterns, where: Place, use: Use, root: str) -> str:
    return (
        patterns.match(where, root)
        or (patterns.match(where.within(), root) if use.extent else "")
        or (patterns.named(where, root) if use.extent == "all" and use.access == "write" else "")
    )


def _fixed(path: str) -> str:
    """The directory of a shell's pattern that is no pattern itself."""
    parts = path.split("/")
    first = next((at for at, part in enumerate(parts) if re.search(r"[*?\[{]", part)), len(parts))
    return "/".join(parts[:first]) or "/"


def _only_cuts(command: Command) -> bool:
    """`| head`, `| tail` and `| cat` of what comes in: they run nothing and reach nothing."""
    plain = all(word.startswith("-") or word.isdigit() for word in command.argv[1:])
    return command.piped and command.name in ("head", "tail", "cat") and plain


def _with_flags_sorted(words: list[str]) -> str:
    """The words of a command with its leading short options as one, so that `-f -r` is `-rf`."""
    at = 1
    while at < len(words) and re.fullmatch(r"-[A-Za-z]+", words[at]):
        at += 1
    letters = "".join(sorted(set("".join(word[1:] for word in words[1:at]))))
    return " ".join([*words[:1], *([f"-{letters}"] if letters else []), *words[at:]])


# ── Paths ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def absolute(path: str, *directories: str) -> str:
    """`path` from the last of `directories`, each of which is meant from the one before it; `~` is a home directory."""
    if path.startswith("/"):
        return path
    whole = ""
    for part in (*directories, path):
        whole = join(whole, _at_home(part) if part.startswith("~") else part)
    return whole


def _at_home(path: str) -> str:
    try:
        return os.path.expanduser(path)
    except ValueError:
        return path  # No user has such a name.


def real(path: str) -> str:
    """The path behind the symbolic links of the part of `path` that exists."""
    if len(path) > MAX_PATH_BYTES:
        return normpath(path)  # No system call takes it, so there is nothing behind it.
    try:
        # Most paths have no links: to see that takes less than realpath does, a third where the path is not there yet.
        return path if _has_no_link(path) else os.path.realpath(path)
    except (OSError, ValueError):
        return normpath(path)


def _has_no_link(path: str) -> bool:
    """Whether `path` is absolute, normalised and without symbolic links; False also where that cannot be told."""
    if not path.startswith("/") or path.startswith("//") or path != normpath(path):
        return False
    part = ""
    for name in path[1:].split("/"):
        part += "/" + name
        try:
            if stat.S_ISLNK(os.lstat(part).st_mode):
                return False
        except (FileNotFoundError, NotADirectoryError):
            return True  # Below what is not there lies nothing.
        except OSError:
            return False
    return True


def _paths(patterns: list[str], *, wide: bool) -> PathPatterns:
    """The patterns, and what is now behind the symbolic links in the absolute ones."""
    made = PathPatterns(patterns, wide=wide)
    for pattern in patterns:
        text = _at_home(pattern) if pattern.startswith("~") else pattern
        fixed = _fixed(text.rstrip("/"))
        if text.startswith("/") and (behind := real(fixed)) != fixed:
            made.alias(pattern, behind + text[len(fixed) :])
    return made


# ── Loading ─────────────────────────────────────────────────────────────────────────────────────────────────────────

_LIST = ["a list of patterns"]
_FORM: dict[str, Any] = {
    "files": {"read": {"allow": _LIST, "deny": _LIST}, "write": {"allow": _LIST, "deny": _LIST}},
    "commands": {"allow": _LIST, "deny": _LIST},
    "network": {"deny_all": True, "allow": _LIST},
}


def load(path: "str | Path") -> Policy:
    """The policy in the file `path`. Raises PolicyError."""
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
                raise refused(path, "", "expected a file")
            raw = file.read(LARGEST + 1)
        if len(raw) > LARGEST:
            raise refused(path, "", f"longer than {LARGEST} bytes")
        text = raw.decode("utf-8-sig")
    except FileNotFoundError:
        raise refused(path, "", "there is no such file; name another with --policy") from None
    except UnicodeDecodeError as error:
        raise refused(path, "", f"not UTF-8 (byte {error.start})") from None
    except (OSError, ValueError) as error:
        raise refused(
            path, "", f"cannot be read: {getattr(error, 'strerror', None) or error}"
        ) from None
    if not text.strip():
        raise refused(path, "", "empty: nothing to enforce")
    try:
        content = json.loads(text, object_pairs_hook=_without_duplicates)
    except json.JSONDecodeError as error:
        raise refused(
            path, "", f"line {error.lineno}, column {error.colno}: not JSON: {error.msg}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise refused(
            path, "", str(error) if isinstance(error, ValueError) else "nested too deep"
        ) from None
    _check(path, content, _FORM, "")
    if content.get("network") == {"allow": []}:
        raise refused(
            path, "network.allow", "an empty list allows nothing at all: say so with deny_all"
        )
    network = content.get("network", {})
    if network.get("deny_all") is False and network.get("allow"):
        write_line(
            f"{program_name()}: warning: {path}: network.allow says nothing while network.deny_all is false"
        )
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        write_line(
            f"{program_name()}: warning: {path} can be written by other users than its owner, and so can what it allows"
        )
    return Policy(path, content)


def refused(path: "str | Path", key: str, why: str) -> PolicyError:
    return PolicyError(f"{path}: {key}: {why}" if key else f"{path}: {why}")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for key, value in pairs:
        if key in content:
            raise ValueError(
                f'the key "{key}" stands twice in one object: only one of them would count'
            )
        content[key] = value
    return content


def _check(path: "str | Path", content: object, form: Any, key: str) -> None:
    """Refuse what is not of the form."""
    if isinstance(form, dict):
        if not isinstance(content, dict):
            raise refused(
                path, key, f"expected an object with {_listed(form)}, found {_shown(content)}"
            )
        for name, value in content.items():
            place_of = f"{key}.{name}" if key else name
            if name not in form:
                import difflib

                near = difflib.get_close_matches(name, form, n=1, cutoff=0.5)
                raise refused(
                    path,
                    place_of,
                    f"unknown key; expected {_listed(form)}{f'; did you mean {near[0]!r}?' if near else ''}",
                )
            _check(path, value, form[name], place_of)
    elif isinstance(form, bool):
        if not isinstance(content, bool):
            raise refused(path, key, f"expected true or false, found {_shown(content)}")
    else:
        if not isinstance(content, list):
            raise refused(
                path,
                key,
                f'expected a list of strings, such as ["src/**"], found {_shown(content)}',
            )
        for at, item in enumerate(content):
            if not isinstance(item, str):
                raise refused(path, f"{key}[{at}]", f"expected a string, found {_shown(item)}")
        if not content and key.endswith("allow") and key != "network.allow":
            raise refused(
                path,
                key,
                'an empty list allows nothing at all: leave "allow" out to allow everything, or deny ["/**"] to say so',
            )


def _listed(form: dict[str, Any]) -> str:
    *most, last = [repr(name) for name in form]
    return f"{', '.join(most)} or {last}" if most else last


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:59] + "…"
