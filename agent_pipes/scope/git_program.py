"""Files and hosts of git's commands."""

from agent_pipes.core.tables import names
from agent_pipes.scope import network_programs
from agent_pipes.scope.access import AccessSet
from agent_pipes.scope.arguments import Arguments, arguments
from agent_pipes.scope.special_programs import add_patch
from agent_pipes.shell import Command, Word
from agent_pipes.shell.commands import subdirectory
from agent_pipes.shell.wrappers import Arguments as Leading
from agent_pipes.shell.wrappers import leading_options

_GLOBAL = names("-C -c --git-dir --work-tree --namespace --exec-path --config-env")
_VALUES = names(
    "-m -b -B -C -c -s -o -O -F -S --message --branch --source --depth --file --output --author"
    " --date --since --until --grep --pretty --format --max-count --output-directory --reference"
    " --template --separate-git-dir --blob --type --get --onto --strategy --pathspec-from-file"
)
_WITHOUT_VALUES = {
    "clone": names("-s -l -n"),
    "commit": names("-s -o -S"),
    "log": names("-m -c -s"),
    "show": names("-m -c -s"),
    "diff": names("-m -c -s -b"),
    "status": names("-s -b"),
    "restore": names("-S -m"),
    "branch": names("-m -c -C -M"),
    "checkout": names("-m"),
    "push": names("-s -S"),
    "merge": names("-S"),
    "grep": names("-c -o -F"),
}
_READ_ONLY = names(
    "status log diff show branch rev-parse ls-files ls-tree blame shortlog describe cat-file"
    " for-each-ref reflog grep help version var tag add commit remote fetch push ls-remote"
    " merge-base name-rev rev-list show-ref count-objects fsck notes whatchanged diff-tree"
    " diff-index check-ignore verify-pack stripspace interpret-trailers symbolic-ref hash-object"
    " write-tree commit-tree update-ref gc prune pack-refs maintenance config bisect-log"
)
"""Subcommands that write nothing in the work tree."""

_KNOWN = _READ_ONLY | {"rm", "restore", "checkout"}
_TALKS = names("clone fetch pull push ls-remote")
_SHOWS = names("show cat-file log diff blame archive")


def add_git(command: Command, found: AccessSet) -> None:
    """Add what a git command accesses."""
    lead = leading_options(command.words[1:], _GLOBAL)
    where = command.directory
    for name, value in lead.options:
        if name == "-C":
            where = subdirectory(where, value)
        elif name == "-c":
            _add_setting(value, found)
        elif name in ("--git-dir", "--work-tree"):
            found.add_path("read", value, where)
    if not lead.rest:
        return
    verb = lead.rest[0].text
    values = _VALUES - _WITHOUT_VALUES.get(verb, frozenset())
    if verb == "config":
        values |= {"-f"}
    given = arguments(Command(lead.rest), values)
    _add_files(verb, given, where, found, command, lead)
    _add_hosts(verb, given, found)


def _add_files(
    verb: str,
    given: Arguments,
    where: str | None,
    found: AccessSet,
    command: Command,
    lead: Leading,
) -> None:
    found.add_paths("write", given.values(names("--output -o")), where)
    if given.has(["--no-index"]):
        found.add_paths("read", given.operands, where, "all")
    if verb in _SHOWS:
        _add_shown(verb, given, where, found)
    if verb in ("apply", "am"):
        add_patch(Command(lead.rest, command.redirects, where), found)
        found.add_paths("read", given.operands, where)
    elif verb == "rm" and not given.has(["--cached"]):
        found.add_paths("delete", given.operands, where, "in" if given.has(["-r"]) else "")
    elif verb == "restore" and not _only_index(given):
        found.add_paths("write", given.operands, where, "all")
    elif verb == "mv":
        found.add_paths("delete", given.operands[:-1], where, "in")
        found.add_paths("write", given.operands[-1:], where, "in")
    elif verb == "checkout" and not given.has(["-b", "-B"]):
        paths = given.literal or [word for word in given.operands if word.text in (".", "./")]
        found.add_paths("write", paths, where, "all")
        if not paths:
            found.add_unjudged("program", "git checkout", "write")
    elif verb == "clone":
        _add_clone(given, where, found)
    elif verb == "init":
        found.add_paths("write", given.operands[-1:], where, "in")
    elif verb == "worktree":
        _add_worktree(given, where, found)
    elif verb == "config":
        _add_config(given, where, found)
    elif verb not in _KNOWN and not (verb == "clean" and given.has(["-n", "--dry-run"])):
        found.add_unjudged("program", f"git {verb}", "write", "delete")


