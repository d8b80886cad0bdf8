"""The kind of a shell command: tests, edits, looks, waits; and the object of an edit."""

import re
from functools import lru_cache
from posixpath import basename

from agent_pipes.core.lazy_regex import pattern
from agent_pipes.core.tables import names
from agent_pipes.shell.commands import Command
from agent_pipes.shell.normalize import MAX_CACHED_CHARS, normalize
from agent_pipes.shell.parser import parse
from agent_pipes.shell.patch import patched_files
from agent_pipes.shell.words import Redirect

MAX_KIND_CHARS = 30
"""Characters of a kind: a program's name may be of any length."""

_TESTERS = names("pytest py.test tox nox jest vitest mocha rspec phpunit ctest unittest nextest")
_RUNNERS = names(
    "python python3 npm npx pnpm yarn bun deno uv poetry pipenv bundle cargo go make just task mise"
    " mvn gradle gradlew dotnet rake mix swift bazel nx turbo php ruby node"
)
"""Programs that run tests if an argument asks for it."""

_TEST_SCRIPT = pattern(r"(?:run[-_]?)?tests?\.\w+|run[-_]?tests?|test_\w+\.\w+|\w+[._]test\.\w+")
_TEST_TASK = pattern(r"tests?(?:[:_-]\S*)?")
_IN_PLACE = pattern(r"(?:cd \S+ && )?(?:sed|gsed|perl)\b(?=.* -(?:\w*i|-in-place))", re.S)
_MAY_WRITE = pattern(r"<<|\b(?:sed|perl)\s|\b(?:echo|printf|cat|tee)\b[^|;&\n]{0,300}>")

_POLLING = pattern(
    r"(?:^|[;&|(]\s*|\bdo )(?:sleep\s+[\d.]|wait\b|watch\s|tail\s+(?:-\w+\s+)*-\w*[fF]\b"
    r"|gh\s+run\s+(?:watch|view|list)|gh\s+pr\s+(?:checks|status)"
    r"|kubectl\s+(?:wait|rollout\s+status|get)|docker\s+wait|inotifywait\b|squeue\b)"
)
_READ_ONLY = names(
    "cat ls head tail grep egrep fgrep rg ag wc pwd echo printf which type file stat du df ps date"
    " whoami hostname uname printenv tree diff cmp uniq cut tr jq nl less more sleep true false"
    " test [ basename dirname realpath readlink md5sum sha256sum id uptime free history column"
    " cd sed awk gawk sort find fd jobs lsof"
)
_WRITING_OPTION = pattern(
    r"\s(?:-\w*i|--in-place|-delete|-exec\w*|-ok\w*|-fprint\w*|-o|--output)\b"
)
"""Options by which sed, find and sort change something."""

_READ_ONLY_GIT = names(
    "status log diff show blame ls-files rev-parse describe grep shortlog cat-file reflog"
)
_LOOKING_GIT = names("fetch ls-remote branch remote tag config diff-tree rev-list for-each-ref")
_CHANGING = names(
    "rm mv cp mkdir rmdir touch chmod chown ln dd truncate install rsync patch tar unzip make cmake"
    " ninja cargo go npm pnpm yarn bun pip pip3 poetry bundle gem composer apt apt-get brew dnf yum"
    " apk mvn gradle gradlew dotnet python python3 node ruby perl php kill pkill killall"
)
"""Programs that usually change something."""

_ASKING = pattern(
    r"(?:npm|pnpm|yarn) (?:view|info|show|ls|list|outdated|audit|why|ping|whoami)\b"
    r"|pip3? (?:index|show|list|freeze|check)\b|cargo (?:tree|metadata|search|info)\b"
    r"|go (?:list|version|env|doc)\b|brew (?:info|list|services)\b"
    r"|apt(?:-get)? (?:list|show|policy)"
)
_STATUS_WORD = pattern(
    r"(?:\b|_)(?:status|state|health\w*|ready|ready?z|alive|ping|poll\w*|wait\w*|progress|queue)"
    r"(?:\b|_)"
)
"""A script or a task that is named so, or asks for it, looks."""

_SCRIPT_RUNNERS = names("npm pnpm yarn bun make python python3 node ruby perl php")

_IDLE = names("sleep echo printf true : date cd")
"""Programs that a command may run that only sleeps."""

_SEPARATOR = pattern(r"&&|\|\||[;|\n]")
_NOT_SIMPLE = pattern(r"[;&|\n>`]|\$\(")
MAX_READ_ONLY_CHARS = 500
"""Characters of a list of commands that is read for changes; a longer one is taken to make some."""


