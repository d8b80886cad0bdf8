"""Programs whose arguments no table describes: cp, mv, ln, sed, awk, perl, dd, find, tar, patch."""

import re
from collections.abc import Callable
from posixpath import join, normpath

from agent_pipes.core.lazy_regex import pattern
from agent_pipes.core.tables import names
from agent_pipes.scope.access import ALL, DEVICE, AccessSet, can_run
from agent_pipes.shell import Command, Word, patched_files
from agent_pipes.shell.commands import subdirectory
from agent_pipes.shell.texts import input_words, names_below

_RECURSIVE = names("-r -R -a --recursive --archive")
_SED_OPENS = pattern(r"(?:^|[\d$/;{}])\s*([rRwW]) +([^\s;}]+)")
_SED_RUNS = pattern(r"(?:^|[;{}\n\d$]|/[IgMp\d]*)\s*e(?:\s|\Z)")
_AWK_OPENS = pattern(r"[|>]|system\s*\(|getline")


def _copy(command: Command, found: AccessSet) -> None:
    """Add sources, and one destination or the directory of `-t`."""
    name, where = command.name, command.directory
    given = command.arguments
    into = given.value("-t", "--target-directory")
    if name == "install" and given.has(names("-d --directory")):
        found.add_paths("write", given.operands, where, "in")
        return
    sources, target = given.operands, into
    if not into:
        sources, target = given.operands[:-1], given.operands[-1] if given.operands else None
    deep = name == "mv" or given.has(_RECURSIVE)
    if name == "cp" and len(sources) == 1 and target and given.has(names("-s -l --link")):
        _add_link(sources[0], target, where, found)
    if name == "mv":
        found.add_paths("delete", sources, where, "in")
    found.add_paths("read", sources, where, "all" if deep else "")
    if target is not None:
        _add_destination(command, found, sources, target, is_directory=into is not None)


def _link(command: Command, found: AccessSet) -> None:
    """Add a link; what it points to is accessed by whoever uses it."""
    given = command.arguments
    into = given.value("-t", "--target-directory")
    operands, where = given.operands, command.directory
    if not given.has(names("-s --symbolic")):
        # A hard link is the file itself.
        found.add_paths("read", operands if into else operands[:-1] or operands, where)
    if len(operands) == 1 and not into:
        name = operands[0].text.rpartition("/")[2]
        found.add_path("write", Word(name, operands[0].raw, operands[0].unresolved), where)
    elif into:
        _add_destination(command, found, operands, into, is_directory=True)
    elif operands:
        _add_destination(command, found, operands[:-1], operands[-1], is_directory=False)
        if len(operands) == 2:
            _add_link(operands[0], operands[1], where, found)


def _add_link(target: Word, link: Word, where: str | None, found: AccessSet) -> None:
    """Keep a link, for what is accessed through it later in the same call."""
    if where is None or link.unresolved or target.unresolved:
        return
    path = normpath(join(where, link.path))
    found.links[path] = (target, where)
    found.links[join(path, target.text.rstrip("/").rpartition("/")[2])] = (target, where)


def _add_destination(
    command: Command, found: AccessSet, sources: list[Word], target: Word, *, is_directory: bool
) -> None:
    where = command.directory
    named = target.text.endswith(("/", "/.", "/..")) or target.text in (".", "..")
    if not (is_directory or len(sources) > 1 or named):
        found.add_path("write", target, where, "in")
        return
    deep = command.name == "mv" or any(
        word.text in _RECURSIVE or re.match(r"-\w*[rRa]", word.text) for word in command.words[1:]
    )
    if any(source.unresolved not in ("", "glob") for source in sources):
        found.add_path("write", target, where, "in")
        return
    for source in sources:
        last = source.text.rstrip("/").rpartition("/")[2]
        if last not in ("", ".", ".."):
            unresolved = target.unresolved or source.unresolved
            word = Word(join(target.text, last), target.raw, unresolved, target.tilde)
            found.add_path("write", word, where, "all" if deep else "")


