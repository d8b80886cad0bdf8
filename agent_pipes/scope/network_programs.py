"""Hosts in the arguments of a shell command, and the files that network programs read and write."""

import re
from collections.abc import Callable, Iterable
from posixpath import basename

from agent_pipes.core.lazy_regex import pattern
from agent_pipes.core.tables import names
from agent_pipes.scope.access import AccessSet
from agent_pipes.scope.hosts import REMOTE, add_address, add_addresses, add_url
from agent_pipes.shell import Command, Word, parse
from agent_pipes.shell.braces import expand_braces
from agent_pipes.shell.options import HOSTS, Arguments, ProgramOptions, split
from agent_pipes.shell.wrappers import wrapper_name, wrapper_of

_METHOD = pattern(r"[A-Z]+")
_SOCAT_HOST = pattern(
    r"(?:TCP|UDP|SSL|OPENSSL|SCTP|SOCKS\w*|PROXY)\d?(?:-(?:CONNECT|SENDTO|DATAGRAM))?:([^:,]+)",
    re.I,
)
_SSH_HOP = pattern(r"(?i)\s*(?:ProxyJump|HostName)\s*[= ]\s*(.+)")
_SSH_FILE = pattern(r"(?i)\s*(?:\w+KnownHosts|Identity|Certificate)File\s*[= ]\s*(\S+)")

_IMAGE = pattern(r"[\w-]+(?:\.[\w-]+)+(?::\d+)?(?=/)|[\w-]+:\d+(?=/)")
_CONNECTION = pattern(r"(?:.*\s)?host(?:addr)?=(\S+)", re.S)
_PROXY = pattern(r"(?:https?|all|ftp|socks)_proxy", re.I)

_ENVIRONMENT = names(HOSTS["environment"])
_IMAGE_VERBS = {name: names(verbs) for name, verbs in HOSTS["images"].items()}
_OPTIONS = {
    name: names(options)
    for programs, options in HOSTS["options"].items()
    for name in programs.split()
}
"""Options whose value is a host, by program."""

_PACKAGES = names(HOSTS["packages"])
"""Programs that connect to hosts of their own choosing."""

_CURL = {key: names(value) for key, value in HOSTS["programs"]["curl"].items()}
_WGET = {key: names(value) for key, value in HOSTS["programs"]["wget"].items()}


def add_accesses(command: Command, found: AccessSet) -> None:
    """Add the hosts that `command`, one of NAMES, connects to."""
    _PROGRAMS[command.name](command, found)


def add_environment(command: Command, found: AccessSet) -> None:
    """Add the hosts in variables that are set for the command, or exported."""
    words = command.assignments
    if command.name in ("export", "declare", "env", "sudo"):
        words = (*words, *command.own)
    for word in words:
        name, equals, value = word.text.partition("=")
        if not equals:
            continue
        if _PROXY.fullmatch(name):
            add_address(word, value, found)
        elif name in _ENVIRONMENT:
            add_url(value, word, found)


def add_option_hosts(command: Command, found: AccessSet) -> None:
    """Add the hosts in options of programs that no function here reads, and in names of images."""
    name = command.name
    if name in _PACKAGES:
        found.add_unjudged("network", command, "network")
    options, verbs = _OPTIONS.get(name), _IMAGE_VERBS.get(name)
    if not options and not verbs:
        return
    if options:
        given = command.arguments
        for value in given.values(options):
            add_address(value, value.text, found)
        if name == "openssl" and given.operands and given.operands[0].text == "s_client":
            add_addresses(given.operands[1:2], found)
        for word in given.operands:
            if match := _CONNECTION.match(word.text):
                add_address(word, match[1], found)
    if verbs:
        rest = command.leading.operands
        if rest and rest[0].text in verbs:
            _add_images(name, rest, found)


def _add_images(name: str, words: list[Word], found: AccessSet) -> None:
    """Add the registries in the names of images, and the hosts of Go's modules."""
    table = wrapper_of(name, "run").options if wrapper_name(name) else ProgramOptions()
    operands = split(words[1:], table).operands
    for word in operands if name == "go" else operands[:1]:
        text = f"{word.text}/" if words[0].text == "login" else word.text
        if match := _IMAGE.match(text):
            add_address(word, match[0], found)


def add_command(text: str, found: AccessSet) -> bool:
    """Add the hosts of a command that a program uses to connect; False if it has none."""
    before = len(found.hosts)
    for command in parse(text):
        if command.name in _PROGRAMS:
            _PROGRAMS[command.name](command, found)
    return len(found.hosts) > before


