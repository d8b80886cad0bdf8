"""What an agent may read, write, run and connect to: the rules of `.agent-scope.json`.

    {"files":    {"read":  {"allow": ["src/**"], "deny": [".env"]},
                  "write": {"allow": ["src/**"], "deny": ["deploy/**"]}},
     "commands": {"allow": ["pytest", "git status"], "deny": ["git push", "rm -rf *"]},
     "network":  {"deny_all": true, "allow": ["localhost", "*.example.org"]}}

What is denied is denied even if it is allowed too; a list of what is allowed makes everything else
denied. trace-detect-scope(1) describes how patterns match.
"""

import re
from collections.abc import Callable
from posixpath import basename, dirname
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from agent_pipes.core.strict_json import StrictJSON, quoted
from agent_pipes.core.tables import names
from agent_pipes.scope.access import About, PathAccess
from agent_pipes.scope.command_patterns import CommandPatterns
from agent_pipes.scope.globs import PathPatterns, Place, place
from agent_pipes.scope.host_patterns import HostPatterns
from agent_pipes.scope.paths import ResolvedPath, expand_home, real
from agent_pipes.shell import Command

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")

MAX_LINE_CHARS = 1 << 16
"""Characters of a simple command that are compared with command patterns."""

_SYSTEM_DIRECTORIES = names("/bin /sbin /usr/bin /usr/sbin /usr/local/bin /opt/homebrew/bin")
_FREE = names(
    "cd pushd popd echo printf true false : test [ [[ pwd exit return break continue set unset"
    " export declare typeset local readonly shift wait read trap"
)
"""Builtins of the shell that run nothing: a list of allowed commands need not contain them."""


class PolicyError(ValueError):
    """A policy that cannot be read or enforced; its text is a message for users."""


class Verdict(NamedTuple):
    """The result for one access.

    rule:     the rule that it breaks, "" for none.
    unjudged: the kind of what could not be judged, "" for nothing.
    """

    rule: str = ""
    unjudged: str = ""


ALLOWED = Verdict()


class _Lists(NamedTuple):
    """What is denied and what is allowed of one kind; None for a list that is not there."""

    deny: PathPatterns | None
    allow: PathPatterns | None


class Policy:
    """The rules of a policy, loaded from `path`. Raises PolicyError for a bad pattern."""

    def __init__(self, path: "str | Path", content: dict[str, Any]) -> None:
        self.path = path
        self.name = str(path)
        files, commands, network = (
            content.get(key, {}) for key in ("files", "commands", "network")
        )
        self._files = {
            access: self._path_lists(files.get(access, {}), f"files.{access}")
            for access in ("read", "write")
        }
        denied = commands.get("deny") or []
        self._denied = self._patterns(CommandPatterns, denied, "commands.deny")
        flags = {_with_flags_sorted(pattern.split()): pattern for pattern in denied}
        self._denied_by_flags, self._patterns_of_flags = CommandPatterns(list(flags)), flags
        self._allowed = (
            self._patterns(CommandPatterns, commands["allow"], "commands.allow")
            if "allow" in commands
            else None
        )
        self._hosts = self._patterns(HostPatterns, network.get("allow", []), "network.allow")
        self.deny_all = bool(network.get("deny_all", "allow" in network))
        covered: dict[About, bool] = {
            "read": any(self._files["read"]),
            "write": any(self._files["write"]),
            "command": bool(denied) or self._allowed is not None,
            "network": self.deny_all,
        }
        self._covered = frozenset(about for about, is_covered in covered.items() if is_covered)
        if not self._covered:
            StrictJSON(path, PolicyError).fail(
                "",
                "nothing to enforce: expected a list under files.read, files.write or commands,"
                " or network.deny_all",
            )

    def _path_lists(self, lists: dict[str, Any], key: str) -> _Lists:
        deny = lists.get("deny")
        return _Lists(
            self._patterns(_wide_paths, deny, f"{key}.deny") if deny else None,
            self._patterns(_narrow_paths, lists["allow"], f"{key}.allow")
            if "allow" in lists
            else None,
        )

    def _patterns(self, kind: Callable[[list[str]], T], patterns: list[str], key: str) -> T:
        """Return the patterns of one list; an error names the pattern that causes it."""
        try:
            return kind(patterns)
        except (ValueError, re.error):
            for at, pattern in enumerate(patterns):
                try:
                    kind([pattern])
                except (ValueError, re.error) as error:
                    problem = f"{error}, found {quoted(pattern)}"
                    StrictJSON(self.path, PolicyError).fail(f"{key}[{at}]", problem)
            raise

    def covers(self, *about: About) -> bool:
        """Return True if there is a rule about any of these."""
        return not self._covered.isdisjoint(about)

    def path_verdict(self, access: PathAccess, path: ResolvedPath, root: ResolvedPath) -> Verdict:
        """Judge the access to `path` in a session whose directory is `root`."""
        lists, key = self._files[access.access], f"files.{access.access}"
        if not lists.deny and not lists.allow:
            return ALLOWED
        places = [place(name, root) for name in dict.fromkeys(path)]
        if lists.deny:
            for where in places:
                if pattern := _denied(lists.deny, where, access, root.path):
                    return Verdict(f'denied by {key}.deny "{pattern}"')
        if lists.allow and not _is_allowed(lists.allow, places[-1], access, root.path):
            directory = place(fixed_directory(path.real), root)
            if access.glob and lists.allow.possible(directory, root.path):
                return Verdict(unjudged="glob")
            return Verdict(f"outside {key}.allow")
        if lists.deny and access.glob:
            return Verdict(unjudged="glob")
        deny = lists.deny if access.extent == "all" else None
        if deny and any(deny.possible(where, root.path) for where in places):
            return Verdict(unjudged="tree")
        return ALLOWED

    def command_verdict(self, command: Command) -> Verdict:
        """Judge one simple command."""
        if pattern := self._denied_pattern(command):
            return Verdict(f'denied by commands.deny "{pattern}"')
        if self._allowed is None or self._is_allowed(command, self._allowed):
            return ALLOWED
        return Verdict("outside commands.allow")

    def _denied_pattern(self, command: Command) -> str:
        program = command.words[0].text
        name = basename(program)
        if not any(self._denied.begins(each[:MAX_LINE_CHARS]) for each in (program, name)):
            return ""
        line = str(command)[:MAX_LINE_CHARS]
        short = " ".join([name, *command.argv[1:]])[:MAX_LINE_CHARS] if "/" in program else line
        flags = self._denied_by_flags.match(_with_flags_sorted(short.split(" ")))
        return (
            self._denied.match(line)
            or self._denied.match(short)
            or self._patterns_of_flags.get(flags, "")
        )

    @staticmethod
    def _is_allowed(command: Command, allowed: CommandPatterns) -> bool:
        """Return True if the list allows the command, or a command that runs it."""
        if command.is_wrapper or command.words[0].unresolved or command.name in _FREE:
            return True
        if _only_cuts(command):
            return True
        runner: Command | None = command
        while runner:
            line = str(runner)[:MAX_LINE_CHARS]
            directory = dirname(runner.words[0].text)
            if directory in _SYSTEM_DIRECTORIES:
                line = line[len(directory) + 1 :]
            if allowed.match(line):
                return True
            runner = runner.outer
        return False

    def host_verdict(self, host: str) -> Verdict:
        """Judge a connection to `host`."""
        if not self.deny_all or self._hosts.match(host):
            return ALLOWED
        return Verdict(
            "outside network.allow" if self._hosts.patterns else "denied by network.deny_all"
        )


