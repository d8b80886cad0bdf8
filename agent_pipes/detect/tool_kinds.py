"""What a tool call does, in a word: reads, edits, tests, waits; to what; and whether it may change anything."""

import re
from functools import lru_cache
from posixpath import basename

from agent_pipes.core.lazy_regex import pattern
from agent_pipes.shell import Command, normalised, parse
from agent_pipes.shell.parser import LEADS

PATCHED = pattern(r"^\*\*\* (?:Update|Add|Delete) File: (.+?)\s*$", re.M)
"""A file in the patches that apply_patch takes."""

_EDITING_TOOLS = frozenset(
    {
        "edit",
        "multiedit",
        "notebookedit",
        "apply_patch",
        "replace",
        "edit_file",
        "str_replace",
        "str_replace_editor",
        "str_replace_based_edit_tool",
    }
)
_READING_TOOLS = frozenset({"read", "read_file", "view", "open_file"})
_WRITING_TOOLS = frozenset({"write", "write_file", "create_file", "create"})
_LOOKING = pattern(
    r"read|view|grep|glob|search|list|ls\b|get|find|fetch|show|describe|status|query|web|think|poll|todo|update_plan|bashoutput|taskoutput"
)

_TESTERS = frozenset(
    {
        "pytest",
        "py.test",
        "tox",
        "nox",
        "jest",
        "vitest",
        "mocha",
        "rspec",
        "phpunit",
        "ctest",
        "unittest",
        "nextest",
    }
)
_RUNNERS = frozenset(
    {
        "python",
        "python3",
        "npm",
        "npx",
        "pnpm",
        "yarn",
        "bun",
        "deno",
        "uv",
        "poetry",
        "pipenv",
        "bundle",
        "cargo",
        "go",
        "make",
        "just",
        "task",
        "mise",
        "mvn",
        "gradle",
        "gradlew",
        "dotnet",
        "rake",
        "mix",
        "swift",
        "bazel",
        "nx",
        "turbo",
        "php",
        "ruby",
        "node",
    }
)
_TEST_SCRIPT = pattern(r"(?:run[-_]?)?tests?\.\w+|run[-_]?tests?|test_\w+\.\w+|\w+[._]test\.\w+")
_TEST_TASK = pattern(r"tests?(?:[:_-]\S*)?")


@lru_cache(maxsize=256)
def of_tool(tool: str) -> str:
    """`Read` → `read`, `MultiEdit` → `edit`, `mcp__github__get_issue` → `get_issue`."""
    name = (tool.rpartition("__")[2] if tool.startswith("mcp__") else tool).lower()
    if name in _EDITING_TOOLS:
        return "edit"
    return (
        "read"
        if name in _READING_TOOLS
        else "write"
        if name in _WRITING_TOOLS
        else name[:30] or "call"
    )


@lru_cache(maxsize=256)
def of_command(command: str) -> str:
    """`python -m pytest -q` → `test`, `sed -i s/a/b/ x.py` → `edit`, else the program's name."""
    words = short(command[:4000]).split(maxsplit=6)[:6]
    program = basename(words[0]) if words else ""
    plain = [basename(word) for word in words[1:] if not word.startswith("-")]
    if (
        program in _TESTERS
        or _TEST_SCRIPT.fullmatch(program)
        or (program in _RUNNERS and any(map(_is_test, plain)))
    ):
        return "test"
    return "edit" if _IN_PLACE.match(command) else program[:30] or "sh"


def _is_test(word: str) -> bool:
    return word in _TESTERS or bool(_TEST_TASK.fullmatch(word) or _TEST_SCRIPT.fullmatch(word))


_HEAD = rf"(?!(?:cd|time|env|command|exec|nohup|(?:/\S*/)?(?:ba|da|z|k)?sh|{'|'.join(map(re.escape, sorted(LEADS)))}) )[\w./+-]+"
_PLAIN = pattern(_HEAD + r"(?: [\w./:=@%+, -]*)?")
_DRESSED = pattern(
    rf"(?:cd [\w./+-]+ ?(?:&&|;) )?({_HEAD}(?: [\w./:=@%+,-]+)*)(?: 2>&1| 2>/dev/null)?(?: \| (?:tail|head)(?: -(?:n ?)?[0-9]+)?)?"
)
"""What agents write most often: a plain command, and about it what `normalised` takes off."""


def short(command: str) -> str:
    """The command as it is compared with others: `normalised`, which has nothing to do for a plain one, words alone."""
    if _PLAIN.fullmatch(command) and "  " not in command and command[-1] != " ":
        return command
    if len(command) > 1000:
        return normalised(command)
    dressed = _DRESSED.fullmatch(command)
    return dressed[1] if dressed else _normalised(command)


@lru_cache(maxsize=1024)
def _normalised(command: str) -> str:
    return normalised(command)


