"""Commands whose output goes to a log file that is shown at once: `make > o.log; tail o.log`."""

from agent_pipes.core.tables import names
from agent_pipes.shell.words import Operator, Redirect, Token, Word

_SHOWING = names("tail head cat")


def without_log_file(tokens: list[Token]) -> list[Token]:
    """Return the tokens without the log file, if the last command only shows a file.

    The log may have another name each time, which does not make another command of it.
    """
    last = next((at for at in range(len(tokens) - 1, -1, -1) if _separates(tokens[at])), -1)
    if last < 1 or not _only_shows(tokens[last + 1 :]):
        return tokens
    kept = [token for token in tokens[:last] if not _writes_file(token)]
    return kept if len(kept) < last else tokens


def _separates(token: Token) -> bool:
    return isinstance(token, Operator) and token.text in (";", "&&", "||", "\n")


def _only_shows(tokens: list[Token]) -> bool:
    """Return True for `tail -5 o.log` and the like."""
    words = [token for token in tokens if isinstance(token, Word)]
    return len(words) == len(tokens) > 1 and words[0].text in _SHOWING


def _writes_file(token: Token) -> bool:
    return isinstance(token, Redirect) and token.writes and token.target.text != "/dev/null"
