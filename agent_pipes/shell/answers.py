"""Exit statuses that are an answer ("no"), not a failure."""

import re
from functools import lru_cache

from agent_pipes.core.lazy_regex import pattern
from agent_pipes.shell.lexer import Lexer
from agent_pipes.shell.parser import parse
from agent_pipes.shell.words import Operator, Word

MAX_COMMAND_CHARS = 4000
"""Characters of the longest command whose last program is looked for."""

_ANSWERS = {
    1: pattern(
        r"\[\[? |(?:rg|ag|ack|[efz]?grep|test|pgrep|pidof|diff|cmp|which|type|hash|lsof|expr|getent"
        r"|mountpoint|ps|nc|ncat|ping|host|nslookup|fuser|pg_isready|redis-cli|mysqladmin)\b"
        r"|kubectl (?:\S+ )*?(?:wait|rollout status)\b|oc (?:\S+ )*?(?:wait|rollout status)\b"
        r"|gh pr checks\b|(?:npm|pnpm|yarn) outdated\b|docker compose (?:\S+ )*?wait\b"
        r"|git (?:-\S+ (?:\S+ )?)*(?:grep|diff|config|merge-base|show-ref|rev-parse|check-ignore"
        r"|ls-files|cat-file)\b"
        r"|command -[vV] |kill -0 |jq (?:\S+ )*-e|curl\b.*health|wget\b.*health"
    ),
    2: pattern(r"pg_isready\b|getent\b|(?:terraform|tofu) plan .*-detailed-exitcode"),
    3: pattern(r"systemctl (?:\S+ )*(?:is-active|is-enabled|status)\b"),
    7: pattern(r"curl\b"),
    8: pattern(r"gh pr checks\b|wget\b.*(?:--spider|health)"),
    22: pattern(r"curl\b(?!.* (?:-X ?[A-Z]|--request|-d\b|--data|-F\b|--form|-T\b|--upload))"),
    28: pattern(r"curl\b"),
    52: pattern(r"curl\b"),
    56: pattern(r"curl\b"),
}
"""By exit status, how the last program of the last pipeline begins whose status is an answer."""

_QUERY_TOOLS = pattern(
    r"which |command -[vV] |type |hash |diff |cmp |git (?:\S+ )*diff |pg_isready|redis-cli|nc "
    r"|ncat |ping |host |nslookup |kubectl |oc |systemctl |npm outdated"
)
"""Programs whose text of an answer reads as an error: "not found" is the answer."""

_ERROR_TEXT = pattern(
    r"^(?:fatal: |error: )|Could not |parse error|\(eval\):|syntax error|command not found"
    r"|Permission denied",
    re.M,
)


def is_answer(command: str, status: int, text: str) -> bool:
    """Return True if a command that exited with `status` has only answered "no".

    The last program of the last pipeline decides. It is a failure if the output has the error of
    another program.
    """
    programs = _ANSWERS.get(status)
    if programs is None or len(command) > MAX_COMMAND_CHARS:
        return False
    last = _last_program(command)
    if not programs.match(last):
        return False
    return bool(_QUERY_TOOLS.match(last)) or not _ERROR_TEXT.search(text)


@lru_cache(maxsize=256)
def _last_program(command: str) -> str:
    words: list[str] = []
    last: list[str] = []
    for token in Lexer(command).tokens():
        if isinstance(token, Operator):
            last = words or last
            words = []
        elif isinstance(token, Word):
            words.append(token.raw)
    inner = parse(" ".join(words or last))
    if not inner:
        return ""
    program, _, rest = str(inner[-1]).partition(" ")
    return f"{program.rpartition('/')[2]} {rest}"
