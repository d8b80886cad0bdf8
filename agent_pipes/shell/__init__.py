"""A shell command read as a shell reads it, for whoever compares commands and whoever judges them.

    normalised("cd app && CI=1 pytest -q 2>&1 | tail -20")   →   "pytest -q"
    parse("cd deploy && rm -rf x > log")                     →   cd deploy · rm -rf x (in deploy, > log)

No shell is run, nothing is expanded, and no text makes these functions raise. They take time linear in the text.
"""

import re
import shlex
from posixpath import basename

from agent_pipes.core.lazy_regex import pattern
from agent_pipes.shell.commands import ASSIGNMENT, SHELLS, Command, Unknown
from agent_pipes.shell.lexer import Lexer
from agent_pipes.shell.parser import LEADS, LONGEST, parse
from agent_pipes.shell.words import Operator, Redirect, Token, Word
from agent_pipes.shell.wrappers import WITHIN

__all__ = ["Command", "Redirect", "Unknown", "Word", "line", "normalised", "parse"]


def line(value: object) -> str:
    """The command line that a shell tool was given: a string as it is, a list of arguments as a shell would be given it."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
        return ""
    if len(value) == 3 and basename(value[0]) in SHELLS and re.fullmatch(r"-[a-z]*c", value[1]):
        return str(value[2])
    return shlex.join(value)


_QUIET = ("2>&1", "2> /dev/null", "2>> /dev/null")
_TAIL_ARGUMENT = pattern(r"-\d+|-[nc][+-]?\d+|[+-]?\d+|-[nc]|-u")


def normalised(command: str) -> str:
    """`command` as it is compared with others: what does not make another command of it is taken off.

    Taken off are `cd X &&` before it, `VAR=x`, `env VAR=x` and `time` before a simple command, `2>&1` and
    `2>/dev/null`, `| tail`, `| head` and `| cat` of standard input at its end, comments, and white space between
    words. `bash -c 'X'` is X. Quotes, arguments, other redirections and here-documents stay as they were written.
    """
    text = command[:LONGEST]
    for _ in range(WITHIN):
        inner = _of_shell(Lexer(text).tokens())
        if inner is None or not inner.strip():
            break
        text = inner
    lexer = Lexer(text)
    tokens = lexer.tokens()
    if lexer.deep or len(command) > LONGEST:
        return command.strip()
    kept = _without_tail(
        _without_lead(
            [
                token
                for token in tokens
                if not isinstance(token, Redirect) or token.raw not in _QUIET
            ]
        )
    )
    return _written(kept) or _written(tokens) or command.strip()


def _of_shell(tokens: list[Token]) -> str | None:
    """The script, where the whole command is `bash -c SCRIPT` and no more."""
    words = [token for token in tokens if isinstance(token, Word)]
    if len(words) != len(tokens) or len(words) != 3 or any(word.doubt for word in words):
        return None
    runs = basename(words[0].text) in SHELLS and re.fullmatch(r"-[a-z]*c", words[1].text)
    return words[2].text if runs else None


def _without_lead(tokens: list[Token]) -> list[Token]:
    """Without `cd X &&` at the start, and without assignments and `time` before each simple command."""
    at = 0
    while at < len(tokens):
        words: list[Token] = []
        while at + len(words) < len(tokens) and isinstance(tokens[at + len(words)], Word):
            words.append(tokens[at + len(words)])
        after = tokens[at + len(words)] if at + len(words) < len(tokens) else None
        if isinstance(after, Operator) and after.text == "\n" and not words:
            at += 1
        elif (
            isinstance(after, Operator)
            and after.text in ("&&", ";", "\n")
            and len(words) == 2
            and _raw(words[0]) == "cd"
        ):
            at += 3
        else:
            break
    kept: list[Token] = []
    begins = True
    rest = tokens[at:] if at < len(tokens) else tokens
    for index, token in enumerate(rest):
        follows = index + 1 < len(rest) and isinstance(rest[index + 1], Word)
        if isinstance(token, Word):
            raw = token.raw
            if (
                begins
                and follows
                and (
                    ASSIGNMENT.match(raw)
                    or raw == "time"
                    or (raw == "env" and ASSIGNMENT.match(_raw(rest[index + 1])))
                )
            ):
                continue
            if begins and raw == "-p" and index and _raw(rest[index - 1]) == "time":
                continue
            begins = begins and raw in LEADS
        elif isinstance(token, Operator):
            begins = True
        kept.append(token)
    return kept


def _without_tail(tokens: list[Token]) -> list[Token]:
    """Without `| tail -20` and its like at the end, and what ends a command there."""
    end = len(tokens)
    while end:
        last = tokens[end - 1]
        if isinstance(last, Operator) and last.text in (";", "\n"):
            end -= 1
            continue
        start = end
        while start and isinstance(tokens[start - 1], Word):
            start -= 1
        words = [_raw(word) for word in tokens[start:end]]
        pipe = tokens[start - 1] if start else None
        plain = words[:1] in (["tail"], ["head"]) and all(map(_TAIL_ARGUMENT.fullmatch, words[1:]))
        if (
            not (plain or words == ["cat"])
            or not isinstance(pipe, Operator)
            or pipe.text not in ("|", "|&")
            or start < 2
        ):
            break
        end = start - 1
    return tokens[:end]


def _raw(token: Token) -> str:
    return token.raw if isinstance(token, Word) else ""


def _written(tokens: list[Token]) -> str:
    """The tokens as text that reads the same; here-documents stand behind the line."""
    parts: list[str] = []
    documents: list[str] = []
    for token in tokens:
        if isinstance(token, Operator):
            if token.text == "\n" and (
                not parts or parts[-1] in ("&&", "||", "|", "|&", ";", "&", "(", ";;")
            ):
                continue
            parts.append(";" if token.text == "\n" else token.text)
        else:
            parts.append(token.raw)
            if isinstance(token, Redirect) and token.op in ("<<", "<<-"):
                documents.append(f"\n{token.body}{token.target.text}")
    while parts and parts[-1] == ";":
        parts.pop()
    return " ".join(parts) + "".join(documents)
