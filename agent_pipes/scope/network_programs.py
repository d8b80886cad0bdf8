"""Hosts in the arguments of a shell command."""

import re
from collections.abc import Iterable
from posixpath import basename

from agent_pipes.core.lazy_regex import pattern
from agent_pipes.core.tables import names
from agent_pipes.scope.access import AccessSet, arguments
from agent_pipes.shell import Command, Word

_URL = pattern(r"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)")
_REMOTE = pattern(r"(?:[^@:/\s]+@)?(\[[0-9A-Fa-f:.]+\]|[^@:/\s]+):(?!//)(.*)", re.S)

_CURL_VALUES = "AbcCdDeEFhHKmoPQrTtuUwxXyYz"
_CURL_LONG = names(
    "--header --data --data-raw --data-binary --data-ascii --data-urlencode --json --request --output --output-dir --user --user-agent"
    " --max-time --connect-timeout --retry --retry-delay --retry-max-time --cookie --cookie-jar --form --form-string --write-out --cacert"
    " --cert --key --range --limit-rate --config --upload-file --referer --max-redirs --ciphers --interface --unix-socket --resolve"
    " --url --proxy --oauth2-bearer --dump-header --trace --trace-ascii --netrc-file --max-filesize --speed-limit --speed-time"
)
_WGET_LONG = names(
    "--output-document --output-file --directory-prefix --header --user --password --post-data --tries --timeout"
)

PACKAGES = names(
    "npm npx pnpm pnpx yarn bun bunx pip pip3 pipx uv uvx poetry pdm conda mamba gem bundle bundler cargo rustup go mvn gradle sbt"
    " composer apt apt-get dnf yum zypper pacman apk brew port snap flatpak nix docker podman kubectl helm terraform aws gcloud az gh glab"
    " hub vercel netlify fly flyctl heroku"
)
"""Programs that reach hosts of their own choosing."""

_FIRST_OPERAND = {
    "ssh": "BbcDEeFIiJLlmOopQRSWw",
    "mosh": "p",
    "telnet": "bekln",
    "ping": "cfIilmpQSstTWw",
    "ping6": "cIilmpQSstTWw",
    "nslookup": "",
    "host": "cCmNRtTWw",
    "whois": "hp",
    "traceroute": "fgimNpqswz",
    "nc": "cegIiMmOpPqsTVwWXx",
    "ncat": "cdegGimopPswx",
    "netcat": "cegIiMmOpPqsTVwWXx",
    "ftp": "NoPprs",
    "lftp": "cefpu",
    "socat": "",
}
NAMES = frozenset(
    [*_FIRST_OPERAND, "curl", "wget", "http", "https", "xh", "xhs", "scp", "sftp", "rsync", "dig"]
)


def host_of(url: str) -> str:
    """Return the host in `url` without userinfo, port and brackets; "" if there is none."""
    match = _URL.match(url)
    return _host(match[1]) if match else ""


def _host(authority: str) -> str:
    if "\\" in authority or re.search(r"[\s*{}$]", authority):
        return ""
    name = authority.rpartition("@")[2]
    if name.startswith("["):
        return name[1:].partition("]")[0].lower()
    return name.partition(":")[0].lower()


def add_accesses(command: Command, found: AccessSet) -> None:
    """Add the hosts that `command`, one of NAMES, connects to."""
    name = command.name
    if name == "curl":
        _curl(command, found)
    elif name == "wget":
        _wget(command, found)
    elif name in ("http", "https", "xh", "xhs"):
        _, operands = arguments(command, "apAo", names("--output --auth --session"))
        address = [word for word in operands if not re.fullmatch(r"[A-Z]+", word.text)][:1]
        _addresses(address, found)
    elif name in ("scp", "rsync", "sftp"):
        _copies(command, found)
    elif name == "dig":
        _, operands = arguments(command, "bcfkmpqtxy")
        servers = [
            Word(word.text[1:], word.raw, word.unresolved)
            for word in operands
            if word.text.startswith("@")
        ]
        asked = [word for word in operands if not word.text.startswith(("@", "+"))][:1]
        _addresses([*servers, *asked], found)
    else:
        options, operands = arguments(command, _FIRST_OPERAND[name])
        if name.startswith("n") and any(option == "-l" for option, _ in options):
            found.add_unjudged("network", f"what connects to {command}", "network")
        elif name == "socat":
            found.add_unjudged("network", str(command), "network")
        else:
            _addresses(operands[:1], found)


