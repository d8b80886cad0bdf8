"""Files and hosts of git's commands."""

from collections.abc import Callable
from functools import lru_cache

from agent_pipes.core.tables import names
from agent_pipes.scope.access import AccessSet
from agent_pipes.scope.hosts import add_address, add_remotes, keep_remote
from agent_pipes.scope.listed_programs import add_listed, listed_program
from agent_pipes.scope.network_programs import add_command
from agent_pipes.scope.special_programs import add_patch
from agent_pipes.shell import Command, Word
from agent_pipes.shell.commands import subdirectory
from agent_pipes.shell.options import Arguments, ProgramOptions, options_of, split

_READ_ONLY = names(
    "status log diff show branch rev-parse ls-files ls-tree blame shortlog describe cat-file"
    " for-each-ref reflog grep help version var tag add commit remote fetch push ls-remote"
    " merge-base name-rev rev-list show-ref count-objects fsck notes whatchanged diff-tree"
    " diff-index check-ignore verify-pack stripspace interpret-trailers symbolic-ref hash-object"
    " write-tree commit-tree update-ref gc prune pack-refs maintenance config bisect-log"
)
"""Subcommands that write nothing in the work tree."""

_KNOWN = _READ_ONLY | names("rm mv archive bundle format-patch init grep")
_CHANGES_TREE = names("clean stash pull merge rebase cherry-pick revert reset")
_TALKS = names("clone fetch pull push ls-remote")
_OUTPUT = names("--output -o")
_SHOWS = names("show cat-file log diff blame archive")


def add_git(command: Command, found: AccessSet) -> None:
    """Add what a git command accesses."""
    lead = command.leading
    where = tree = command.directory
    for name, value in lead.options:
        if name == "-C":
            where = tree = subdirectory(where, value)
        elif name == "-c":
            _add_setting(value, found)
        elif name == "--git-dir":
            found.add_path("read", value, where, "in", named=True)
        elif name == "--work-tree":
            tree = subdirectory(where, value)
    if not lead.operands:
        return
    verb = lead.operands[0].text
    row = listed_program("git", verb)
    run = command.with_words(tuple(lead.operands))
    run.directory = tree
    given = split(lead.operands[1:], _options(verb))
    if row:
        add_listed(run, row, found, given)
    _add_files(verb, given, run, found)
    _add_hosts(verb, given, where, found)
    if verb in _CHANGES_TREE and not given.has(["-n", "--dry-run"]):
        # Its changes are in the work tree.
        found.add_path("write", Word(".", "."), tree, "in", named=True)


@lru_cache(maxsize=256)
def _options(verb: str) -> ProgramOptions:
    """Return the options of a subcommand."""
    table = options_of("git")
    values = table.values - table.flags.get(verb, frozenset())
    row = listed_program("git", verb)
    return ProgramOptions(values | row.options.values if row and row.options else values)


def _add_files(verb: str, given: Arguments, run: Command, found: AccessSet) -> None:
    where = run.directory
    found.add_paths("write", given.values(_OUTPUT), where)
    if given.has(["--no-index"]):
        found.add_paths("read", given.operands, where, "all")
    if verb in _SHOWS:
        _add_shown(given, where, found)
    if add := _VERBS.get(verb):
        add(given, run, found)
    elif verb not in _KNOWN:
        found.add_unjudged("program", f"git {verb}", "write", "delete")


def _apply(given: Arguments, run: Command, found: AccessSet) -> None:
    where = run.directory
    if directory := given.value("--directory"):
        found.add_path("write", directory, where, "in")
    before = len(found.paths)
    add_patch(run, found)
    if len(found.paths) == before:
        found.add_path("write", Word(".", "."), where, "in", named=True)
    found.add_paths("read", given.operands, where)


def _init(given: Arguments, run: Command, found: AccessSet) -> None:
    if not given.operands:
        found.add_path("write", Word(".", "."), run.directory, "in")


def _restore(given: Arguments, run: Command, found: AccessSet) -> None:
    if not _only_index(given):
        found.add_paths("write", given.operands, run.directory, "all")


def _checkout(given: Arguments, run: Command, found: AccessSet) -> None:
    if given.has(["-b", "-B"]):
        return
    paths = given.after_dashes() or given.operands[1:]
    paths = paths or [word for word in given.operands if word.text in (".", "./")]
    found.add_paths("write", paths, run.directory, "all")
    if not paths:
        found.add_unjudged("program", "git checkout", "write")
        for word in given.operands:
            found.mention("write", word, run.directory)


def _stash(given: Arguments, run: Command, found: AccessSet) -> None:
    found.add_paths("write", given.after_dashes(), run.directory, "all")
    found.add_unjudged("program", "git stash", "write", "delete")


def _submodule(given: Arguments, run: Command, found: AccessSet) -> None:
    if given.operands and given.operands[0].text == "add":
        found.add_paths("write", given.operands[2:3], run.directory, "in")
    found.add_unjudged("program", "git submodule", "write", "delete")


