"""Files and hosts in the arguments of a program of no table, as far as their names show them.

deploy-tool --env-file=.env       reads .env
bundler --outdir deploy           writes into deploy
mirror https://example.org        connects to example.org
edit secrets/key                  may read secrets/key
"""

from agent_pipes.core.lazy_regex import pattern
from agent_pipes.core.tables import names
from agent_pipes.scope.access import AccessSet, can_run
from agent_pipes.scope.hosts import add_url
from agent_pipes.scope.tools import argument_use, name_words
from agent_pipes.shell import Command, Word
from agent_pipes.shell.options import PROGRAMS

_WRITTEN = names(PROGRAMS["arguments"]["written"])
_TEXTS = names(PROGRAMS["arguments"]["texts"])
_RUN = names(PROGRAMS["arguments"]["run"])
_URL = pattern(r"(?:\S*?[=@+])?([A-Za-z][A-Za-z0-9.-]*://\S+)|[\w.-]+ @ (\w+://\S+)")
_AT = pattern(r"(?:[\w.-]+=)?@([^@]+)")
_PATH = pattern(r"(?:\.{0,2}/|~/|\.\w)|[^/=]+/|.*\.\w{1,10}\Z")


def add_named(command: Command, found: AccessSet, *, is_code: bool = False) -> None:
    """Add the files and hosts in a command's own arguments, and the words that it may run.

    is_code: a script among them is in a language other than the shell's.
    """
    name = ""
    line: list[str] = []
    if "://" in command.name or "://" in command.words[0].text:
        _add_value("", command.words[0], command, found)
    for word in command.own:
        text, option = word.text, ""
        if len(text) > 1 and text[0] == "-":
            option, equals, value = text.partition("=")
            if equals:
                option = option.lstrip("-")
                _add_value(option, Word(value, word.raw, word.unresolved), command, found)
                option = ""
            elif text.startswith("-o") and len(text) > 2:
                _add_value("o", Word(text[2:], word.raw, word.unresolved), command, found)
        else:
            _add_value(name, word, command, found)
        runs = name in _RUN and (not is_code or can_run(text))
        line.append(text if runs or " " not in text else "…")
        name = option.lstrip("-") if option else ""
    found.scripts.append(" ".join(line))


def _add_value(name: str, word: Word, command: Command, found: AccessSet) -> None:
    """Add the value of the option `name`, or an operand."""
    text, where = word.text, command.directory
    said = name_words(name).words if name else frozenset()
    is_text = said & _TEXTS and "file" not in said
    if word.unresolved not in ("", "glob") or is_text or "\n" in text:
        return
    if url := _URL.match(text):
        address = url[1] or url[2]
        if address.startswith("file:"):
            path = address.removeprefix("file://")
            found.add_path("read", Word(path, word.raw), where, named=True)
        else:
            add_url(address, word, found)
    elif at := _AT.fullmatch(text):
        found.add_path("read", Word(at[1], word.raw, word.unresolved), where, named=True)
    elif said & _WRITTEN:
        found.add_path("write", word, where, "in", named=True)
    elif name and argument_use(name) == "path":
        path = text.rpartition("=")[2]
        found.add_path("read", Word(path, word.raw, word.unresolved), where, named=True)
    elif _PATH.match(text) and "src=" not in text:
        found.mention("read", word, where)
