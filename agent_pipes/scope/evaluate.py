"""Evaluation of one session's calls by a policy, each call by itself.

An agent waits for the hook that evaluates each of its calls, so nothing is loaded here that reads
options.
"""

import os
from posixpath import basename
from typing import NamedTuple

from agent_pipes.core.display import truncate
from agent_pipes.core.event import Event
from agent_pipes.scope.access import KINDS, AccessSet, PathAccess, Unjudged
from agent_pipes.scope.glob_overlap import MAX_PARTS
from agent_pipes.scope.globs import PathPatterns, place
from agent_pipes.scope.paths import ResolvedPath, absolute
from agent_pipes.scope.policy import Policy
from agent_pipes.scope.tool_access import accesses_of

PROTECTED = (".agent-scope.json", ".agent-watch.json")
"""The watch's own files, in the session's directory and in the one where this program started."""

JUDGED_EVENTS = ("tool_call", "file_read", "file_write")

MAX_SCRIPT_CHARS = 1 << 16
"""Characters of a script that are searched for denied commands."""

MAX_TARGET_CHARS = 200
"""Characters of a path, command or host in a message."""

SELF_PROTECTION = "self-protection"
"""The rule that no agent may change the files that watch it."""

_VERBS = {
    "read": "read of",
    "write": "write to",
    "delete": "deletion of",
    "policy": "write to",
    "unjudged": "cannot judge",
    "command": "command",
    "network": "connection to",
}


class Breach(NamedTuple):
    """One access that the policy forbids.

    kind:   "read", "write", "delete", "command", "network", "unjudged", or "policy" for a write
            to the watch's own files.
    target: the path, command or host.
    rule:   the rule that it breaks.
    """

    kind: str
    target: str
    rule: str


class Evaluation(NamedTuple):
    """The result for one call: the policy's name, what breaks its rules and what was not judged."""

    policy: str
    breaches: list[Breach]
    unjudged: list[Unjudged]

    @property
    def message(self) -> str:
        """The first breach in words, and the number of others; "" if there is none."""
        if not self.breaches:
            return ""
        kind, target, rule = self.breaches[0]
        target = truncate(target, MAX_TARGET_CHARS)
        quoted = f'"{target}"' if kind == "command" else target
        where = f" in {self.policy}"
        if kind == "policy":
            where = ": no agent may change the files that watch it"
        return f"{_VERBS[kind]} {quoted} ({rule}{where}){others(len(self.breaches))}"