def _only_index(given: Arguments) -> bool:
    """Return True for `git restore --staged`, which leaves the work tree alone."""
    return given.has(["-S", "--staged"]) and not given.has(["-W", "--worktree"])


def _add_shown(given: Arguments, where: str | None, found: AccessSet) -> None:
    """Add the files in `HEAD:path`, `:path` and `:0:path`."""
    for word in given.operands:
        _, colon, path = word.text.rpartition(":")
        if colon and path and "://" not in word.text:
            found.add_path("read", Word(path, word.raw, word.unresolved), where)


def _clone(given: Arguments, run: Command, found: AccessSet) -> None:
    operands, where = given.operands, run.directory
    if len(operands) > 1:
        found.add_path("write", operands[1], where, "in")
    elif operands:
        name = operands[0].text.rstrip("/").removesuffix(".git").rpartition("/")[2]
        name = name.rpartition(":")[2]
        found.add_path("write", Word(name, operands[0].raw, operands[0].unresolved), where, "in")
    found.add_paths("write", given.values(frozenset(["--separate-git-dir"])), where, "in")
    for setting in given.values(names("-c --config")):
        _add_setting(setting, found)


def _worktree(given: Arguments, run: Command, found: AccessSet) -> None:
    where = run.directory
    action = given.operands[0].text if given.operands else ""
    if action == "add":
        found.add_paths("write", given.operands[1:2], where, "in")
    elif action == "remove":
        found.add_paths("delete", given.operands[1:2], where, "all")
    elif action == "move":
        found.add_paths("delete", given.operands[1:2], where, "in")
        found.add_paths("write", given.operands[2:3], where, "in")


def _config(given: Arguments, run: Command, found: AccessSet) -> None:
    where = run.directory
    writes = len(given.operands) > 1 or given.has(["--unset", "--add", "--unset-all", "-e"])
    files = given.values(names("-f --file"))
    if not given.has(["--get", "--list", "-l"]):
        if files:
            found.add_paths("write" if writes else "read", files, where)
        elif given.has(["--global"]) and writes:
            found.add_path("write", Word("~/.gitconfig", "~/.gitconfig", tilde=True), "")
        elif given.has(["--system"]) and writes:
            found.add_path("write", Word("/etc/gitconfig", "/etc/gitconfig"), "")
    operands = [word for word in given.operands if word.text not in ("set", "get", "unset")]
    if len(operands) > 1:
        name, value = operands[0].text, operands[1]
        _add_setting(Word(f"{name}={value.text}", ""), found)
        if name.startswith("remote.") and name.endswith(".url"):
            keep_remote(name[len("remote.") : -len(".url")], value, where, found)


def _add_setting(setting: Word, found: AccessSet) -> None:
    """Add the host in `http.proxy=…`, `url.X.insteadOf=…`, `remote.origin.url=…`."""
    name, _, value = setting.text.partition("=")
    name = name.lower()
    if name.endswith(("proxy", ".url", ".pushurl")) and value:
        add_address(setting, value, found)
    elif name.startswith("url.") and name.endswith(("insteadof", "pushinsteadof")):
        add_address(setting, setting.text[4:].partition(".insteadOf")[0], found)
    elif name == "core.sshcommand":
        add_command(value, found)
    elif name.startswith("alias.") and value.startswith("!"):
        found.add_unjudged("script", setting.text, "command")
        found.scripts.append(value[1:])


def _add_hosts(verb: str, given: Arguments, where: str | None, found: AccessSet) -> None:
    operands = given.operands
    if verb in _TALKS:
        operands = operands[:1] if verb == "clone" else operands
        add_remotes(operands, f"git {verb}", found, where)
    elif verb == "remote" and len(operands) > 2 and operands[0].text in ("add", "set-url"):
        keep_remote(operands[1].text, operands[2], where, found)
        addresses = [word for word in operands[2:] if ":" in word.text]
        add_remotes(addresses, "git remote", found, where)
    elif verb == "submodule" and operands and operands[0].text == "add":
        add_remotes(operands[1:2], "git submodule", found, where)
    elif verb in ("svn", "request-pull"):
        add_remotes(operands[1:2], f"git {verb}", found, where)
    elif verb == "submodule" or (verb == "remote" and operands and operands[0].text == "update"):
        found.add_unjudged("network", f"the remote of git {verb}", "network")
    for value in given.values(frozenset(["--remote"])):
        add_remotes([value], f"git {verb}", found, where)


_VERBS: dict[str, Callable[[Arguments, Command, AccessSet], None]] = {
    **dict.fromkeys(("apply", "am"), _apply),
    "checkout": _checkout,
    "init": _init,
    "clone": _clone,
    "config": _config,
    "restore": _restore,
    "stash": _stash,
    "submodule": _submodule,
    "worktree": _worktree,
}
