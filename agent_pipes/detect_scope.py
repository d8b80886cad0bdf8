"""A file read or written, a command run or a host reached outside the policy."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from posixpath import basename, normpath
from typing import Any

import click

from agent_pipes.detector import Finding, alert_option, detect
from agent_pipes.event import Event
from agent_pipes.filter import filter_command
from agent_pipes.globs import PathPatterns, place
from agent_pipes.options import Option
from agent_pipes.policy import Policy, Root, Verdict, absolute, load, real
from agent_pipes.reach import Unjudged, Use, directory_of, reach_of
from agent_pipes.stream import program, say

OURS = (".agent-scope.json", ".agent-watch.json")
"""What an agent is watched by, in its own directory and in the one that we were started in."""

KINDS = {
    "variable": "the value of a variable", "substitution": "what a command prints", "glob": "the names behind a pattern",
    "input": "what comes on standard input", "script": "what a script does", "program": "what other programs do by themselves",
    "network": "hosts that are not named", "search": "the hosts of a web search", "directory": "a directory that is not known",
    "tree": "all that lies in a directory", "tool": "what a tool does", "deep": "what is nested too deep", "long": "what is too long",
}


class File(click.ParamType):  # type: ignore[type-arg]
    """The name of a file."""

    name = "FILE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        if not isinstance(value, (str, Path)) or not str(value):
            self.fail(f"expected the name of a file, not {value!r}.", param, ctx)
        return Path(value)


@filter_command("trace-detect-scope")
@click.option(
    "--policy", cls=Option, type=File(), default=".agent-scope.json", show_default=True, flag="--policy", key="scope.policy",
    help="The policy: what may be read, written, run and reached.",
)
@click.option("--strict", cls=Option, is_flag=True, help="Raise a warning for a call that cannot be judged wholly.")
@alert_option("scope")
def detect_scope(events: Iterable[Event], policy: Path, strict: bool, alert: tuple[str, ...]) -> Iterator[Event]:
    """Raise a violation when a call reads, writes, runs or reaches what the policy does not allow.

    The policy is read once, at the start. Each call is judged when it is made: the paths of the file tools, and shell
    commands as a shell reads them. Paths are resolved against the session's directory, through symbolic links. A call
    that writes to the policy or to .agent-watch.json is a violation whatever the policy says. What cannot be judged
    (a variable, a script) is said on stderr, once a session for each kind, and in the violation.
    """
    rules = load(policy)
    return detect(events, "scope", lambda: Scope(rules, strict), alert)


class Scope:
    """One session's calls, each judged by itself."""

    def __init__(self, policy: Policy, strict: bool) -> None:
        self.policy = policy
        self.strict = strict
        self.here = _here()
        self.said: set[str] = set()
        self.calls = 0
        self._enter(self.here)

    def _enter(self, directory: str) -> None:
        """The session works in `directory`."""
        self.root = Root.of(absolute(directory, self.here))
        files = {absolute(self.policy.name, self.here), *(f"{where}/{name}" for where in (self.here, self.root.path) for name in OURS)}
        self.protected = {path for file in files for path in (normpath(file), real(file))}

    def holding(self, now: float) -> Iterable[Finding]:
        """Nothing: what a call did is done."""
        return ()

    def see(self, event: Event, now: float) -> Iterable[Finding]:
        if event.type == "session_start" and event.text("cwd"):
            self._enter(event.text("cwd"))
        if event.type not in ("tool_call", "file_read", "file_write"):
            return ()
        self.calls += 1
        reach = reach_of(event)
        base = absolute(directory_of(event), self.root.path)
        broken: list[tuple[str, str, str]] = []
        unjudged = [gap for gap in reach.unjudged if self.policy.covers(*gap.about)]
        for use in reach.paths:
            path = absolute(use.path, base, use.directory)
            guarded = use.access == "write" and self._guards(use, path)
            verdict = Verdict("no agent may change what it is watched by") if guarded else self.policy.path_verdict(use, path, self.root)
            if verdict.rule:
                broken.append(("policy" if guarded else use.access, self._named(path), verdict.rule))
            if verdict.unjudged:
                unjudged.append(Unjudged(verdict.unjudged, self._named(path), (use.access,)))
        broken += [("command", str(command), rule) for command in reach.commands if (rule := self.policy.command_verdict(command).rule)]
        hosts = [*reach.hosts, *("a web search" for gap in reach.unjudged if gap.kind == "search")]
        broken += [("network", host, rule) for host in hosts if (rule := self.policy.host_verdict(host).rule)]
        gaps = list(dict.fromkeys(f"{KINDS[gap.kind]}: {gap.what}" for gap in unjudged))[:20]
        key = event.id or f"#{self.calls}"
        if broken:
            return [self._violation(key, event, broken, gaps)]
        if unjudged and self.strict:
            return [Finding((key, "unjudged"), f"not judged: {gaps[0]}{_more(len(gaps))}", level="warning", evidence=(event.id,), seen={"unjudged": gaps})]
        self._say(event, unjudged)
        return ()

    def _guards(self, use: Use, path: str) -> bool:
        """Whether the write `use` to `path` changes the policy or the watch's own configuration."""
        for name in {normpath(path), real(path)}:
            if name in self.protected:
                return True
            if use.extent == "all" and any(file.startswith(name.rstrip("/") + "/") for file in self.protected):
                return True
            if use.glob and any(_may_name(name, file) for file in self.protected):
                return True
        return False

    def _named(self, path: str) -> str:
        """The absolute `path` for people: from the session's directory where it is in there, and what a link in it hides."""
        names = [name.removeprefix(self.root.path.rstrip("/") + "/") for name in (normpath(path), real(path))]
        names[1] = names[1].removeprefix(self.root.real.rstrip("/") + "/")
        return names[0] if names[0] == names[1] else f"{names[0]}, which is {names[1]}"

    def _violation(self, key: str, event: Event, broken: list[tuple[str, str, str]], gaps: list[str]) -> Finding:
        kind, target, rule = broken[0]
        target = target if len(target) <= 200 else target[:199] + "…"
        verb = {"read": "read of", "write": "write to", "policy": "write to", "command": "command", "network": "connection to"}[kind]
        named = f'"{target}"' if kind == "command" else target
        where = "" if kind == "policy" else f" in {self.policy.name}"
        seen = {"kind": kind, "target": target, "rule": rule, "count": len(broken), **({"unjudged": gaps} if gaps else {})}
        return Finding((key, "scope"), f"{verb} {named} ({rule}{where}){_more(len(broken))}", evidence=(event.id,) if event.id else (), seen=seen)

    def _say(self, event: Event, unjudged: list[Unjudged]) -> None:
        """Tell people, once a session for each kind, what is not checked."""
        for gap in unjudged:
            if gap.kind not in self.said:
                self.said.add(gap.kind)
                say(f"{program()}: session {event.session[:12]}: not judged: {KINDS[gap.kind]} ({gap.what}); said once, it holds for all such calls")


def _may_name(pattern: str, file: str) -> bool:
    """Whether the shell's `pattern`, an absolute one, may stand for `file`."""
    if basename(file).startswith(".") and not basename(pattern).startswith("."):
        return False  # A shell's wildcard stands for no leading dot.
    try:
        return bool(PathPatterns([pattern], wide=False).match(place(file, ()), "/"))
    except ValueError:
        return False


def _more(count: int) -> str:
    return f", and {count - 1} more" if count > 1 else ""


def _here() -> str:
    """The directory that we were started in: the session's own, where the session does not say."""
    try:
        return os.getcwd()
    except OSError:
        return "/"


main = detect_scope.main

if __name__ == "__main__":
    main()
