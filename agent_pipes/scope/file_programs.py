"""Paths in the arguments of the usual programs; of any other, it is reported that it is not judged."""

import re
from collections.abc import Callable
from itertools import takewhile
from posixpath import join
from typing import NamedTuple

from agent_pipes.core.lazy_regex import pattern
from agent_pipes.core.tables import names
from agent_pipes.scope import network_programs
from agent_pipes.scope.access import ALL, FILES, MAX_COMMANDS, Access, AccessSet, Extent, arguments
from agent_pipes.shell import Command, Redirect, Word, patched_files

_DEVICE = pattern(r"/dev/(?:null|zero|full|u?random|tty|std(?:in|out|err)|fd/\d+)")
_SOCKET = pattern(r"/dev/(?:tcp|udp)/([^/]+)/.*")

_LONG = names(
    "--lines --bytes --regexp --file --max-count --after-context --before-context --context --glob --type --key --field-separator --delimiter"
    " --fields --mode --size --suffix --target-directory --expression --width --date --reference --include --exclude --exclude-dir --owner --group"
)


class _Files(NamedTuple):
    """A program whose operands are files.

    values:    letters of its short options that take a value.
    skip:      operands before the files: a pattern, a mode.
    instead:   options whose value takes the place of those.
    recursive: options with which it goes into directories ("*": always).
    extent:    what of a directory it touches without them.
    """

    access: Access
    values: str = ""
    skip: int = 0
    instead: tuple[str, ...] = ()
    recursive: tuple[str, ...] = ()
    extent: Extent = ""


_GREP = _Files(
    "read",
    "efmABCdD",
    1,
    ("-e", "-f", "--regexp", "--file"),
    ("-r", "-R", "--recursive", "--dereference-recursive"),
)
_FILES: dict[str, _Files] = {
    **dict.fromkeys(
        names(
            "cat tac rev less more wc cksum md5sum sha1sum sha224sum sha256sum sha384sum sha512sum b2sum sum shasum md5 bat batcat paste column"
            " comm join expand unexpand fmt fold pr zcat bzcat xzcat zless iconv otool ldd objdump nm"
        ),
        _Files("read"),
    ),
    "head": _Files("read", "cn"),
    "tail": _Files("read", "cns"),
    "nl": _Files("read", "bdfhilnsvw"),
    "od": _Files("read", "AjNStw"),
    "cut": _Files("read", "bcdf"),
    "strings": _Files("read", "nte"),
    "diff": _Files("read", "CUWFILxX", recursive=("-r", "--recursive")),
    "cmp": _Files("read", "in"),
    "base64": _Files("read", "wbio"),
    "hexdump": _Files("read", "nsef"),
    "hd": _Files("read", "nsef"),
    "file": _Files("read", "mFfeP"),
    "stat": _Files("read", "cft"),
    "jq": _Files("read", "fL", 1, ("-f", "--from-file")),
    "grep": _GREP,
    "egrep": _GREP,
    "fgrep": _GREP,
    "zgrep": _GREP,
    "rg": _Files("read", "efgmtTABCjMrdE", 1, ("-e", "-f", "--files", "--regexp"), ("*",)),
    "ag": _Files("read", "ABCGmp", 1, ("-g",), ("*",)),
    "ack": _Files("read", "ABCgm", 1, (), ("*",)),
    "tee": _Files("write"),
    "touch": _Files("write", "drt"),
    "truncate": _Files("write", "sr"),
    "shred": _Files("write", "ns"),
    "unlink": _Files("write"),
    "rmdir": _Files("write"),
    "mkdir": _Files("write", "mZ", extent="in"),
    "mkfifo": _Files("write", "m"),
    "rm": _Files("write", recursive=("-r", "-R", "-d", "--recursive")),
    "trash": _Files("write", recursive=("*",)),
    "chmod": _Files(
        "write", "", 1, ("--reference", "-r", "-w", "-x", "-X", "-s", "-t"), ("-R", "--recursive")
    ),
    "chown": _Files("write", "", 1, ("--reference",), ("-R", "--recursive")),
    "chgrp": _Files("write", "", 1, ("--reference",), ("-R", "--recursive")),
    "setfacl": _Files("write", "mxMXn", 0, (), ("-R",)),
    "gzip": _Files("write", "S"),
    "gunzip": _Files("write", "S"),
    "bzip2": _Files("write"),
    "xz": _Files("write", "S"),
    "zstd": _Files("write", "o"),
    "source": _Files("read"),
    ".": _Files("read"),
    "bash": _Files("read", "oO"),
    "sh": _Files("read", "o"),
    "zsh": _Files("read", "o"),
    "dash": _Files("read", "o"),
    "ksh": _Files("read", "o"),
}