def _sed(command: Command, found: AccessSet) -> None:
    given = command.arguments
    scripts = [word.text for word in given.values(names("-e --expression"))]
    operands, where = given.operands, command.directory
    found.add_paths("read", given.values(names("-f --file")), where)
    if operands and not operands[0].text and given.has(["-i"]):
        operands = operands[1:]  # BSD's sed takes the suffix of -i as a word of its own.
    if not given.has(names("-e --expression -f --file")) and operands:
        scripts.append(operands[0].text)
        operands = operands[1:]
    for script in scripts:
        for verb, name in _SED_OPENS.findall(script):
            found.add_path("write" if verb in "wW" else "read", Word(name, name), where)
            if verb in "wW":
                found.add_unjudged("script", command, "write")
        if _SED_RUNS.search(script):
            found.add_unjudged("script", command, "command")
            found.scripts.append(script)
    found.add_paths("read", operands, where)
    if given.has(names("-i --in-place")):
        found.add_paths("write", operands, where)


def _awk(command: Command, found: AccessSet) -> None:
    given = command.arguments
    operands, where = given.operands, command.directory
    if files := given.values(names("-f --file")):
        found.add_paths("read", files, where)
        found.add_unjudged("script", command, *ALL)
    elif operands:
        if _AWK_OPENS.search(operands[0].text) or operands[0].unresolved:
            found.add_unjudged("script", command, *ALL)
            found.scripts.append(operands[0].text)
        operands = operands[1:]
    operands = [word for word in operands if not re.match(r"[A-Za-z_]\w*=", word.text)]
    found.add_paths("read", operands, where)
    if given.has(["-i"]):
        found.add_paths("write", operands, where)


def _perl(command: Command, found: AccessSet) -> None:
    """Add the files that `perl -pi -e` edits, and the script, which is not read."""
    options, operands = [], list(command.words[1:])
    while operands and operands[0].text.startswith("-") and operands[0].text != "-":
        word = operands.pop(0)
        options.append(word.text)
        if word.text == "--":
            break
        if re.fullmatch(r"-\w*[eEIM]", word.text) and operands:
            code = operands.pop(0).text
            found.scripts += [code] if can_run(code) else []
    if not any(re.match(r"-\w*[eE]", option) for option in options):
        found.add_paths("read", operands[:1], command.directory)
        operands = operands[1:]
    in_place = any(re.match(r"-[a-zA-Z0-9]*i", option) for option in options)
    edits = in_place or any(re.match(r"-\w*[pn]", option) for option in options)
    if edits:
        found.add_paths("read", operands, command.directory)
    if in_place:
        found.add_paths("write", operands, command.directory)
    if options[:1] not in (["-v"], ["--version"], ["-V"]):
        found.add_unjudged("script", command, *ALL)


def _first_in_rest_out(command: Command, found: AccessSet) -> None:
    """Add the input of uniq or xxd, and the output after it."""
    given = command.arguments
    found.add_paths("read", given.operands[:1], command.directory)
    found.add_paths("write", given.operands[1:], command.directory)


def _sort(command: Command, found: AccessSet) -> None:
    given = command.arguments
    found.add_paths("read", given.operands, command.directory)
    found.add_paths("write", given.values(names("-o --output")), command.directory)


def _dd(command: Command, found: AccessSet) -> None:
    for word in command.words[1:]:
        key, _, value = word.text.partition("=")
        if key in ("if", "of") and not DEVICE.fullmatch(value):
            path = Word(value, word.raw, word.unresolved, value.startswith("~"))
            found.add_path("read" if key == "if" else "write", path, command.directory)


def _find(command: Command, found: AccessSet) -> None:
    words = command.words[1:]
    if any(word.text == "-delete" for word in words):
        below = names_below(command)
        if all(word.text.endswith("/**") for word in below):
            # Without a test the directories themselves are deleted.
            for word in below:
                start = Word(word.text[:-3] or "/", word.raw, "", word.tilde)
                found.add_path("delete", start, command.directory, "all")
        else:
            found.add_paths("delete", below, command.directory)
    for at, word in enumerate(words[:-1]):
        if word.text in ("-fprint", "-fprintf", "-fls", "-fprint0"):
            found.add_path("write", words[at + 1], command.directory)


