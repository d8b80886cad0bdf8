"""The rules of `.agent-scope.json`: what an agent may read, write, run and connect to.

    {"files":    {"read":   {"allow": ["src/**"], "deny": [".env"]},
                  "write":  {"allow": ["src/**"], "deny": ["deploy/**"]},
                  "delete": {"allow": ["build/**"], "deny": ["data/**"]}},
     "commands": {"allow": ["pytest", "git status"], "deny": ["git push", "rm -rf *"]},
     "network":  {"deny_all": true, "allow": ["localhost", "*.example.org"]},
     "unjudged": "warn"}

What is denied is denied even if it is allowed too; a list of what is allowed makes everything else
denied. trace-detect-scope(1) describes how patterns match.
"""

import re
from collections.abc import Callable
from posixpath import dirname
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from agent_pipes.core.strict_json import StrictJSON, quoted
from agent_pipes.core.tables import names
from agent_pipes.scope.access import About, Extent, PathAccess
from agent_pipes.scope.command_patterns import (
    AllowedCommands,
    DeniedCommands,
    without_harmless,
)
from agent_pipes.scope.glob_overlap import may_match, names_directory, surely_matches
from agent_pipes.scope.globs import PathPatterns, Place, place
from agent_pipes.scope.host_patterns import HostPatterns
from agent_pipes.scope.paths import ResolvedPath, expand_home, real
from agent_pipes.shell import Command
from agent_pipes.shell.options import PROGRAMS

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")

MAX_LINE_CHARS = 1 << 16
"""Characters of a simple command that are compared with command patterns."""

_SYSTEM_DIRECTORIES = names("/bin /sbin /usr/bin /usr/sbin /usr/local/bin /opt/homebrew/bin")
_FREE = names(
    "cd pushd popd echo printf true false : test [ [[ pwd exit return break continue set unset"
    " export declare typeset local readonly shift wait read trap alias unalias"
)
"""Builtins of the shell that run nothing: a list of allowed commands need not contain them."""
_CHOOSING = names(PROGRAMS["choosing_variables"])
"""Variables that choose another program than the command names."""

UnjudgedRule = Literal["ignore", "warn", "deny"]
"""Treatment of a call that cannot be judged."""


class PolicyError(ValueError):
    """A policy that cannot be read or enforced; its text is a message for users."""


class Verdict(NamedTuple):
    """The result for one access.

    rule:     the rule that it breaks, "" for none.
    unjudged: the kind of what could not be judged, "" for nothing.
    maybe:    the rule that it might break, "" if none can be named.
    """

    rule: str = ""
    unjudged: str = ""
    maybe: str = ""


ALLOWED = Verdict()


class _Lists(NamedTuple):
    """Denied and allowed patterns of one kind; None for a list that is not there."""

    deny: PathPatterns | None
    allow: PathPatterns | None


