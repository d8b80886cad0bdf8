"""Outcome of a test, build, lint or type-check command, read from its tool's summary.

Nearly half of such commands hide their exit status: `pytest 2>&1 | tail -20`, `npm test || true`.
The rows of data/summaries.json were measured on recorded sessions, see trace-detect-retry(1).
"""

import re
from collections.abc import Iterator
from functools import cache, lru_cache
from posixpath import basename
from typing import Any, Literal, NamedTuple

from agent_pipes.core.lazy_regex import pattern
from agent_pipes.core.tables import names, read_table
from agent_pipes.core.text import without_frame
from agent_pipes.shell.commands import SHELLS
from agent_pipes.shell.lexer import Lexer
from agent_pipes.shell.parser import parse
from agent_pipes.shell.reader import MAX_NESTING
from agent_pipes.shell.words import Operator, Word

Verdict = Literal["failed", "passed"]

SUMMARY_CHARS = 4000
"""Characters at the end of an output in which failures are counted."""

MAX_CLASSIFIED_CHARS = 2000
"""Characters of the longest command whose tool is looked for."""

_SCRIPT_CLASSES = frozenset({"script", "make", "tox", "turbo", "test file", "bats", "pre-commit"})
"""Classes of commands that may run any tool: every summary is looked for."""

_PROJECT_SCRIPTS = frozenset({"python", "shell"})
"""Rows that only a script of the project's own (`./run_tests.sh`) gets."""

_ROWS_OF_CLASS = {
    "next build": "bundler",
    "vite build": "bundler",
    "oxlint": "eslint",
    "rustc": "cargo build",
}
_RUNNER = pattern(
    r"(?:npx|bunx|pnpm (?:exec|dlx)|yarn exec|uv run|uvx|poetry run|pipenv run|bundle exec"
    r"|docker(?:[ -]compose)? exec(?: -\S+)* \S+|mise exec --|rtk(?: proxy| test| err)?"
    r"|xvfb-run|python3? -m)(?: --?[\w-]+(?:=\S+)?)* "
)
_SCRIPT_RUNNER = pattern(r"(?:yarn|pnpm|bun)(?: run)? (?=[a-z])")
"""Before a program of the project's own: `yarn tsc` is tsc, unless no tool is called so."""

_RUNS_NOTHING = pattern(
    r" --(?:version|help|listTests|showConfig)\b| -c\b.*\bgo test|^go test -c\b"
)
_ANSI = pattern(r"\x1b\[[0-9;]*[A-Za-z]")
_PRINTED_STATUS = pattern(
    r"(?:(?:exit|rc|status|exit ?code|exit status)\W{0,3}[:= ] ?|^)(\d{1,3})\s*\Z", re.I | re.M
)
_HIDING = frozenset({"|", "|&", "||", ";", "&", "\n"})
_PASSING_THROUGH = names("tail head cat tee")
"""Programs after a pipe from whose silence one can tell that a tool was silent."""


class Tool(NamedTuple):
    """The tool that a command runs.

    name:          class of the command, "" if it is no test, build, lint or type-check command.
    is_hidden:     the exit status is not that of the tool.
    is_cut:        only a part of its output may have been printed.
    prints_status: the command prints the status itself, as `echo $?` does.
    """

    name: str
    is_hidden: bool = False
    is_cut: bool = False
    prints_status: bool = False

    @property
    def silence_tells(self) -> bool:
        """True if an empty output is all that the tool has printed."""
        return not self.is_cut and self.name not in _SCRIPT_CLASSES


NO_TOOL = Tool("")


def tool_of(command: str) -> Tool:
    """Return the last tool that a command runs; NO_TOOL if it runs none."""
    return _tool_of(command) if len(command) <= MAX_CLASSIFIED_CHARS else NO_TOOL


@lru_cache(maxsize=1024)
def _tool_of(command: str) -> Tool:
    if not _may_name_a_tool().search(command):
        return NO_TOOL
    found = ""
    operators: list[str] = []
    programs: list[str] = []
    for words, operator in _simple_commands(command):
        name = _class_of(words)
        if name:
            found, operators, programs = name, [operator], []
        elif found:
            programs.append(words.split(" ", 1)[0])
            operators.append(operator)
    if not found:
        return NO_TOOL
    hidden = _hides(operators) and "pipefail" not in command
    prints = "$?" in command or "PIPESTATUS" in command
    cut = any(program not in _PASSING_THROUGH for program in programs)
    return Tool(found, hidden, cut, prints)


def _hides(operators: list[str]) -> bool:
    """Return True if the operators after a tool replace its exit status."""
    following = operators[:-1] + [operator for operator in operators[-1:] if operator == "&"]
    if following[:1] == ["&&"]:
        # Of `pytest && echo ok | tail` a failure of pytest is the status of the whole.
        return any(operator in _HIDING - {"|", "|&"} for operator in following)
    return any(operator in _HIDING for operator in following)


