"""Paths in the arguments of the usual programs, as data: data/programs.json.

A program that is in no table may read and write anything: that is reported as not judged.
"""

from agent_pipes.core.lazy_regex import pattern
from agent_pipes.core.tables import names
from agent_pipes.scope import network_programs
from agent_pipes.scope.access import ALL, DEVICE, MAX_COMMANDS, AccessSet, can_run
from agent_pipes.scope.git_program import add_git
from agent_pipes.scope.listed_programs import FileProgram, add_listed, find_listed
from agent_pipes.scope.named_arguments import add_named
from agent_pipes.scope.special_programs import SPECIAL
from agent_pipes.shell import Command, Redirect
from agent_pipes.shell.interpreters import INTERPRETER
from agent_pipes.shell.options import PROGRAMS

_SOCKET = pattern(r"/dev/(?:tcp|udp)/([^/]+)/.*")


_HARMLESS = names(PROGRAMS["harmless"])
_RUNNERS = names(PROGRAMS["runners"])
_PRINTS_VERSION = {option: names(text) for option, text in PROGRAMS["prints_version"].items()}


def add_accesses(command: Command, found: AccessSet) -> None:
    """Add what a simple command reads, writes, runs and connects to."""
    if len(found.commands) >= MAX_COMMANDS:
        found.add_unjudged("long", f"more than {MAX_COMMANDS} commands", *ALL)
        return
    if command.words:
        found.commands.append(command)
    if "network" in found.covered:
        network_programs.add_environment(command, found)
    for redirect in command.redirects:
        _add_redirect(redirect, command, found)
    for gap in command.unresolved:
        found.add_unjudged(gap.kind, gap.what, *ALL)
        _add_script(command, found)
    if not command.name:
        return
    if not command.elsewhere:
        _add_program(command, found)
        return
    # Files there are not those of this machine; a host is a host.
    there = AccessSet(found.remotes, found.covered)
    _add_program(command, there)
    found.hosts += there.hosts
    found.scripts += there.scripts
    found.unjudged += [gap for gap in there.unjudged if gap.about == ("network",)]


def _add_program(command: Command, found: AccessSet) -> None:
    name = command.name
    if "network" in found.covered:
        network_programs.add_option_hosts(command, found)
    program, rest = find_listed(command)
    if program:
        add_listed(rest, program, found)
    if command.is_wrapper:
        add_named(command, found)
    elif name == "git":
        add_git(command, found)
    elif name in SPECIAL:
        SPECIAL[name](command, found)
    elif name in network_programs.NAMES:
        network_programs.add_accesses(command, found)
    elif not _is_known(name, program):
        _add_other(command, found)


def _is_known(name: str, program: FileProgram | None) -> bool:
    if name in _HARMLESS or name.startswith("(("):
        return True
    return program is not None and not program.also_unknown and name not in _RUNNERS


def _add_script(command: Command, found: AccessSet, *, is_code: bool = False) -> None:
    """Keep the texts that a command runs and that are not read: its arguments, its input.

    is_code: they are in a language other than the shell's.
    """
    texts = [word.text for word in command.own]
    texts += [each.body or each.target.text for each in command.redirects]
    for source in command.sources:
        texts += [*(word.text for word in source.words), *(each.body for each in source.redirects)]
    texts = [text for text in texts if " " in text or "\n" in text or '"' in text]
    found.scripts += filter(can_run, texts) if is_code else texts


def _add_redirect(redirect: Redirect, command: Command, found: AccessSet) -> None:
    target = redirect.target
    if redirect.copies or redirect.op.startswith("<<") or target.raw.startswith((">(", "<(")):
        return
    if socket := _SOCKET.fullmatch(target.text):
        found.hosts.append(socket[1].lower())
    elif not DEVICE.fullmatch(target.text) and not command.elsewhere:
        if redirect.writes:
            found.add_path("write", target, command.directory)
        if redirect.op in ("<", "<>"):
            found.add_path("read", target, command.directory)


def _prints_and_exits(command: Command) -> bool:
    """Return True for `python --version` and the like: the only argument is such an option."""
    if len(command.words) != 2 or "/" in command.words[0].text:
        return False
    programs = _PRINTS_VERSION.get(command.words[1].text, frozenset())
    return command.name in programs or "*" in programs


def _add_other(command: Command, found: AccessSet) -> None:
    """Add a program of no table: a script, a runner, anything."""
    name = command.name
    path = command.words[0].text
    if _prints_and_exits(command):
        return
    is_interpreter = bool(INTERPRETER.fullmatch(name))
    add_named(command, found, is_code=is_interpreter)
    if is_interpreter or name in _RUNNERS or "/" in path or name.endswith((".sh", ".py")):
        first = command.words[1] if len(command.words) > 1 else None
        if first and is_interpreter and not first.text.startswith("-"):
            found.add_path("read", first, command.directory)
        found.add_unjudged("script", command, *ALL)
        _add_script(command, found, is_code=is_interpreter)
    else:
        found.add_unjudged("program", name, "read", "write", "delete", "network")