_HARMLESS = names(
    "cd pushd popd pwd echo printf true false : test [ [[ exit return break continue set unset export declare typeset local readonly shift wait read"
    " trap type which whereis command hash alias unalias umask ulimit getopts let jobs fg bg disown kill pkill killall pgrep ps top uptime free sleep"
    " date cal seq basename dirname id whoami who groups hostname uname arch nproc env printenv tty stty clear reset tput ls dir tree du df mount"
    " lsblk lsof fuser yes expr bc factor tr mktemp ssh-add gpg-agent locale getconf history dirs shopt enable help logger"
    " readlink realpath time"
)
_INTERPRETERS = pattern(
    r"(?:python|pypy|node|deno|ruby|perl|php|lua|Rscript|tclsh|osascript|java|groovy|julia|swift|ts-node|tsx)[\d.]*"
)
_ABOUT_ITSELF = names("-V -VV -v --version --help -h")
_RUNNERS = names(
    "make gmake just task rake mise tox nox ninja cmake meson bazel ant npm npx pnpm yarn bun bunx cargo uv poetry pdm pipenv gradle mvn"
    " ansible-playbook docker docker-compose podman kubectl vagrant su runuser crontab at batch screen tmux watch parallel entr"
)

_GIT_LONG = names("--message --branch --source --depth")
_GIT_READS = names(
    "status log diff show branch rev-parse ls-files ls-tree blame shortlog describe cat-file for-each-ref reflog grep help version var tag add commit"
    " remote fetch push ls-remote merge-base name-rev rev-list show-ref count-objects fsck notes whatchanged diff-tree diff-index check-ignore"
    " verify-pack var stripspace interpret-trailers symbolic-ref hash-object write-tree commit-tree update-ref gc prune pack-refs maintenance bisect-log config"
)


def add_accesses(command: Command, found: AccessSet) -> None:
    """Add what one simple command reads, writes, runs and connects to."""
    if len(found.commands) >= MAX_COMMANDS:
        found.add_unjudged("long", f"more than {MAX_COMMANDS} commands", *ALL)
        return
    if command.words:
        found.commands.append(command)
    for redirect in command.redirects:
        _redirected(redirect, command, found)
    for gap in command.unresolved:
        found.add_unjudged(gap.kind, gap.what, *ALL)
    name = command.name
    if not name or command.is_wrapper:
        return
    if name in _SPECIAL:
        _SPECIAL[name](command, found)
    elif name in _FILES:
        _files(command, _FILES[name], found)
    elif name in network_programs.NAMES:
        network_programs.add_accesses(command, found)
    elif name not in _HARMLESS and not name.startswith("(("):
        _other(command, found)


def _redirected(redirect: Redirect, command: Command, found: AccessSet) -> None:
    target = redirect.target
    if redirect.copies or redirect.op.startswith("<<") or target.raw.startswith((">(", "<(")):
        return
    if socket := _SOCKET.fullmatch(target.text):
        found.hosts.append(socket[1].lower())
    elif not _DEVICE.fullmatch(target.text):
        if redirect.writes:
            found.add_path("write", target, command.directory)
        if redirect.op in ("<", "<>"):
            found.add_path("read", target, command.directory)


def _files(command: Command, program: _Files, found: AccessSet) -> None:
    options, operands = arguments(command, program.values, _LONG)
    given = {option for option, _ in options}
    for option, value in options:
        if option == "-f" and "-f" in program.instead:
            found.add_path("read", value, command.directory)
    recursive = "*" in program.recursive or not given.isdisjoint(program.recursive)
    files = operands[program.skip :] if given.isdisjoint(program.instead) else operands
    if program.access == "read" and recursive and not files and not command.piped:
        files = [Word(".", ".")]
    if "--files" not in given:
        found.add_paths(
            program.access, files, command.directory, "all" if recursive else program.extent
        )