def _denied(patterns: PathPatterns, where: Place, access: PathAccess, root: str) -> str:
    """Return the pattern that denies the access to `where`, "" if none does."""
    pattern = patterns.match(where, root)
    if not pattern and access.extent:
        pattern = patterns.match(where.content(), root)
    if not pattern and access.extent == "all" and access.access == "write":
        pattern = patterns.named(where, root)
    return pattern


def _is_allowed(patterns: PathPatterns, where: Place, access: PathAccess, root: str) -> bool:
    if patterns.match(where, root):
        return True
    return bool(access.extent and patterns.match(where.content(), root))


def fixed_directory(path: str) -> str:
    """Return the leading directory of a shell's pattern that has no wildcard."""
    parts = path.split("/")
    first = next((at for at, part in enumerate(parts) if re.search(r"[*?\[{]", part)), len(parts))
    return "/".join(parts[:first]) or "/"


def _only_cuts(command: Command) -> bool:
    """Return True for `| head`, `| tail` and `| cat`, which run and open nothing."""
    plain = all(word.startswith("-") or word.isdigit() for word in command.argv[1:])
    return command.piped and command.name in ("head", "tail", "cat") and plain


def _with_flags_sorted(words: list[str]) -> str:
    """Return the words of a command with its leading short options as one: `-f -r` is `-fr`."""
    at = 1
    while at < len(words) and re.fullmatch(r"-[A-Za-z]+", words[at]):
        at += 1
    letters = "".join(sorted(set("".join(word[1:] for word in words[1:at]))))
    return " ".join([*words[:1], *([f"-{letters}"] if letters else []), *words[at:]])


def _wide_paths(patterns: list[str]) -> PathPatterns:
    return _paths(patterns, wide=True)


def _narrow_paths(patterns: list[str]) -> PathPatterns:
    return _paths(patterns, wide=False)


def _paths(patterns: list[str], *, wide: bool) -> PathPatterns:
    """Return the patterns, and what is behind the symbolic links in the absolute ones."""
    found = PathPatterns(patterns, wide=wide)
    for pattern in patterns:
        text = expand_home(pattern) if pattern.startswith("~") else pattern
        fixed = fixed_directory(text.rstrip("/"))
        if text.startswith("/") and (behind := real(fixed)) != fixed:
            found.alias(pattern, behind + text[len(fixed) :])
    return found