class SessionScope:
    """The policy in one session, whose directory its start names."""

    __slots__ = ("policy", "protected", "remotes", "root", "started_in")

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.remotes: dict[tuple[str, str], str] = {}
        self.started_in = _working_directory()
        self.enter(self.started_in)

    def enter(self, directory: str) -> None:
        """Set the session's directory."""
        self.root = ResolvedPath.of(absolute(directory, self.started_in))
        files = {
            absolute(self.policy.name, self.started_in),
            *(
                f"{where}/{name}"
                for where in (self.started_in, self.root.path)
                for name in PROTECTED
            ),
        }
        self.protected = {name for file in files for name in ResolvedPath.of(file)}

    def evaluate(self, event: Event) -> Evaluation:
        """Evaluate `event`, whose type is one of JUDGED_EVENTS."""
        accesses = accesses_of(event, self.remotes, self.policy.covered)
        unjudged, covered = accesses.unjudged, self.policy.covered
        breaches = self._path_breaches(accesses, unjudged)
        if "command" in covered:
            breaches += self._command_breaches(accesses, unjudged)
        if "network" in covered:
            breaches += self._host_breaches(accesses)
        if not breaches:
            self._add_phrases(accesses, unjudged)
        # The user's own rules are named before the one that protects the watch.
        breaches.sort(key=lambda breach: breach.kind == "policy")
        if self.policy.unjudged == "deny" and not breaches:
            breaches = [
                Breach("unjudged", f"{KINDS[gap.kind]}: {gap.what}", "unjudged")
                for gap in unjudged[:1]
            ]
        return Evaluation(self.policy.name, breaches, unjudged)

    def _add_phrases(self, accesses: AccessSet, unjudged: list[Unjudged]) -> None:
        """Add the denied commands that are named in scripts that could not be read."""
        for text in accesses.scripts:
            if rule := self.policy.denied_phrase(text[:MAX_SCRIPT_CHARS]):
                quoted = truncate(" ".join(text.split()), MAX_TARGET_CHARS)
                unjudged.append(Unjudged("script", quoted, ("command",), rule))
                return

    def _path_breaches(self, accesses: AccessSet, unjudged: list[Unjudged]) -> list[Breach]:
        root = self.root
        base = absolute(accesses.directory, root.path) if accesses.directory else root.path
        breaches: list[Breach] = []
        for access in accesses.paths:
            path = ResolvedPath.of(absolute(access.path, base, access.directory), root)
            verdict = self.policy.path_verdict(access, path, root)
            if verdict.rule:
                kind = access.access
                if kind == "delete" and "files.delete" not in verdict.rule:
                    kind = "write"
                breaches.append(Breach(kind, self._shown(path), verdict.rule))
            if verdict.unjudged:
                what, maybe = self._shown(path), verdict.maybe
                unjudged.append(Unjudged(verdict.unjudged, what, (access.access,), maybe))
            if access.access != "read" and self._is_protected(access, path):
                breaches.append(Breach("policy", self._shown(path), SELF_PROTECTION))
        if accesses.mentioned:
            self._add_mentioned(accesses, base, unjudged)
        return breaches

    def _add_mentioned(self, accesses: AccessSet, base: str, unjudged: list[Unjudged]) -> None:
        """Add the denied files among the arguments of programs that are not known."""
        for access in accesses.mentioned:
            path = ResolvedPath.of(absolute(access.path, base, access.directory), self.root)
            verdict = self.policy.path_verdict(access, path, self.root)
            if rule := verdict.rule.removeprefix("denied by ") or verdict.maybe:
                gap = Unjudged("program", self._shown(path), (access.access,), rule)
                unjudged.append(gap)

    def _command_breaches(self, accesses: AccessSet, unjudged: list[Unjudged]) -> list[Breach]:
        breaches: list[Breach] = []
        for command in accesses.commands:
            verdict = self.policy.command_verdict(command)
            if verdict.rule:
                breaches.append(Breach("command", str(command), verdict.rule))
            elif verdict.unjudged:
                gap = Unjudged(verdict.unjudged, str(command), ("command",), verdict.maybe)
                unjudged.append(gap)
        return breaches

    def _host_breaches(self, accesses: AccessSet) -> list[Breach]:
        searches = ["a web search" for gap in accesses.unjudged if gap.kind == "search"]
        return [
            Breach("network", host, rule)
            for host in (*accesses.hosts, *searches)
            if (rule := self.policy.host_verdict(host).rule)
        ]

    def _is_protected(self, access: PathAccess, path: ResolvedPath) -> bool:
        """Return True if a write to `path` changes the policy or the config file."""
        for name in dict.fromkeys(path):
            if name in self.protected:
                return True
            below = name.rstrip("/") + "/"
            deletes = access.access == "delete" and access.extent
            if deletes and any(file.startswith(below) for file in self.protected):
                return True
            if access.glob and any(_may_name(name, file) for file in self.protected):
                return True
        return False

    def _shown(self, path: ResolvedPath) -> str:
        """Return a path for users: relative to the session's directory, and what a link hides."""
        given, behind = (name.removeprefix(self.root.path.rstrip("/") + "/") for name in path)
        behind = behind.removeprefix(self.root.real.rstrip("/") + "/")
        return given if given == behind else f"{given}, which is {behind}"


def others(count: int) -> str:
    """Return the number of things besides the first, in words."""
    return f", and {count - 1} more" if count > 1 else ""


def _may_name(pattern: str, file: str) -> bool:
    """Return True if the shell may replace `pattern`, an absolute one, by the name of `file`."""
    if basename(file).startswith(".") and not basename(pattern).startswith("."):
        return False  # A wildcard of the shell does not match a leading dot.
    if pattern.count("/") > MAX_PARTS:
        return "**" in pattern  # Without `**` it matches only as many parts as it has.
    try:
        return bool(PathPatterns([pattern], wide=False).match(place(file, ()), "/"))
    except ValueError:
        return False


def _working_directory() -> str:
    try:
        return os.getcwd()
    except OSError:
        return "/"
