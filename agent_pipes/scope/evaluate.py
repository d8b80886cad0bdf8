"""One session's calls, each judged by itself: what it reads, writes, runs and reaches, held against a policy.

An agent waits for the hook that asks this before each of its calls, so nothing is loaded here that reads options.
"""

import os
from posixpath import basename
from typing import NamedTuple

from agent_pipes.core.event import Event
from agent_pipes.scope import Unjudged, Use, reach_of
from agent_pipes.scope.globs import PathPatterns, place
from agent_pipes.scope.policy import Names, Policy, Verdict, absolute

OURS = (".agent-scope.json", ".agent-watch.json")
"""What an agent is watched by, in its own directory and in the one that we were started in."""

JUDGED = ("tool_call", "file_read", "file_write")
"""The events that are judged."""

VERBS = {
    "read": "read of",
    "write": "write to",
    "policy": "write to",
    "command": "command",
    "network": "connection to",
}


class Breach(NamedTuple):
    """What a call may not do: of which `kind` (one of VERBS), to what, and the rule that it breaks."""

    kind: str
    target: str
    rule: str


class Judgement(NamedTuple):
    """What a policy, whose name is `policy`, says of one call. Both lists are empty for one that is in scope."""

    policy: str
    breaches: list[Breach]
    unjudged: list[Unjudged]

    @property
    def message(self) -> str:
        """The first breach, for people, and how many more there are; "" for none."""
        if not self.breaches:
            return ""
        kind, target, rule = self.breaches[0]
        named = f'"{shortened(target)}"' if kind == "command" else shortened(target)
        where = "" if kind == "policy" else f" in {self.policy}"
        return f"{VERBS[kind]} {named} ({rule}{where}){more(len(self.breaches))}"


class Scope:
    """One session, whose directory its start tells. What a call did is done: no state is kept of it."""

    __slots__ = ("here", "policy", "protected", "root")

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.here = _here()
        self.enter(self.here)

    def enter(self, directory: str) -> None:
        """The session works in `directory`."""
        self.root = Names.of(absolute(directory, self.here))
        files = {
            absolute(self.policy.name, self.here),
            *(f"{where}/{name}" for where in (self.here, self.root.path) for name in OURS),
        }
        self.protected = {name for file in files for name in Names.of(file)}

    def judge(self, event: Event) -> Judgement:
        """What the policy says of `event`, whose type is one of JUDGED."""
        reach = reach_of(event)
        policy = self.policy
        base = absolute(reach.directory, self.root.path) if reach.directory else self.root.path
        broken: list[Breach] = []
        unjudged = [gap for gap in reach.unjudged if policy.covers(*gap.about)]
        for use in reach.paths:
            if use.access == "read" and not policy.covers("read"):
                continue
            names = Names.of(absolute(use.path, base, use.directory))
            guarded = use.access == "write" and self._guards(use, names)
            verdict = (
                Verdict("no agent may change what it is watched by")
                if guarded
                else policy.path_verdict(use, names, self.root)
            )
            if verdict.rule:
                broken.append(
                    Breach("policy" if guarded else use.access, self._named(names), verdict.rule)
                )
            if verdict.unjudged:
                unjudged.append(Unjudged(verdict.unjudged, self._named(names), (use.access,)))
        if policy.covers("command"):
            broken += [
                Breach("command", str(command), rule)
                for command in reach.commands
                if (rule := policy.command_verdict(command).rule)
            ]
        if policy.covers("network"):
            hosts = [
                *reach.hosts,
                *("a web search" for gap in reach.unjudged if gap.kind == "search"),
            ]
            broken += [
                Breach("network", host, rule)
                for host in hosts
                if (rule := policy.host_verdict(host).rule)
            ]
        return Judgement(policy.name, broken, unjudged)

    def _guards(self, use: Use, names: Names) -> bool:
        """Whether the write `use` to `names` changes the policy or the watch's own configuration."""
        for name in dict.fromkeys(names):
            if name in self.protected:
                return True
            if use.extent == "all" and any(
                file.startswith(name.rstrip("/") + "/") for file in self.protected
            ):
                return True
            if use.glob and any(_may_name(name, file) for file in self.protected):
                return True
        return False

    def _named(self, names: Names) -> str:
        """A path for people: from the session's directory where it is in there, and what a link in it hides."""
        given, behind = (name.removeprefix(self.root.path.rstrip("/") + "/") for name in names)
        behind = behind.removeprefix(self.root.real.rstrip("/") + "/")
        return given if given == behind else f"{given}, which is {behind}"


def shortened(target: str) -> str:
    """What a call aims at, as long as people read it."""
    return target if len(target) <= 200 else target[:199] + "…"


def more(count: int) -> str:
    """How many there are beside the first."""
    return f", and {count - 1} more" if count > 1 else ""


def _may_name(pattern: str, file: str) -> bool:
    """Whether the shell's `pattern`, an absolute one, may stand for `file`."""
    if basename(file).startswith(".") and not basename(pattern).startswith("."):
        return False  # A shell's wildcard stands for no leading dot.
    try:
        return bool(PathPatterns([pattern], wide=False).match(place(file, ()), "/"))
    except ValueError:
        return False


def _here() -> str:
    """The directory that we were started in: the session's own, where the session does not say."""
    try:
        return os.getcwd()
    except OSError:
        return "/"