def _first_operand(command: Command, found: AccessSet) -> None:
    given = command.arguments
    if command.name in ("nc", "ncat", "netcat"):
        for value in given.values(names("-x --proxy")):
            add_address(value, value.text, found)
        if given.has(names("-l --listen")):
            found.add_unjudged("network", f"what connects to {command}", "network")
            return
    if command.name in ("ssh", "mosh", "sftp"):
        _add_hops(given, command.directory, found)
    add_addresses(given.operands[: 2 if command.name in ("nslookup", "host") else 1], found)


def _add_hops(given: Arguments, where: str | None, found: AccessSet) -> None:
    """Add the hosts that ssh goes through, and the files in its `-o`."""
    for name, value in given.options:
        if name == "-J":
            _add_list(value, found)
        elif name == "-o":
            _add_ssh_option(value, where, found)
        elif name == "-W":
            add_address(value, value.text, found)
        elif name in ("-L", "-R"):
            parts = value.text.split(":")
            if len(parts) >= 3:
                add_address(value, parts[-2], found)


def _add_ssh_option(value: Word, where: str | None, found: AccessSet) -> None:
    if file := _SSH_FILE.match(value.text):
        found.add_path("read", Word(file[1], value.raw, value.unresolved, file[1][0] == "~"), where)
    elif hop := _SSH_HOP.match(value.text):
        _add_list(Word(hop[1], value.raw, value.unresolved), found)
    elif value.text.lower().startswith("proxycommand"):
        command = value.text[12:].lstrip(" =")
        found.add_unjudged("script", value.text, "command")
        found.scripts.append(command)
        if not add_command(command, found):
            found.add_unjudged("network", value.text, "network")


def _add_list(word: Word, found: AccessSet) -> None:
    for address in word.text.split(","):
        add_address(word, address, found)


def _curl(command: Command, found: AccessSet) -> None:
    given = command.arguments
    where = command.directory
    addresses = given.operands + given.values(_CURL["url"])
    add_addresses(given.values(_CURL["host"]), found)
    for value in given.values(_CURL["map"]):
        _add_map(value, found)
    for value in given.values(_CURL["config"]):
        found.add_path("read", value, where)
        found.add_unjudged("network", f"{value.raw} of curl", "network")
    found.add_paths("write", given.values(_CURL["write"]), where)
    found.add_paths("read", given.values(_CURL["read"]), where)
    for value in given.values(_CURL["at"]):
        _add_at(value, where, found)
    for value in given.values(names("-b --cookie")):
        if "=" not in value.text:
            found.add_path("read", value, where)
    addresses = [each for word in addresses for each in _braced(word)]
    into = given.value("--output-dir")
    if given.has(names("-O --remote-name --remote-name-all -J --remote-header-name")):
        _add_downloads(given.operands, into, where, found)
    elif into:
        found.add_path("write", into, where, "in")
    add_addresses(addresses, found)


def _braced(word: Word) -> list[Word]:
    """Return the addresses that curl itself expands `{a,b}` to."""
    return [Word(text, word.raw, word.unresolved) for text in expand_braces(word.text)] or [word]


def _add_map(value: Word, found: AccessSet) -> None:
    """Add the host that `--resolve` or `--connect-to` puts in the place of another."""
    parts = value.text.lstrip("+").split(":")
    if len(parts) >= 3:
        for address in parts[2].split(","):
            add_address(value, address, found)


def _add_at(value: Word, where: str | None, found: AccessSet) -> None:
    """Add the file in `@file`, `name=@file`, `name@file` or `name=<file`."""
    text = value.text
    for sign in ("@", "=<"):
        before, at, path = text.partition(sign)
        if at and " " not in before and path:
            path = path.partition(";")[0]
            word = Word(path, value.raw, value.unresolved, path.startswith("~"))
            found.add_path("read", word, where)
            return


def _add_downloads(
    addresses: Iterable[Word], into: Word | None, where: str | None, found: AccessSet
) -> None:
    for word in addresses:
        name = basename(word.text.partition("?")[0]) or "index.html"
        unresolved = word.unresolved
        if into:
            path = Word(f"{into.text}/{name}", into.raw, into.unresolved or unresolved, into.tilde)
        else:
            path = Word(name, word.raw, unresolved)
        found.add_path("write", path, where)