def _curl(command: Command, found: AccessSet) -> None:
    options, operands = arguments(command, _CURL_VALUES, _CURL_LONG)
    addresses = [*operands]
    for option, value in options:
        if option in ("--url", "-x", "--proxy"):
            addresses.append(value)
        elif option in ("-K", "--config"):
            found.add_unjudged("network", f"{value.raw} of curl", "network")
        elif option in ("-o", "--output", "-D", "--dump-header", "-c", "--cookie-jar"):
            found.add_path("write", value, command.directory)
        elif option in ("-T", "--upload-file"):
            found.add_path("read", value, command.directory)
        elif (
            option
            in ("-d", "--data", "--data-binary", "-F", "--form", "--data-urlencode", "--json")
            and "@" in value.text
        ):
            found.add_path(
                "read",
                Word(value.text.partition("@")[2].partition(";")[0], value.raw, value.unresolved),
                command.directory,
            )
        elif option in ("-O", "--remote-name"):
            for word in operands:
                found.add_path(
                    "write",
                    Word(basename(word.text.partition("?")[0]), word.raw, word.unresolved),
                    command.directory,
                )
    _addresses(addresses, found)


def _wget(command: Command, found: AccessSet) -> None:
    options, operands = arguments(command, "OoaPtTwQUeiARDIXlB", _WGET_LONG)
    given = {option: value for option, value in options}
    output = given.get("-O") or given.get("--output-document")
    into = given.get("-P") or given.get("--directory-prefix")
    if output:
        found.add_path("write", output, command.directory)
    else:
        for word in operands:
            name = Word(
                basename(word.text.partition("?")[0]) or "index.html", word.raw, word.unresolved
            )
            found.add_path(
                "write",
                Word(
                    f"{into.text}/{name.text}",
                    into.raw,
                    into.unresolved or name.unresolved,
                    into.tilde,
                )
                if into
                else name,
                command.directory,
            )
    if "-i" in given:
        found.add_unjudged("network", f"the addresses in {given['-i'].raw}", "network")
    _addresses(operands, found)


def _copies(command: Command, found: AccessSet) -> None:
    """scp, sftp and rsync: an operand with a host before a colon is there, any other is here."""
    values, long = (
        ("cFiJloPSDX", frozenset[str]())
        if command.name != "rsync"
        else ("efBMT", names("--exclude --include --rsh --files-from"))
    )
    options, operands = arguments(command, values, long)
    if command.name == "sftp":
        _addresses(operands[:1], found)
        return
    here: list[tuple[int, Word]] = []
    for at, word in enumerate(operands):
        remote = _REMOTE.fullmatch(word.text)
        if word.text.startswith(("/", ".", "~")) or not (remote or "://" in word.text):
            here.append((at, word))
        else:
            _addresses([word], found)
    for at, word in here:
        if at < len(operands) - 1:
            found.add_path("read", word, command.directory, "all")
        else:
            deletes = any(option.startswith("--delete") for option, _ in options)
            found.add_path("write", word, command.directory, "all" if deletes else "in")


def remotes(operands: Iterable[Word], what: str, found: AccessSet) -> None:
    """The hosts of git addresses; a remote's name says nothing of its host."""
    named = False
    for word in operands:
        if "://" in word.text or (
            _REMOTE.fullmatch(word.text) and not word.text.startswith(("/", ".", "+"))
        ):
            _addresses([word], found)
            named = True
    if not named:
        found.add_unjudged("network", f"the remote of {what}", "network")


def _addresses(words: Iterable[Word], found: AccessSet) -> None:
    for word in words:
        if not word.text or (word.text.startswith(("file:", "data:")) and not word.unresolved):
            continue
        remote = _REMOTE.fullmatch(word.text) if "://" not in word.text else None
        port = remote is not None and re.fullmatch(r"\d+(?:[/?#].*)?", remote[2], re.S)
        authority = (
            remote[1]
            if remote and not port and "/" not in remote[1]
            else re.split(r"[/?#]", word.text, maxsplit=1)[0]
        )
        host = host_of(word.text) if "://" in word.text else _host(authority)
        if host and "$" not in host and "`" not in host:
            found.hosts.append(host)
        else:
            found.add_unjudged(word.unresolved or "network", word.raw, "network")
