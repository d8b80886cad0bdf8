"""Commands that PowerShell or cmd runs, split apart and matched by name, no more."""

import re
from base64 import b64decode

from agent_pipes.core.lazy_regex import pattern
from agent_pipes.core.tables import names

WINDOWS_SHELLS = names("powershell powershell.exe pwsh pwsh.exe cmd cmd.exe")

MAX_WINDOWS_NESTING = 4
"""Shells within shells (`powershell -c "cmd /c …"`) that are split."""

_TOKEN = pattern(r"\"([^\"]*)\"|'([^']*)'|(&&|\|\||[;|&\n{}()@])|([^\s;|&{}()\"'@]+)")
_CONDITION = pattern(r"(?i)\bif\s+(?:not\s+)?(?:exist\s+\S+|errorlevel\s+\S+|\S+==\S+)")
_ASSIGNMENT = pattern(r"\$[\w:]+\s*=")
_VALUES = names(
    "-executionpolicy -ep -ex -version -windowstyle -w -outputformat -inputformat -file -f"
    " -configurationname -workingdirectory -wd"
)
_BEFORE_COMMAND = names("call start start-process saps /b /wait do else try . -filepath")
_EVALUATING = names("invoke-expression iex")


def windows_commands(argv: list[str], depth: int = 0) -> list[list[str]] | None:
    """Return the commands in the arguments of PowerShell or cmd, None if they cannot be read."""
    text = _script(argv)
    if text is None:
        return None
    found: list[list[str]] = []
    for words in _split(_CONDITION.sub(";", _ASSIGNMENT.sub(";", text))):
        while words and words[0].lower() in _BEFORE_COMMAND:
            words = words[1:]
        if not words:
            continue
        name = words[0].lower().rpartition("\\")[2]
        if name in _EVALUATING and len(words) > 1 and depth < MAX_WINDOWS_NESTING:
            found += _split(" ".join(words[1:]))
        elif name in WINDOWS_SHELLS and depth < MAX_WINDOWS_NESTING:
            found += windows_commands([name, *words[1:]], depth + 1) or []
        else:
            found.append([name, *words[1:]])
    return found


def _script(argv: list[str]) -> str | None:
    """Return the command line in the arguments, "" if there is none."""
    is_cmd, words = argv[0].startswith("cmd"), argv[1:]
    at = 0
    while at < len(words):
        word = words[at].lower()
        at += 1
        if word.lstrip("/") in ("c", "k") and is_cmd:
            return " ".join(words[at:])
        if is_cmd:
            continue
        if word in ("-c", "-command"):
            return " ".join(words[at:])
        if re.match(r"-e(?:nc|c\Z|ncodedcommand\Z|\Z)", word):
            return _decoded(words[at]) if at < len(words) else ""
        if word in ("-file", "-f"):
            return None
        if not word.startswith("-"):
            return " ".join(words[at - 1 :])
        at += word in _VALUES
    return ""


def _decoded(text: str) -> str | None:
    try:
        decoded = b64decode(text, validate=True).decode("utf-16-le")
    except ValueError:
        return None
    return decoded if decoded.isascii() else None


def _split(text: str) -> list[list[str]]:
    found: list[list[str]] = [[]]
    for double, single, separator, word in _TOKEN.findall(text):
        if separator:
            found.append([])
        else:
            found[-1].append(double or single or word)
    return [words for words in found if words]