def _wget(command: Command, found: AccessSet) -> None:
    given = command.arguments
    where = command.directory
    found.add_paths("write", given.values(_WGET["write"]), where)
    found.add_paths("read", given.values(_WGET["read"]), where)
    if given.value("-O", "--output-document") is None:
        _add_downloads(given.operands, given.value("-P", "--directory-prefix"), where, found)
    for value in given.values(names("-i --input-file")):
        if "://" in value.text:
            add_addresses([value], found)
        found.add_unjudged("network", f"the addresses in {value.raw}", "network")
    for value in given.values(names("-e --execute")):
        name, _, address = value.text.replace(" ", "").partition("=")
        if name.endswith("_proxy"):
            add_address(value, address, found)
    add_addresses(given.operands, found)


def _httpie(command: Command, found: AccessSet) -> None:
    given = command.arguments
    found.add_paths("write", given.values(names("-o --output")), command.directory)
    for value in given.values(frozenset(["--proxy"])):
        add_address(value, value.text.partition(":")[2], found)
    addresses = [word for word in given.operands if not _METHOD.fullmatch(word.text)]
    for word in addresses[1:]:
        _add_at(word, command.directory, found)
    add_addresses(addresses[:1], found)


def _copies(command: Command, found: AccessSet) -> None:
    """Add what scp, sftp and rsync copy: an operand with a host before a colon is there."""
    is_rsync = command.name == "rsync"
    given = command.arguments
    _add_hops(given, command.directory, found)
    if command.name == "sftp":
        found.add_paths("read", given.values(frozenset(["-b"])), command.directory)
        add_addresses(given.operands[:1], found)
        return
    where = command.directory
    operands = given.operands
    found.add_paths("read", given.values(names("--files-from --exclude-from")), where)
    here: list[tuple[int, Word]] = []
    for at, word in enumerate(operands):
        remote = REMOTE.fullmatch(word.text)
        if word.text.startswith(("/", ".", "~")) or not (remote or "://" in word.text):
            here.append((at, word))
        else:
            add_addresses([word], found)
    deletes = is_rsync and any(name.startswith("--del") for name, _ in given.options)
    for at, word in here:
        if at < len(operands) - 1:
            found.add_path("read", word, where, "all")
            if given.has(["--remove-source-files"]):
                found.add_path("delete", word, where, "all")
        else:
            found.add_path(
                "delete" if deletes else "write", word, where, "all" if deletes else "in"
            )


def _dig(command: Command, found: AccessSet) -> None:
    given = command.arguments
    servers = [
        Word(word.text[1:], word.raw, word.unresolved)
        for word in given.operands
        if word.text.startswith("@")
    ]
    asked = [word for word in given.operands if not word.text.startswith(("@", "+"))][:1]
    add_addresses([*servers, *asked], found)


def _socat(command: Command, found: AccessSet) -> None:
    hosts = [host for word in command.words[1:] for host in _SOCAT_HOST.findall(word.text)]
    for host in hosts:
        add_address(Word(host, host), host, found)
    if not hosts:
        found.add_unjudged("network", command, "network")
    for word in command.words[1:]:
        kind, _, path = word.text.partition(":")
        if kind.upper() in ("FILE", "OPEN", "CREATE", "GOPEN"):
            name = path.partition(",")[0]
            file = Word(name, word.raw, word.unresolved)
            found.add_path("write", file, command.directory)
            if kind.upper() != "CREATE":
                found.add_path("read", file, command.directory)


def _mount(command: Command, found: AccessSet) -> None:
    given = command.arguments
    for word in given.operands[:1]:
        if word.text.startswith("//"):
            add_address(word, word.text[2:].partition("/")[0], found)
        elif REMOTE.fullmatch(word.text):
            add_addresses([word], found)


_PROGRAMS: dict[str, Callable[[Command, AccessSet], None]] = {
    **dict.fromkeys(HOSTS["first_operand"].split(), _first_operand),
    "curl": _curl,
    "wget": _wget,
    **dict.fromkeys(("http", "https", "xh", "xhs", "curlie"), _httpie),
    **dict.fromkeys(("scp", "sftp", "rsync"), _copies),
    **dict.fromkeys(("dig", "drill"), _dig),
    "socat": _socat,
    **dict.fromkeys(("mount", "mount.nfs", "mount.cifs", "smbclient"), _mount),
}
NAMES = frozenset(_PROGRAMS)
"""Programs whose hosts are in their arguments."""
