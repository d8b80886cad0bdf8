"""The form of a command in which it is compared with others.

normalize("cd app && CI=1 pytest -q 2>&1 | tail -20")   →   "pytest -q"
"""

import re
from functools import lru_cache
from posixpath import basename

from agent_pipes.core.lazy_regex import pattern
from agent_pipes.core.tables import names
from agent_pipes.shell.commands import ASSIGNMENT, SHELLS
from agent_pipes.shell.lexer import Lexer
from agent_pipes.shell.log_file import is_log, without_log_file
from agent_pipes.shell.options import split
from agent_pipes.shell.parser import MAX_COMMAND_CHARS, RESERVED_WORDS
from agent_pipes.shell.reader import MAX_NESTING
from agent_pipes.shell.words import Operator, Redirect, Token, Word
from agent_pipes.shell.wrappers import (
    inner_words,
    runs_nothing,
    without_version,
    wrapper_of,
)

MAX_CACHED_CHARS = 1000
"""Characters of the longest command whose form is cached."""

_DISCARDING = ("2>&1", "2> /dev/null", "2>> /dev/null")
_CUTTING_ARGUMENT = pattern(r"-\d+|-[nc][+-]?\d+|[+-]?\d+|-[nc]|-u")
_TRANSPARENT = names(
    "env timeout gtimeout nice ionice stdbuf nohup setsid xvfb-run unbuffer caffeinate command exec"
    " retry chronic npx pnpx bunx pnpm yarn bun uv uvx pipx poetry pipenv pdm rye hatch pixi conda"
    " mamba micromamba mise asdf rbenv direnv bundle dotenvx cross-env env-cmd doppler op docker"
    " podman docker-compose kubectl oc ssh"
)
"""Wrappers that make no other command of the one that they run."""

_CONTINUING = ("&&", "||", "|", "|&", ";", "&", "(", ";;")
"""Operators after which a newline is no separator."""


def normalize(command: str) -> str:
    """Return `command` without what does not make another command of it.

    Taken off are, besides comments and white space between words:

    - `cd X &&` before it;
    - `VAR=x`, `time` and wrappers (`timeout 60`, `npx`, `docker exec X`) before a simple command;
    - `2>&1`, `2>/dev/null` and output to a log file;
    - `| tail`, `| head`, `| cat` and `| tee o.log`, `|| true` and `; echo $?` at its end.

    `bash -c 'X'` is X. Quotes, arguments, other redirections and here-documents stay as written.
    """
    return _cached(command) if len(command) <= MAX_CACHED_CHARS else _normalize(command)


def _normalize(command: str) -> str:
    text = command[:MAX_COMMAND_CHARS]
    for _ in range(MAX_NESTING):
        script = _shell_script(Lexer(text).tokens())
        if script is None or not script.strip():
            break
        text = script
    lexer = Lexer(text)
    tokens = lexer.tokens()
    if lexer.deep or len(command) > MAX_COMMAND_CHARS:
        return command.strip()
    kept = [
        token for token in tokens if not isinstance(token, Redirect) or token.raw not in _DISCARDING
    ]
    kept = _without_wrappers(_without_prefixes(_without_cd(kept)))
    kept = _without_tail(without_log_file(kept))
    return _written(kept) or _written(tokens) or command.strip()


_cached = lru_cache(maxsize=1024)(_normalize)


def _shell_script(tokens: list[Token]) -> str | None:
    """Return the script if the whole command is `bash -c SCRIPT`."""
    words = [token for token in tokens if isinstance(token, Word)]
    if len(words) != len(tokens) or len(words) != 3 or any(word.unresolved for word in words):
        return None
    runs = basename(words[0].text) in SHELLS and re.fullmatch(r"-[a-z]*c", words[1].text)
    return words[2].text if runs else None


def _without_cd(tokens: list[Token]) -> list[Token]:
    """Return the tokens after `cd X &&` at the start, if there are any."""
    at = 0
    while at < len(tokens):
        length = _words_at(tokens, at)
        after = _operator(tokens, at + length)
        if not length and after == "\n":
            at += 1
        elif length == 2 and after in ("&&", ";", "\n") and _raw(tokens[at]) == "cd":
            at += 3
        else:
            break
    return tokens[at:] if at < len(tokens) else tokens


def _words_at(tokens: list[Token], at: int) -> int:
    """Return the number of words from index `at` to the next operator or redirection."""
    length = 0
    while at + length < len(tokens) and isinstance(tokens[at + length], Word):
        length += 1
    return length


def _operator(tokens: list[Token], at: int) -> str:
    token = tokens[at] if at < len(tokens) else None
    return token.text if isinstance(token, Operator) else ""


