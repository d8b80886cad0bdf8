"""Completing a command line, for bash, zsh and fish: options, their values, sessions and agents' names.

A shell asks `agent-strace` with the line in the environment, in click's own protocol (`_AGENT_STRACE_COMPLETE`,
COMP_WORDS, COMP_CWORD), for whichever command of the suite stands on it; `_AGENT_STRACE_COMPLETE=bash_source` prints
the script that makes a shell ask. What is a word of the answer is made of letters, digits and `._-` only: a session's
id and its directory are the agent's to choose.
"""

import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import ClassVar

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
    shell_complete,
    split_arg_string,
)

from agent_pipes.commands.subcommands import strace
from agent_pipes.core.display import escape
from agent_pipes.core.filter import Filter

VARIABLE = "_AGENT_STRACE_COMPLETE"

PATIENCE = 5.0
"""Seconds after which a shell, and whoever types, is not kept waiting any more."""

LISTED = 100
"""Sessions that are named at most, the newest first."""

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_COMMAND = re.compile(r"trace-[a-z-]+")


def answer() -> int:
    """Answer the shell that has asked; the result is the exit status."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    for each in SHELLS:
        add_completion_class(each)
    asked = _asked(split_arg_string(os.environ.get("COMP_WORDS", "")))
    return shell_complete(asked, {}, asked.name or "", VARIABLE, os.environ[VARIABLE])


def _asked(words: list[str]) -> click.Command:
    """The command whose line it is, ready to be asked what may stand in it. Raises click.UsageError where it is none of ours."""
    while words and re.match(r"[A-Za-z_]\w*=", words[0]):
        del words[0]
    name = os.path.basename(words[0]) if words else "agent-strace"
    if name == "agent-strace":
        command = strace.get_command(click.Context(strace), words[1]) if len(words) > 1 else None
        _prepare(command or strace)
        return strace
    if _COMMAND.fullmatch(name):
        with suppress(ModuleNotFoundError):
            module = import_module(_module_of(name))
            for value in vars(module).values():
                if isinstance(value, Filter) and value.name == name:
                    _prepare(value)
                    return value
    raise click.UsageError(f"{name} is none of the commands that are completed here")


def _module_of(name: str) -> str:
    """Return the module of the command `name`."""
    detector = name.removeprefix("trace-detect-")
    if detector != name:
        return f"agent_pipes.detect.{'loop.command' if detector == 'loop' else detector}"
    return f"agent_pipes.commands.{name.removeprefix('trace-')}"


def _prepare(command: click.Command) -> None:
    """Have each parameter know its values, by what its help calls them: SESSION, FILE, SIGNAL. Click knows choices and paths."""
    for param in command.params:
        called = (
            param.metavar
            or (param.name if isinstance(param, click.Argument) else param.type.name)
            or ""
        )
        kinds = set(re.findall(r"[A-Z]+", called.upper()))
        if "SESSION" in kinds:
            param.type = Sessions("FILE" in kinds)
        elif "FILE" in kinds:
            param.type = click.Path()
        elif "SIGNAL" in kinds:
            param.type = click.Choice([each.name.removeprefix("SIG") for each in signal.Signals])


class Sessions(click.ParamType):  # type: ignore[type-arg]
    """The beginning of a session's id, or an agent's name; `files`: or a file."""

    name = "SESSION"

    def __init__(self, files: bool) -> None:
        self.files = files

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> "list[CompletionItem[str]]":
        return [
            *([CompletionItem(incomplete, type="file")] if self.files else []),
            *_sessions(incomplete),
        ]


def _sessions(beginning: str) -> "Iterator[CompletionItem[str]]":
    """The sessions of this directory whose ids begin so, else those of any; and the agents that have some."""
    from agent_pipes.core.display import format_duration
    from agent_pipes.sessions import discovery

    every = discovery.sessions()
    fit = {
        each.id: each
        for each in every
        if each.id.startswith(beginning) and _PLAIN.fullmatch(each.id)
    }
    here, now = os.getcwd(), time.time()
    mine = [each for each in fit.values() if discovery.here(each, here)]
    for each in (mine or list(fit.values()))[:LISTED]:
        age = format_duration(max(0, round(now - each.modified)))
        yield CompletionItem(
            each.id, help=f"{each.agent}, {age} ago, {_shortened(escape(each.cwd))}"
        )
    for agent in sorted({each.agent for each in every}):
        if agent.startswith(beginning):
            yield CompletionItem(agent, help=f"the session of {agent} that is meant here")


def _shortened(path: str) -> str:
    """The end of a long path: that is what tells one from another."""
    return path if len(path) <= 60 else f"…{path[-59:]}"


class _Ours:
    """One script for all of our commands, by whichever of them a shell has loaded it."""

    source_template: ClassVar[str]

    def source(self) -> str:
        return self.source_template.replace("@NAMES@", " ".join(names()))


def names() -> list[str]:
    """The names of our commands: as pyproject.toml has them in a checkout, else as they were installed."""
    project = Path(__file__).parent.parent / "pyproject.toml"
    if project.exists():
        import tomllib

        return sorted(tomllib.loads(project.read_text(encoding="utf-8"))["project"]["scripts"])
    from importlib.metadata import entry_points

    return sorted(
        {
            each.name
            for each in entry_points(group="console_scripts")
            if each.value.startswith("agent_pipes.")
        }
    )


class Bash(_Ours, BashComplete):
    """For bash, which parts a line at `=` too."""

    source_template: ClassVar[
        str
    ] = r"""# Completion for bash, from 4.4 on, of the commands of agent-pipes. Made by `make completions`.