def _tar(command: Command, found: AccessSet) -> None:
    words = command.words
    if len(words) > 1 and not words[1].text.startswith("-"):
        first = Word("-" + words[1].text, words[1].raw, words[1].unresolved)
        command = Command((words[0], first, *words[2:]), (), command.directory)
    given = command.arguments
    where = command.directory
    for value in given.values(names("--checkpoint-action --to-command")):
        found.add_unjudged("script", value.text, "command")
        found.scripts.append(value.text)
    archive = given.value("-f", "--file")
    creates = given.has(names("-c -r -u --create --append --update --delete"))
    if archive is not None and archive.text != "-":
        found.add_path("write" if creates else "read", archive, where)
    found.add_paths("read", given.values(names("-T --files-from")), where)
    inside = where
    if directory := given.value("-C", "--directory"):
        inside = subdirectory(where, directory)
    if creates:
        found.add_paths("read", given.operands, inside, "all")
        if given.has(["--remove-files"]):
            found.add_paths("delete", given.operands, inside, "all")
    elif given.has(names("-x --extract --get")) and not given.has(names("-O --to-stdout")):
        target = directory or given.value("--one-top-level") or Word(".", ".")
        found.add_path("write", target, where, "in")
        if given.operands:
            found.add_paths("write", given.operands, inside, "all")
        else:
            found.add_unjudged("archive", command, "write")
    elif not given.has(names("-t --list -d --diff --compare")):
        found.add_unjudged("program", command, "read", "write", "delete")


def _cpio(command: Command, found: AccessSet) -> None:
    """Add the files whose names cpio reads from its input; the table has the others."""
    given = command.arguments
    if given.has(names("-o -p --create --pass-through")):
        if files := input_words(command):
            found.add_paths("read", files, command.directory)
        else:
            found.add_unjudged("input", command, "read")
    elif given.has(names("-i --extract")):
        found.add_unjudged("archive", command, "write")


def add_patch(command: Command, found: AccessSet) -> None:
    """Add the files that a patch names, if it is part of the command."""
    documents = [
        redirect.target.text if redirect.op == "<<<" else redirect.body
        for redirect in command.redirects
        if redirect.op.startswith("<<")
    ]
    texts = [*documents, *(word.text for word in command.words[1:] if "\n" in word.text)]
    paths = [path for text in texts for path in patched_files(text)]
    given = command.arguments
    where = command.directory
    if directory := given.value("-d", "--directory"):
        found.add_path("write", directory, where, "in")
        where = subdirectory(where, directory)
    for path in paths:
        found.add_path("write", Word(path, path, tilde=path.startswith("~")), where)
    if command.name == "patch":
        found.add_paths("write", [*given.operands[:1], *given.values(names("-o --output"))], where)
        found.add_paths("read", given.values(names("-i --input")), where)
    if not paths:
        found.add_unjudged("script", command, "write")


SPECIAL: dict[str, Callable[[Command, AccessSet], None]] = {
    **dict.fromkeys(("cp", "mv", "install", "gcp", "gmv"), _copy),
    "ln": _link,
    **dict.fromkeys(("sed", "gsed"), _sed),
    **dict.fromkeys(("awk", "gawk", "mawk", "nawk"), _awk),
    **dict.fromkeys(("perl", "ruby"), _perl),
    **dict.fromkeys(("uniq", "xxd"), _first_in_rest_out),
    "sort": _sort,
    "cpio": _cpio,
    "dd": _dd,
    "find": _find,
    **dict.fromkeys(("tar", "bsdtar", "gtar"), _tar),
    **dict.fromkeys(("patch", "apply_patch", "applypatch"), add_patch),
}