class Policy:
    """The rules of a policy, loaded from `path`; `covered`: what they are about.

    Raises PolicyError for a bad pattern, and unless it `may_be_empty` if there is no rule.
    """

    def __init__(
        self, path: "str | Path", content: dict[str, Any], *, may_be_empty: bool = False
    ) -> None:
        self.path = path
        self.name = str(path)
        files, commands, network = (
            content.get(key, {}) for key in ("files", "commands", "network")
        )
        self._files = {
            access: self._path_lists(files.get(access, {}), f"files.{access}")
            for access in ("read", "write", "delete")
        }
        denied = commands.get("deny") or []
        self._denied = self._patterns(DeniedCommands, denied, "commands.deny") if denied else None
        self._allowed = (
            self._patterns(AllowedCommands, commands["allow"], "commands.allow")
            if "allow" in commands
            else None
        )
        self.unjudged: UnjudgedRule = content.get("unjudged", "warn")
        self._hosts = self._patterns(HostPatterns, network.get("allow", []), "network.allow")
        self.deny_all = bool(network.get("deny_all", "allow" in network))
        covered: dict[About, bool] = {
            "read": any(self._files["read"]),
            "write": any(self._files["write"]),
            "delete": any(self._files["delete"]),
            "command": bool(denied) or self._allowed is not None,
            "network": self.deny_all,
        }
        self.covered = frozenset(about for about, is_covered in covered.items() if is_covered)
        if not self.covered and not may_be_empty:
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

    def path_verdict(self, access: PathAccess, path: ResolvedPath, root: ResolvedPath) -> Verdict:
        """Judge the access to `path` in a session whose directory is `root`."""
        if access.access != "delete":
            return self._path_verdict(access.access, access, path, root)
        written = self._path_verdict("write", access, path, root)
        deleted = self._path_verdict("delete", access, path, root)
        return deleted if deleted.rule or (deleted.unjudged and not written.rule) else written

    def _path_verdict(
        self, kind: str, access: PathAccess, path: ResolvedPath, root: ResolvedPath
    ) -> Verdict:
        lists, key = self._files[kind], f"files.{kind}"
        if not lists.deny and not lists.allow:
            return ALLOWED
        places = [place(name, root) for name in dict.fromkeys(path)]
        if lists.deny:
            for where in places:
                if pattern := _denied(lists.deny, where, access, root.path):
                    return Verdict(f'denied by {key}.deny "{pattern}"')
        if (
            lists.allow
            and not access.named
            and not _is_allowed(lists.allow, places[-1], access, root.path)
        ):
            directory = place(fixed_directory(path.real), root)
            if access.glob and kind != "delete" and lists.allow.possible(directory, root.path):
                return Verdict(unjudged="glob")
            return Verdict(f"outside {key}.allow")
        if not lists.deny:
            return ALLOWED
        if access.glob:
            return self._glob_verdict(lists.deny, key, places, root.path)
        if access.extent in ("all", "visible"):
            return _tree_verdict(lists.deny, key, places, root.path, access.extent)
        return ALLOWED

    @staticmethod
    def _glob_verdict(deny: PathPatterns, key: str, places: list[Place], root: str) -> Verdict:
        """Judge names that the shell or find puts for a pattern."""
        for where in places:
            for pattern, parts, subject in deny.parts(where, root):
                if surely_matches(parts, subject) or names_directory(parts, subject):
                    return Verdict(f'denied by {key}.deny "{pattern}"')
        below = False
        for where in places:
            for pattern, parts, subject in deny.parts(where, root):
                # A pattern that ends in ** would be named for any glob at all, and so would any
                # pattern for a glob that does: whatever is below a directory.
                names_all = parts[-1] == "**" or subject.endswith("**")
                if not names_all and may_match(parts, subject, below=False):
                    return Verdict(unjudged="glob", maybe=f'{key}.deny "{pattern}"')
                below = below or may_match(parts, subject, below=True)
        return Verdict(unjudged="glob") if below else ALLOWED

    def command_verdict(self, command: Command) -> Verdict:
        """Judge one simple command."""
        if self._denied:
            pattern, sure = self._denied.match(command)
            if pattern and sure:
                return Verdict(f'denied by commands.deny "{pattern}"')
            if pattern:
                return Verdict(unjudged="variable", maybe=f'commands.deny "{pattern}"')
        if self._allowed is None or self._is_allowed(command, self._allowed):
            return ALLOWED
        return Verdict("outside commands.allow")

    def denied_phrase(self, text: str) -> str:
        """Return the rule whose denied command is named in a text that is no command, or ""."""
        pattern = self._denied.phrase_in(text) if self._denied else ""
        return f'commands.deny "{pattern}"' if pattern else ""

    @staticmethod
    def _is_allowed(command: Command, allowed: AllowedCommands) -> bool:
        """Return True if the list allows the command, or a command that runs it."""
        if command.is_wrapper or command.words[0].unresolved or command.name in _FREE:
            return True
        if _only_cuts(command):
            return True
        runner: Command | None = command
        while runner:
            if any(word.text.partition("=")[0] in _CHOOSING for word in runner.assignments):
                return False
            directory = dirname(runner.words[0].text)
            start = len(directory) + 1 if directory in _SYSTEM_DIRECTORIES else 0
            lines = (str(runner), " ".join(without_harmless(runner)))
            if any(allowed.match(line[start:MAX_LINE_CHARS]) for line in lines):
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


def _tree_verdict(
    deny: PathPatterns, key: str, places: list[Place], root: str, extent: Extent
) -> Verdict:
    """Judge a directory that is read with its content: what is denied and exists in it is read."""
    if not any(deny.possible(where, root) for where in places):
        return ALLOWED
    if extent == "all":
        for where in places:
            if pattern := deny.existing(where, root):
                return Verdict(f'denied by {key}.deny "{pattern}"')
    return Verdict(unjudged="tree")


def _denied(patterns: PathPatterns, where: Place, access: PathAccess, root: str) -> str:
    """Return the pattern that denies the access to `where`, "" if none does."""
    pattern = patterns.match(where, root)
    if not pattern and access.extent:
        pattern = patterns.match(where.content(), root)
    takes_all = access.access == "delete" or (access.extent == "all" and access.access == "write")
    if not pattern and takes_all:
        pattern = patterns.named(where, root)
    return pattern


def _is_allowed(patterns: PathPatterns, where: Place, access: PathAccess, root: str) -> bool:
    if access.access == "delete" and access.extent == "all":
        # `*` allows files to be deleted one by one, not a directory with all its content.
        if patterns.match(where, root, covering=True):
            return True
        # `build/**` allows `rm -rf build`, but `/tmp/**` not the removal of /tmp itself.
        below = patterns.match(where.content(), root, covering=True) if where.inside else ""
        return below[:1] not in ("", "/", "~")
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


def _wide_paths(patterns: list[str]) -> PathPatterns:
    return _paths(patterns, wide=True)


def _narrow_paths(patterns: list[str]) -> PathPatterns:
    return _paths(patterns, wide=False)


def _paths(patterns: list[str], *, wide: bool) -> PathPatterns:
    """Return the patterns, and the targets of symbolic links in the absolute ones."""
    found = PathPatterns(patterns, wide=wide)
    for pattern in patterns:
        text = expand_home(pattern) if pattern.startswith("~") else pattern
        fixed = fixed_directory(text.rstrip("/"))
        if text.startswith("/") and (behind := real(fixed)) != fixed:
            found.alias(pattern, behind + text[len(fixed) :])
    return found
