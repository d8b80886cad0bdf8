"""Log files: commands that write their output to one, and commands that show one.

`make > o.log; tail o.log` shows it at once; an agent may also look at it with its next call.
"""

from functools import lru_cache

from agent_pipes.core.lazy_regex import pattern
from agent_pipes.core.tables import names
from agent_pipes.shell.lexer import Lexer
from agent_pipes.shell.words import Operator, Redirect, Token, Word

_SHOWING = names("tail head cat grep egrep rg less sed awk")
_LOG_NAME = pattern(r"(?:.*/)?[^/]*(?:\.(?:log|txt|out|err)|(?:^|[-_.])log)|/tmp/.+")
"""Names of files that hold output: another name does not make another command."""


def without_log_file(tokens: list[Token]) -> list[Token]:
    """Return the tokens without the log file that they write, and the command that shows it.

    The log may have another name each time, which does not make another command of it.
    """
    last = _last_separator(tokens)
    if last > 0 and _only_shows(tokens[last + 1 :]):
        kept = [token for token in tokens[:last] if not _writes_file(token)]
        if len(kept) < last:
            return kept
    return [token for token in tokens if not _writes_log(token)]


@lru_cache(maxsize=256)
def written_log(command: str) -> str:
    """Return the log file that a command writes and does not show, "" for none."""
    tokens = Lexer(command).tokens()
    last = _last_separator(tokens)
    if last > 0 and _only_shows(tokens[last + 1 :]):
        return ""
    piped = [at for at, token in enumerate(tokens) if _pipes(token)]
    if piped and not _is_word(tokens, piped[-1] + 1, "tee"):
        return ""
    logs = (token for token in tokens if isinstance(token, Redirect) and _writes_log(token))
    return next((log.target.text for log in logs), "")


@lru_cache(maxsize=256)
def shown_log(command: str) -> str:
    """Return the log file that a command only shows, "" for none."""
    if not command.startswith(tuple(_SHOWING)):
        return ""
    tokens = Lexer(command).tokens()
    first = next((at for at, token in enumerate(tokens) if isinstance(token, Operator)), None)
    words = [token.text for token in tokens[:first] if isinstance(token, Word)]
    return words[-1] if words and words[0] in _SHOWING and _LOG_NAME.fullmatch(words[-1]) else ""


def is_log(name: str) -> bool:
    """Return True for the name of a file that holds output."""
    return bool(_LOG_NAME.fullmatch(name))


def _last_separator(tokens: list[Token]) -> int:
    return next((at for at in range(len(tokens) - 1, -1, -1) if _separates(tokens[at])), -1)


def _separates(token: Token) -> bool:
    return isinstance(token, Operator) and token.text in (";", "&&", "||", "\n")


def _pipes(token: Token) -> bool:
    return isinstance(token, Operator) and token.text in ("|", "|&")


def _is_word(tokens: list[Token], at: int, text: str) -> bool:
    token = tokens[at] if at < len(tokens) else None
    return isinstance(token, Word) and token.text == text


def _only_shows(tokens: list[Token]) -> bool:
    """Return True for `tail -5 o.log` and the like."""
    words = [token for token in tokens if isinstance(token, Word)]
    return len(words) == len(tokens) > 1 and words[0].text in _SHOWING


def _writes_file(token: Token) -> bool:
    return isinstance(token, Redirect) and token.writes and token.target.text != "/dev/null"


def _writes_log(token: Token) -> bool:
    return isinstance(token, Redirect) and _writes_file(token) and is_log(token.target.text)