def _without_prefixes(tokens: list[Token]) -> list[Token]:
    """Return the tokens without assignments and `time` before each simple command."""
    kept: list[Token] = []
    command_begins = True
    for at, token in enumerate(tokens):
        if isinstance(token, Operator):
            command_begins = True
        elif isinstance(token, Word):
            if command_begins and _is_prefix(tokens, at):
                continue
            command_begins = command_begins and token.raw in RESERVED_WORDS
        kept.append(token)
    return kept


def _is_prefix(tokens: list[Token], at: int) -> bool:
    raw = _raw(tokens[at])
    if raw == "-p":
        return at > 0 and _raw(tokens[at - 1]) == "time"
    if at + 1 >= len(tokens) or not isinstance(tokens[at + 1], Word):
        return False
    return (
        bool(ASSIGNMENT.match(raw))
        or raw == "time"
        or (raw == "env" and bool(ASSIGNMENT.match(_raw(tokens[at + 1]))))
    )


def _without_wrappers(tokens: list[Token], depth: int = 0) -> list[Token]:
    """Return the tokens with each `timeout 60 CMD`, `npx CMD`, `ssh HOST CMD` replaced by CMD."""
    kept: list[Token] = []
    at = 0
    while at < len(tokens):
        begins = not kept or isinstance(kept[-1], Operator) or _raw(kept[-1]) in RESERVED_WORDS
        length = _words_at(tokens, at)
        if not length or not begins:
            kept.append(tokens[at])
            at += 1
            continue
        words = [token for token in tokens[at : at + length] if isinstance(token, Word)]
        kept += _unwrapped(words, depth)
        at += length
    return kept


def _unwrapped(words: list[Word], depth: int) -> list[Token]:
    name = words[0].text.rpartition("/")[2]
    if name not in _TRANSPARENT or words[0].unresolved or depth >= MAX_NESTING:
        return list(words)
    wrapper, given = wrapper_of(name), None
    path: tuple[str, ...] = (name,)
    rest = tuple(words[1:])
    while given is None:
        found = split(rest, wrapper.options, leading=True)
        first = found.operands[0].text if found.operands else ""
        if first in wrapper.subcommands:
            path, rest = (*path, first), tuple(found.operands[1:])
            wrapper = wrapper_of(*path)
        else:
            given = found
    if runs_nothing(wrapper, given, rest) or wrapper.fallthrough:
        return list(words)
    inner, scripts = inner_words(wrapper, given, rest)
    if scripts or (wrapper.join and len(inner) == 1):
        text = scripts[0] if scripts else inner[0]
        if text.unresolved:
            return list(words)
        tokens = _without_cd(Lexer(text.text).tokens())
        return _without_wrappers(_without_prefixes(tokens), depth + 1) or list(words)
    if not inner:
        return list(words)
    if wrapper.package:
        inner = (without_version(inner[0]), *inner[1:])
    return _without_wrappers(_without_prefixes(list(inner)), depth + 1)


def _is_report(words: list[str], sign: str) -> bool:
    """Return True for what only hides or prints the status: `|| true`, `; echo $?`."""
    if sign == "||":
        return words in (["true"], [":"])
    return words[:1] == ["echo"] and sign in (";", "\n") and "$?" in " ".join(words)


def _without_tail(tokens: list[Token]) -> list[Token]:
    """Return the tokens without `| tail -20` and the like, and separators, at the end."""
    end = len(tokens)
    while end:
        last = tokens[end - 1]
        if isinstance(last, Operator) and last.text in (";", "\n"):
            end -= 1
            continue
        start = end
        while start and isinstance(tokens[start - 1], Word):
            start -= 1
        sign = _operator(tokens, start - 1) if start else ""
        words = [_raw(word) for word in tokens[start:end]]
        cuts = sign in ("|", "|&") and _only_cuts(words)
        if start < 2 or not (cuts or _is_report(words, sign)):
            break
        end = start - 1
    return tokens[:end]


def _only_cuts(words: list[str]) -> bool:
    """Return True for `tail -20`, `head -n 5`, `cat`, `tee o.log`: no command of their own."""
    if words[:1] == ["tee"]:
        return all(word == "-a" or is_log(word) for word in words[1:])
    if words[:1] in (["tail"], ["head"]):
        return all(map(_CUTTING_ARGUMENT.fullmatch, words[1:]))
    return words == ["cat"]


def _raw(token: Token) -> str:
    return token.raw if isinstance(token, Word) else ""


def _written(tokens: list[Token]) -> str:
    """Return the tokens as a text that reads the same, with here-documents after the line."""
    parts: list[str] = []
    documents: list[str] = []
    for token in tokens:
        if not isinstance(token, Operator):
            parts.append(token.raw)
            if isinstance(token, Redirect) and token.op in ("<<", "<<-"):
                documents.append(f"\n{token.body}{token.target.text}")
        elif token.text != "\n":
            parts.append(token.text)
        elif parts and parts[-1] not in _CONTINUING:
            parts.append(";")
    while parts and parts[-1] == ";":
        parts.pop()
    return " ".join(parts) + "".join(documents)