def _simple_commands(command: str, depth: int = 0) -> Iterator[tuple[str, str]]:
    """Yield the words of each simple command, and the operator after it.

    `bash -c SCRIPT` and `ssh HOST SCRIPT` are the commands of the script.
    """
    words: list[str] = []
    for token in [*Lexer(command).tokens(), Operator("")]:
        if isinstance(token, Word):
            words.append(token.text)
        elif isinstance(token, Operator) and (not token.text or token.text not in "()"):
            script = _script_of(words) if depth < MAX_NESTING else ""
            if script:
                *inner, (last, _) = [*_simple_commands(script, depth + 1)] or [("", "")]
                yield from (*inner, (last, token.text))
            elif words:
                yield " ".join(words), token.text
            words = []


def _script_of(words: list[str]) -> str:
    """Return the command line that a shell is given, "" for none."""
    if words[:1] == ["ssh"] and " " in words[-1]:
        return words[-1]
    for at in range(len(words) - 2):
        if basename(words[at]) in SHELLS and re.fullmatch(r"-[a-z]*c", words[at + 1]):
            return words[at + 2]
    return ""


_ROWS: dict[str, Any] = read_table("summaries")
"""The table's rows, whose patterns are compiled when the first command is looked up."""


@cache
def _table() -> dict[str, Any]:
    table = _ROWS
    return {
        "tools": {
            tool: {key: re.compile(text, re.M) for key, text in row.items()}
            for tool, row in table["tools"].items()
        },
        "classes": [(name, re.compile(text)) for name, text in table["classes"]],
    }


@cache
def _may_name_a_tool() -> re.Pattern[str]:
    classes = "|".join(f"(?:{each.pattern})" for _, each in _table()["classes"])
    return re.compile(rf"(?<![\w.-])(?:{classes})")


def _class_of(words: str) -> str:
    """Return the class of a simple command, "" for none."""
    for inner in _inner(words):
        if _RUNS_NOTHING.search(inner):
            continue
        for name, expression in _table()["classes"]:
            if expression.match(inner):
                return str(name)
    return ""


def _inner(words: str) -> Iterator[str]:
    """Yield the simple commands that a simple command runs, without wrappers and runners."""
    for command in parse(words):
        written = str(command)
        program, space, rest = written.partition(" ")
        text = f"{program.rpartition('/')[2]}{space}{rest}"
        while found := _RUNNER.match(text):
            text = text[found.end() :]
        yield _SCRIPT_RUNNER.sub("", text)
        yield text
        yield written


def verdict(tool: Tool, text: str) -> Verdict | None:
    """Return how the tool ended by the whole output `text`; None if it does not tell."""
    text = without_frame(_ANSI.sub("", text)).strip("\n")
    if tool.prints_status and (printed := _PRINTED_STATUS.search(text[-200:])):
        return "failed" if int(printed[1]) else "passed"
    tools = _table()["tools"]
    rows = [(name, tools[name]) for name in _rows_of(tool.name) if name in tools]
    if any("failing" in row and row["failing"].search(text) for _, row in rows):
        return "failed"
    for _, row in rows:
        passing = row.get("passing")
        if passing and passing.search(text) and (text or tool.silence_tells):
            return "passed"
    loose = tools.get(tool.name, {}).get("loose")
    return "failed" if loose and loose.search(text) else None


@cache
def _rows_of(name: str) -> list[str]:
    """Return the rows for a class of commands: of a script all, of a tool its own and make's.

    The summaries of some tools are too much like other texts to be looked for in a script's output.
    """
    if name not in _SCRIPT_CLASSES:
        return [_ROWS_OF_CLASS.get(name, name), "make", "npm script"]
    others = {*_ROWS["named_only"]} | (_PROJECT_SCRIPTS if name != "test file" else set())
    return [row for row in _ROWS["tools"] if row not in others]


def summary_outcome(command: str, text: str) -> Verdict | None:
    """Return how a command ended whose exit status is hidden, by its whole output.

    None: it is no test, build, lint or type-check command, its status is visible, or the output
    does not tell.
    """
    tool = tool_of(command)
    return verdict(tool, text) if tool.is_hidden else None


def failure_count(tool: Tool, text: str) -> int | None:
    """Return the largest number of failures, errors or problems that a tool's output has."""
    if not tool.name:
        return None
    text = _ANSI.sub("", text[-SUMMARY_CHARS:])
    found = []
    for name in _rows_of(tool.name):
        counts = _table()["tools"].get(name, {}).get("counts")
        for match in counts.finditer(text) if counts else ():
            found += [int(group) for group in match.groups() if group and group.isdigit()]
    return max(found, default=None)