@lru_cache(maxsize=256)
def command_kind(command: str) -> str:
    """Return "test" (`python -m pytest`), "edit" (`sed -i s/a/b/ x`) or the program's name."""
    words = normalize(command[:4000]).split(maxsplit=6)[:6]
    program = basename(words[0]) if words else ""
    operands = [basename(word) for word in words[1:] if not word.startswith("-")]
    if (
        program in _TESTERS
        or _TEST_SCRIPT.fullmatch(program)
        or (program in _RUNNERS and any(map(_is_test, operands)))
    ):
        return "test"
    if program == "test":
        # The shell's own, which is no test: also written so.
        return "["
    return "edit" if _IN_PLACE.match(command) else program[:MAX_KIND_CHARS] or "sh"


def _is_test(word: str) -> bool:
    return word in _TESTERS or bool(_TEST_TASK.fullmatch(word) or _TEST_SCRIPT.fullmatch(word))


def subject(command: str) -> str:
    """Return the object of a command, to tell whether the same is done again.

    For an edit it is the file alone, as it is for an edit by a tool; otherwise the normalized
    command.
    """
    if not _MAY_WRITE.search(command, 0, 4000):
        return normalize(command)
    return _cached_edit(command) if len(command) <= MAX_CACHED_CHARS else _edit(command)


def _edit(command: str) -> str:
    parts = []
    edits = False
    for each in parse(command):
        files = _edited_files(each)
        edits = edits or bool(files)
        if not each.is_wrapper and each.name != "cd":
            parts.append("edit " + " ".join(files) if files else str(each))
    return "; ".join(parts) if edits else normalize(command)


_cached_edit = lru_cache(maxsize=1024)(_edit)


def _edited_files(command: Command) -> list[str]:
    """Return the files to which a simple command gives a content that is part of the command."""
    argv = command.argv[1:]
    if command.name in ("sed", "gsed", "perl"):
        return _edited_in_place(argv)
    bodies = [redirect.body for redirect in command.redirects if redirect.body]
    if command.name in ("apply_patch", "applypatch"):
        return [file for text in (*bodies, *argv) if "*** " in text for file in patched_files(text)]
    written = [redirect.target.text for redirect in command.redirects if redirect.writes]
    if command.name in ("echo", "printf") or bodies:
        return written + (argv if command.name == "tee" else [])
    return []


def _edited_in_place(argv: list[str]) -> list[str]:
    """Return the operands of sed or perl with -i."""
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


@lru_cache(maxsize=256)
def is_polling(command: str) -> bool:
    """Return True if a command only waits for something, or asks how far it has come."""
    return bool(_POLLING.search(command, 0, 400))


@lru_cache(maxsize=256)
def only_sleeps(command: str) -> bool:
    """Return True if a command sleeps, and does nothing else but print."""
    programs = [each.name for each in parse(command) if not each.is_wrapper]
    return "sleep" in programs and all(program in _IDLE for program in programs)


@lru_cache(maxsize=256)
def is_known_to_change(command: str) -> bool:
    """Return True if a command is known to change something, or runs tests or builds."""
    if command_kind(command) in ("test", "edit") or subject(command).startswith("edit "):
        return True
    for each in parse(command):
        if any(redirect.writes for redirect in each.redirects if not _discards(redirect)):
            return True
        if each.name == "git":
            operands = [word for word in each.argv[1:] if not word.startswith("-")]
            if operands and operands[0] not in _READ_ONLY_GIT | _LOOKING_GIT:
                return True
        elif each.name in _CHANGING and not each.is_wrapper and not _only_asks(each):
            return True
    return False


def _only_asks(command: Command) -> bool:
    """Return True for `npm view X`, `make status` and the like."""
    written = f"{command.name} {' '.join(command.argv[1:])}"
    if _ASKING.match(written):
        return True
    return command.name in _SCRIPT_RUNNERS and bool(_STATUS_WORD.search(written, 0, 1000))


def _discards(redirect: Redirect) -> bool:
    return redirect.target.text == "/dev/null"


def may_change(command: str) -> bool:
    """Return True if a command is not known to be read-only."""
    if not _NOT_SIMPLE.search(command):
        return _may_change(command)
    if len(command) > MAX_READ_ONLY_CHARS or any(sign in command for sign in (">", "$(", "`")):
        return True
    return any(map(_may_change, _SEPARATOR.split(command)))


def _may_change(simple: str) -> bool:
    words = simple.split(None, 2)
    if not words:
        return False
    if words[0] in _READ_ONLY:
        return words[0] in ("sed", "find", "sort") and bool(_WRITING_OPTION.search(simple))
    return not (words[0] == "git" and len(words) > 1 and words[1] in _READ_ONLY_GIT)