_agent_pipes() {
    local at program=agent-strace response type value
    if [[ ${1##*/} == agent-strace && ${COMP_WORDS[1]} == watch ]]; then
        for ((at = 2; at < COMP_CWORD; at++)); do
            if [[ ${COMP_WORDS[at]} == -- ]]; then
                _agent_pipes_other $((at + 1)) "$2"
                return
            fi
        done
    fi
    type -P agent-strace >/dev/null || program=$_agent_pipes_beside
    response=$(
        IFS=$'\n'
        env _AGENT_STRACE_COMPLETE=bash_complete COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD="$COMP_CWORD" "$program" </dev/null 2>/dev/null
    )
    while IFS=, read -r type value; do
        case $type in
            plain) COMPREPLY+=("$value") ;;
            file) compopt -o default ;;
            dir) compopt -o dirnames ;;
        esac
    done <<<"$response"
}

# The words from $1 on are the line of another command, whose own completion is asked, where there is one.
_agent_pipes_other() {
    if declare -F _comp_command_offset >/dev/null; then
        _comp_command_offset "$1"
    elif declare -F _command_offset >/dev/null; then
        _command_offset "$1"
    elif ((COMP_CWORD == $1)); then
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -c -d -- "$2")
    else
        compopt -o default
    fi
}

if ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 404)); then
    # The command that lies beside this file, for when it is not on PATH.
    _agent_pipes_beside=$(cd -P -- "${BASH_SOURCE[0]%/*}/../../../bin" 2>/dev/null && pwd)/agent-strace
    complete -o nosort -F _agent_pipes @NAMES@
fi
"""

    def get_completion_args(self) -> tuple[list[str], str]:
        args, incomplete = super().get_completion_args()
        joined: list[str] = []
        for word in [*args, incomplete]:
            if joined and joined[-1].startswith("--") and (word == "=" or joined[-1].endswith("=")):
                joined[-1] += word
            else:
                joined.append(word)
        return joined[:-1], joined[-1]


class Zsh(_Ours, ZshComplete):
    """For zsh."""

    source_template: ClassVar[str] = r"""#compdef @NAMES@
# Completion for zsh of the commands of agent-pipes. Made by `make completions`.

_agent-strace() {
    local -a plain described
    local at=${words[(ie)--]} type value help response
    if [[ ${words[1]:t} == agent-strace && ${words[2]} == watch ]] && (( at < CURRENT )); then
        # What stands behind is the line of another command.
        shift $at words
        (( CURRENT -= at ))
        _normal
        return
    fi
    response=$(
        env _AGENT_STRACE_COMPLETE=zsh_complete COMP_WORDS="${(F)words}" COMP_CWORD=$((CURRENT - 1)) \
            ${commands[agent-strace]:-$_agent_pipes_beside} </dev/null 2>/dev/null
    )
    # The value of --option=value is what is completed.
    [[ $PREFIX == --*=* ]] && compset -P 1 '*='
    for type value help in "${(@f)response}"; do
        case $type in
            plain) [[ $help == _ ]] && plain+=("$value") || described+=("$value:$help") ;;
            file) _path_files -f ;;
            dir) _path_files -/ ;;
        esac
    done
    (( $#described )) && _describe -V agent-pipes described
    (( $#plain )) && compadd -V agent-pipes -a plain
}

# The command that lies beside this file, for when it is not on PATH.
typeset -g _agent_pipes_beside=${${(%):-%x}:A:h:h:h:h}/bin/agent-strace
if [[ $funcstack[1] == _agent-strace ]]; then
    _agent-strace "$@"
elif (( $+functions[compdef] )); then
    compdef _agent-strace @NAMES@
fi
"""

    def format_completion(self, item: "CompletionItem[str]") -> str:
        if item.help:
            # zsh takes a backslash for a quoting one there.
            item.help = item.help.replace("\\", "\\\\")
        return super().format_completion(item)


class Fish(_Ours, FishComplete):
    """For fish."""

    source_template: ClassVar[
        str
    ] = r"""# Completion for fish of the commands of agent-pipes. Made by `make completions`.

# The command that lies beside this file, for when it is not on PATH.
set -g __agent_pipes_beside (status dirname)/../../../bin/agent-strace

function __agent_pipes
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l at (contains -i -- -- $words)
    if test -n "$at"; and string match -q -- '*agent-strace watch' "$words[1..2]"
        # What stands behind is the line of another command.
        __fish_complete_subcommand --commandline $words[(math $at + 1)..-1] $current
        return
    end
    set -l program $__agent_pipes_beside
    command -q agent-strace; and set program agent-strace
    # The value of --option=value is what is completed.
    set -l before (string match -r -- '^--[^=]+=' $current)
    for item in (env _AGENT_STRACE_COMPLETE=fish_complete COMP_WORDS=(commandline -cp | string collect) COMP_CWORD="$current" \
            $program </dev/null 2>/dev/null)
        set -l part (string split -m 1 , -- $item)
        switch $part[1]
            case plain
                printf '%s\n' "$before$part[2]"
            case file
                printf '%s\n' "$before"(complete -C "'' "(string replace -- "$before" '' $current))
            case dir
                printf '%s\n' "$before"(__fish_complete_directories (string replace -- "$before" '' $current))
        end
    end
end

for name in @NAMES@
    complete --command $name --no-files --keep-order --arguments '(__agent_pipes)'
end
"""


SHELLS: tuple[type[ShellComplete], ...] = (Bash, Zsh, Fish)
