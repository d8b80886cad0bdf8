"""Texts that commands pass on to each other within one command line: output, files."""

import re
from base64 import b64decode
from posixpath import join, normpath

from agent_pipes.shell.commands import Command
from agent_pipes.shell.words import Redirect, Word

MAX_OUTPUT_STAGES = 8
"""Commands of a pipeline that are followed to find what a shell is fed."""


def path_of(word: Word, directory: str | None) -> str:
    """Return the path in `word` for comparison within one command, "" if it is not known."""
    if word.unresolved or directory is None or not word.text:
        return ""
    path = word.path
    return normpath(path if path.startswith(("/", "~")) else join(directory, path))


def document_text(redirect: Redirect) -> str:
    return redirect.target.text if redirect.op == "<<<" else redirect.body


def output_of(command: Command, stages: int = MAX_OUTPUT_STAGES) -> str | None:
    """Return what `echo`, `printf` or a here-document for `cat` prints; None for other commands."""
    words = command.words[1:]
    if any(word.unresolved not in ("", "glob") for word in words):
        return None
    texts = [word.text for word in words]
    if command.name == "echo":
        while texts and re.fullmatch(r"-[neE]+", texts[0]):
            texts = texts[1:]
        return " ".join(texts)
    if command.name == "printf" and texts:
        if "%" in texts[0]:
            texts = texts[1:]
        return "\n".join(texts).replace("\\n", "\n")
    documents = [each for each in command.redirects if each.op.startswith("<<")]
    text = document_text(documents[-1]) if documents else None
    if text is None and command.sources and stages:
        text = output_of(command.sources[0], stages - 1)
    if command.name in ("cat", "tee"):
        return text if documents or not texts else None
    if command.name == "base64" and text and texts[:1] in (["-d"], ["-D"], ["--decode"]):
        return _decoded(text)
    return None


def _decoded(text: str) -> str | None:
    try:
        return b64decode(text.strip(), validate=True).decode()
    except ValueError:
        return None