def _copy(command: Command, found: AccessSet) -> None:
    """cp, mv, install and ln: sources, and one destination or the directory of `-t`."""
    name, where = command.name, command.directory
    options, operands = arguments(command, "tS" + ("mog" if name == "install" else ""), _LONG)
    given = {option: value for option, value in options}
    into = given.get("-t") or given.get("--target-directory")
    if name == "install" and "-d" in given:
        found.add_paths("write", operands, where, "in")
        return
    if name == "ln" and len(operands) == 1:
        found.add_path(
            "write",
            Word(operands[0].text.rpartition("/")[2], operands[0].raw, operands[0].unresolved),
            where,
        )
        return
    sources, target = (
        (operands, into) if into else (operands[:-1], operands[-1] if operands else None)
    )
    deep = name == "mv" or bool(given.keys() & {"-r", "-R", "-a", "--recursive", "--archive"})
    if name != "ln":
        found.add_paths("read", sources, where, "all" if deep else "")
    if name == "mv":
        found.add_paths("write", sources, where, "all")
    if target is None:
        return
    if (
        into
        or len(sources) > 1
        or target.text.endswith(("/", "/.", "/.."))
        or target.text in (".", "..")
    ):
        for source in sources:
            last = source.text.rstrip("/").rpartition("/")[2]
            if last not in ("", ".", ".."):
                doubt = target.unresolved or source.unresolved
                found.add_path(
                    "write",
                    Word(join(target.text, last), target.raw, doubt, target.tilde),
                    where,
                    "all" if deep else "",
                )
    else:
        found.add_path("write", target, where, "in")


def _sed(command: Command, found: AccessSet) -> None:
    options, operands = arguments(command, "efl", _LONG, "i")
    given = {option for option, _ in options}
    scripts = [value.text for option, value in options if option in ("-e", "--expression")]
    found.add_paths(
        "read",
        [value for option, value in options if option in ("-f", "--file")],
        command.directory,
    )
    if operands and not operands[0].text:
        operands = operands[
            1:
        ]  # BSD's sed has the suffix of -i as a word of its own, an empty one mostly.
    if not given & {"-e", "--expression", "-f", "--file"} and operands:
        scripts.append(operands[0].text)
        operands = operands[1:]
    if any(re.search(r"(?:^|[\d$/;{}])\s*[wW] +\S", script) for script in scripts):
        found.add_unjudged("script", str(command), "write")
    found.add_paths("read", operands, command.directory)
    if given & {"-i", "--in-place"}:
        found.add_paths("write", operands, command.directory)


def _awk(command: Command, found: AccessSet) -> None:
    options, operands = arguments(command, "Fvfi", _LONG)
    given = {option: value for option, value in options}
    if "-f" in given or "--file" in given:
        found.add_unjudged("script", str(command), *ALL)
    elif operands:
        if re.search(r"[|>]|system\s*\(|getline", operands[0].text) or operands[0].unresolved:
            found.add_unjudged("script", str(command), *ALL)
        operands = operands[1:]
    operands = [word for word in operands if not re.match(r"[A-Za-z_]\w*=", word.text)]
    found.add_paths("read", operands, command.directory)
    if "-i" in given:
        found.add_paths("write", operands, command.directory)


def _first_in_rest_out(command: Command, found: AccessSet) -> None:
    """uniq and xxd: an input, and the output after it."""
    _, operands = arguments(command, {"uniq": "fsw"}.get(command.name, "closgR"), _LONG)
    found.add_paths("read", operands[:1], command.directory)
    found.add_paths("write", operands[1:], command.directory)


def _sort(command: Command, found: AccessSet) -> None:
    options, operands = arguments(command, "kotST", _LONG | {"--output"})
    found.add_paths("read", operands, command.directory)
    found.add_paths(
        "write",
        [value for option, value in options if option in ("-o", "--output")],
        command.directory,
    )


def _dd(command: Command, found: AccessSet) -> None:
    for word in command.words[1:]:
        key, _, value = word.text.partition("=")
        if key in ("if", "of") and not _DEVICE.fullmatch(value):
            found.add_path(
                "read" if key == "if" else "write",
                Word(value, word.raw, word.unresolved),
                command.directory,
            )


def _find(command: Command, found: AccessSet) -> None:
    words = [word for word in command.words[1:] if word.text not in ("-L", "-H", "-P")]
    starts = list(takewhile(lambda word: not word.text.startswith(("-", "(", "!")), words)) or [
        Word(".", ".")
    ]
    if any(word.text == "-delete" for word in words):
        found.add_paths("write", starts, command.directory, "all")
    for at, word in enumerate(words[:-1]):
        if word.text in ("-fprint", "-fprintf", "-fls", "-fprint0"):
            found.add_path("write", words[at + 1], command.directory)