def _only_index(given: Arguments) -> bool:
    """Return True for `git restore --staged`, which leaves the work tree alone."""
    return given.has(["-S", "--staged"]) and not given.has(["-W", "--worktree"])


def _add_shown(verb: str, given: Arguments, where: str | None, found: AccessSet) -> None:
    """Add the files in `HEAD:path` and after `--`."""
    for word in given.operands:
        _, colon, path = word.text.partition(":")
        if colon and path and "://" not in word.text:
            found.add_path("read", Word(path, word.raw, word.unresolved), where)
    if verb == "blame":
        found.add_paths("read", given.operands[-1:], where)
    elif verb in ("show", "diff") or given.has(["-p", "--patch", "-L"]):
        found.add_paths("read", given.literal, where)


def _add_clone(given: Arguments, where: str | None, found: AccessSet) -> None:
    operands = given.operands
    if len(operands) > 1:
        found.add_path("write", operands[1], where, "in")
    elif operands:
        name = operands[0].text.rstrip("/").removesuffix(".git").rpartition("/")[2]
        name = name.rpartition(":")[2]
        found.add_path("write", Word(name, operands[0].raw, operands[0].unresolved), where, "in")
    found.add_paths("write", given.values(frozenset(["--separate-git-dir"])), where, "in")


def _add_worktree(given: Arguments, where: str | None, found: AccessSet) -> None:
    action = given.operands[0].text if given.operands else ""
    if action == "add":
        found.add_paths("write", given.operands[1:2], where, "in")
    elif action == "remove":
        found.add_paths("delete", given.operands[1:2], where, "all")
    elif action == "move":
        found.add_paths("delete", given.operands[1:2], where, "in")
        found.add_paths("write", given.operands[2:3], where, "in")


def _add_config(given: Arguments, where: str | None, found: AccessSet) -> None:
    writes = len(given.operands) > 1 or given.has(["--unset", "--add", "--unset-all", "-e"])
    files = given.values(names("-f --file"))
    if not given.has(["--get", "--list", "-l"]):
        if files:
            found.add_paths("write" if writes else "read", files, where)
        elif given.has(["--global"]) and writes:
            found.add_path("write", Word("~/.gitconfig", "~/.gitconfig", tilde=True), "")
        elif given.has(["--system"]) and writes:
            found.add_path("write", Word("/etc/gitconfig", "/etc/gitconfig"), "")
    if len(given.operands) > 1:
        _add_setting(Word(f"{given.operands[0].text}={given.operands[1].text}", ""), found)


def _add_setting(setting: Word, found: AccessSet) -> None:
    """Add the host in `http.proxy=…`, `url.X.insteadOf=…`, `remote.origin.url=…`."""
    name, _, value = setting.text.partition("=")
    name = name.lower()
    if name.endswith(("proxy", ".url", ".pushurl")) and value:
        network_programs.add_address(setting, value, found)
    elif name.startswith("url.") and name.endswith(("insteadof", "pushinsteadof")):
        network_programs.add_address(setting, setting.text[4:].partition(".insteadOf")[0], found)
    elif name.startswith("alias.") and value.startswith("!"):
        found.add_unjudged("script", setting.text, "command")
        found.scripts.append(value[1:])


def _add_hosts(verb: str, given: Arguments, found: AccessSet) -> None:
    operands = given.operands
    if verb in _TALKS:
        operands = operands[:1] if verb == "clone" else operands
        network_programs.add_remotes(operands, f"git {verb}", found)
    elif verb == "remote" and operands and operands[0].text in ("add", "set-url"):
        addresses = [word for word in operands[1:] if ":" in word.text]
        network_programs.add_remotes(addresses, "git remote", found)
    elif verb == "submodule" or (verb == "remote" and operands and operands[0].text == "update"):
        found.add_unjudged("network", f"the remote of git {verb}", "network")