_IN_PLACE = pattern(r"(?:cd \S+ && )?(?:sed|gsed|perl)\b(?=.* -(?:\w*i|-in-place))", re.S)
_MAY_WRITE = pattern(r"<<|\b(?:sed|perl)\s|\b(?:echo|printf|cat|tee)\b[^|;&\n]{0,300}>")


def subject(command: str) -> str:
    """What a command is done to, for who asks whether it was done again: the command itself, but of an edit, like the
    edit of a file by a tool, only which file. Otherwise as `short`."""
    if (
        _PLAIN.fullmatch(command)
        and not command.startswith(("sed ", "gsed ", "perl "))
        and "  " not in command
        and command[-1] != " "
    ):
        return command
    if not _MAY_WRITE.search(command, 0, 4000):
        return short(command)
    return _edited(command) if len(command) <= 1000 else _edited.__wrapped__(command)


@lru_cache(maxsize=1024)
def _edited(command: str) -> str:
    said = []
    edits = False
    for each in parse(command):
        files = _edited_files(each)
        edits = edits or bool(files)
        if not each.carrier and each.name != "cd":
            said.append("edit " + " ".join(files) if files else str(each))
    return "; ".join(said) if edits else short(command)


def _edited_files(command: Command) -> list[str]:
    """The files that a simple command gives a content that stands in the command itself."""
    argv = command.argv[1:]
    if command.name in ("sed", "gsed", "perl"):
        if not any(re.match(r"-\w*i|--in-place", word) for word in argv):
            return []
        scripts = {
            at + 1
            for at, word in enumerate(argv)
            if word in ("-e", "-f", "--expression", "--file") or re.fullmatch(r"-[a-zA-Z]*e", word)
        }
        operands = [
            word
            for at, word in enumerate(argv)
            if word and not word.startswith("-") and at not in scripts
        ]
        return operands if scripts else operands[1:]
    bodies = [redirect.body for redirect in command.redirects if redirect.body]
    if command.name in ("apply_patch", "applypatch"):
        return [file for text in (*bodies, *argv) for file in PATCHED.findall(text)]
    written = [redirect.target.text for redirect in command.redirects if redirect.writes]
    if command.name in ("echo", "printf") or bodies:
        return written + (argv if command.name == "tee" else [])
    return []


POLLING_TOOLS = frozenset(
    {
        "BashOutput",
        "TaskOutput",
        "AgentOutputTool",
        "AgentOutput",
        "read_bash",
        "list_bash",
        "wait",
        "wait_agent",
        "poll",
    }
)
"""Tools that only wait for something, or ask how far it has come."""

_POLLING = pattern(
    r"(?:^|[;&|(]\s*|\bdo )(?:sleep\s+[\d.]|wait\b|watch\s|tail\s+(?:-\w+\s+)*-\w*[fF]\b|gh\s+run\s+(?:watch|view|list)|gh\s+pr\s+(?:checks|status)"
    r"|kubectl\s+(?:wait|rollout\s+status|get)|docker\s+wait|inotifywait\b|squeue\b)"
)


@lru_cache(maxsize=256)
def polls(command: str) -> bool:
    """Whether a command only waits for something, or asks how far it has come."""
    return bool(_POLLING.search(command, 0, 400))


_LOOK = frozenset(
    {
        "cat",
        "ls",
        "head",
        "tail",
        "grep",
        "egrep",
        "fgrep",
        "rg",
        "ag",
        "wc",
        "pwd",
        "echo",
        "printf",
        "which",
        "type",
        "file",
        "stat",
        "du",
        "df",
        "ps",
        "date",
        "whoami",
        "hostname",
        "uname",
        "printenv",
        "tree",
        "diff",
        "cmp",
        "uniq",
        "cut",
        "tr",
        "jq",
        "nl",
        "less",
        "more",
        "sleep",
        "true",
        "false",
        "test",
        "[",
        "basename",
        "dirname",
        "realpath",
        "readlink",
        "md5sum",
        "sha256sum",
        "id",
        "uptime",
        "free",
        "history",
        "column",
        "cd",
    }
)
_LOOK_GIT = frozenset(
    {
        "status",
        "log",
        "diff",
        "show",
        "blame",
        "ls-files",
        "rev-parse",
        "describe",
        "grep",
        "shortlog",
        "cat-file",
        "reflog",
    }
)
_PARTS = pattern(r"&&|\|\||[;|\n]")
_MORE = pattern(r"[;&|\n>`]|\$\(")


def command_changes(command: str) -> bool:
    """Whether a command may change something: what is not known to look only, may."""
    if not _MORE.search(command):
        return _changes(command)
    if len(command) > 500 or ">" in command or "$(" in command or "`" in command:
        return True
    return any(map(_changes, _PARTS.split(command)))


def _changes(part: str) -> bool:
    words = part.split(None, 2)
    return (
        bool(words)
        and words[0] not in _LOOK
        and not (words[0] == "git" and len(words) > 1 and words[1] in _LOOK_GIT)
    )


def tool_changes(tool: str) -> bool:
    return not _LOOKING.match(of_tool(tool))