def _tar(command: Command, found: AccessSet) -> None:
    words = command.words[1:]
    mode = words[0].text.lstrip("-") if words else ""
    if mode.endswith("f") and mode.isalpha() and len(words) > 1:
        writes = any(letter in mode for letter in "cru")
        found.add_path("write" if writes else "read", words[1], command.directory)
        if "t" in mode:
            return
        if writes:
            found.add_paths(
                "read",
                [word for word in words[2:] if not word.text.startswith("-")],
                command.directory,
                "all",
            )
            return
    found.add_unjudged("program", str(command), *FILES)


def _git(command: Command, found: AccessSet) -> None:
    words, where, at = command.words, command.directory, 1
    while at < len(words) and words[at].text.startswith("-"):
        if words[at].text == "-C" and at + 1 < len(words):
            to = words[at + 1]
            where = (
                None
                if to.unresolved or where is None
                else to.path
                if to.path.startswith(("/", "~"))
                else join(where, to.path)
            )
        at += 2 if words[at].text in ("-C", "-c", "--git-dir", "--work-tree", "--namespace") else 1
    verb = words[at].text if at < len(words) else ""
    rest = Command(words[at:] or words[:1], directory=where)
    options, operands = arguments(
        rest, "mbBCcs" if verb not in ("clone", "push", "pull", "fetch") else "bo", _GIT_LONG
    )
    if verb in ("rm", "restore"):
        found.add_paths("write", operands, where, "all")
    elif verb == "mv":
        found.add_paths("write", operands[:-1], where, "all")
        found.add_paths("write", operands[-1:], where, "in")
    elif verb == "checkout" and any(word.text == "--" for word in words):
        after = next(place for place, word in enumerate(words) if word.text == "--") + 1
        found.add_paths("write", words[after:], where, "all")
    elif verb == "checkout" and any(option in ("-b", "-B") for option, _ in options):
        pass
    elif verb in ("apply", "am"):
        _patch(Command(rest.words, command.redirects, where), found)
    elif verb and (
        verb not in _GIT_READS
        or (verb == "config" and any(option in ("--global", "--system") for option, _ in options))
    ):
        found.add_unjudged("program", f"git {verb}", "write")
    if verb in ("clone", "fetch", "pull", "push", "ls-remote"):
        network_programs.remotes(
            operands[:1] if verb == "clone" else operands, f"git {verb}", found
        )
    elif verb == "submodule" or (verb == "remote" and "update" in rest.argv):
        found.add_unjudged("network", f"the remote of git {verb}", "network")


def _patch(command: Command, found: AccessSet) -> None:
    """apply_patch, patch and git apply: the files that the patch names, where it stands in the command."""
    documents = [
        redirect.target.text if redirect.op == "<<<" else redirect.body
        for redirect in command.redirects
        if redirect.op.startswith("<<")
    ]
    texts = [*documents, *(word.text for word in command.words[1:] if "\n" in word.text)]
    paths = [path for text in texts for path in patched_files(text)]
    for path in paths:
        found.add_path("write", Word(path, path, tilde=path.startswith("~")), command.directory)
    if not paths:
        found.add_unjudged("script", str(command), "write")


def _interpreter(command: Command, found: AccessSet) -> None:
    """A program that runs another one, which is not read."""
    first = command.words[1] if len(command.words) > 1 else None
    if first and first.text in _ABOUT_ITSELF:
        return
    if first and not first.text.startswith("-") and _INTERPRETERS.fullmatch(command.name):
        found.add_path("read", first, command.directory)
    found.add_unjudged("script", str(command), *ALL)


def _other(command: Command, found: AccessSet) -> None:
    name = command.name
    if name in network_programs.PACKAGES:
        found.add_unjudged("network", str(command), "network")
    if (
        _INTERPRETERS.fullmatch(name)
        or name in _RUNNERS
        or "/" in command.words[0].text
        or name.endswith((".sh", ".py"))
    ):
        _interpreter(command, found)
    else:
        found.add_unjudged("program", name, "read", "write", "network")


_SPECIAL: dict[str, Callable[[Command, AccessSet], None]] = {
    "cp": _copy,
    "mv": _copy,
    "ln": _copy,
    "install": _copy,
    "sed": _sed,
    "gsed": _sed,
    "awk": _awk,
    "gawk": _awk,
    "mawk": _awk,
    "nawk": _awk,
    "uniq": _first_in_rest_out,
    "xxd": _first_in_rest_out,
    "sort": _sort,
    "dd": _dd,
    "find": _find,
    "tar": _tar,
    "git": _git,
    "patch": _patch,
    "apply_patch": _patch,
    "applypatch": _patch,
}
