"""Hosts in addresses, and the hosts of git's remotes that a session has set."""

import re
from collections.abc import Iterable
from posixpath import join, normpath

from agent_pipes.core.lazy_regex import pattern
from agent_pipes.core.tables import names
from agent_pipes.scope.access import AccessSet
from agent_pipes.shell import Word
from agent_pipes.shell.options import HOSTS

_URL = pattern(r"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)")
REMOTE = pattern(r"(?:[^@:/\s]+@)?(\[[0-9A-Fa-f:.]+\]|[^@:/\s]+):(?!//)(.*)", re.S)

_SCHEMES = names(HOSTS["schemes"])

MAX_REMOTES = 1000
"""Git remotes of one session whose hosts are kept."""


def host_of(url: str) -> str:
    """Return the host in `url` without userinfo, port and brackets; "" if there is none."""
    match = _URL.match(url)
    return _host(match[1]) if match else ""


def _host(authority: str) -> str:
    if "\\" in authority or re.search(r"[\s*{}$`]", authority):
        return ""
    name = authority.rpartition("@")[2]
    if name.startswith("["):
        return name[1:].partition("]")[0].lower()
    return name.partition(":")[0].lower()


def add_url(url: str, word: Word, found: AccessSet) -> None:
    """Add the host in `url`, a part of `word`, if its scheme is one of the network's."""
    scheme, mark, _ = url.partition("://")
    if not mark or scheme.lower().rpartition("+")[2] in _SCHEMES:
        add_address(word, url, found)


def add_address(word: Word, address: str, found: AccessSet) -> None:
    """Add the host in `address`, a part of `word`."""
    if "%" not in address:  # A placeholder of ssh: %h is the host itself.
        add_addresses([Word(address, word.raw, word.unresolved)], found)


def add_addresses(words: Iterable[Word], found: AccessSet) -> None:
    for word in words:
        if not word.text or (word.text.startswith(("data:", "about:")) and not word.unresolved):
            continue
        if word.text.startswith("file:") and not word.unresolved:
            path = re.sub(r"^file:(?://[^/]*)?", "", word.text)
            found.add_path("read", Word(path, word.raw), "")
            continue
        host = host_of(word.text) if "://" in word.text else _host(_authority(word.text))
        if host and "$" not in host and "`" not in host:
            found.hosts.append(host)
        else:
            found.add_unjudged(word.unresolved or "network", word.raw, "network")


def _authority(address: str) -> str:
    """Return the part of an address without a scheme that names the host: `host:path`, `host/x`."""
    remote = REMOTE.fullmatch(address)
    if remote and "/" not in remote[1] and not re.fullmatch(r"\d+(?:[/?#].*)?", remote[2], re.S):
        return remote[1]
    return re.split(r"[/?#]", address, maxsplit=1)[0]


def add_remotes(
    operands: Iterable[Word], what: str, found: AccessSet, where: str | None = ""
) -> None:
    """Add the hosts of git addresses, and of the remotes that this session has set by name."""
    named = False
    known = _KnownRemotes(found, where)
    operands = list(operands) or [Word("origin", "origin")]
    for word in operands:
        if (host := known.get(word.text)) is not None:
            found.hosts += [host] if host else []
            named = True
        elif "://" in word.text or (
            REMOTE.fullmatch(word.text) and not word.text.startswith(("/", ".", "+"))
        ):
            add_addresses([word], found)
            named = True
    if not named:
        found.add_unjudged("network", f"the remote of {what}", "network")


class _KnownRemotes:
    """The remotes that the session has set in one repository, by name."""

    def __init__(self, found: AccessSet, where: str | None) -> None:
        self._remotes = found.remotes
        self._where = None if where is None else normpath(join("/", found.directory, where))

    def get(self, name: str) -> str | None:
        """Return the host of a remote, "" for none, None if the remote is not known."""
        return None if self._where is None else self._remotes.get((self._where, name))

    def set(self, name: str, host: str) -> None:
        """Keep the host of a remote."""
        if self._where is not None and len(self._remotes) < MAX_REMOTES:
            self._remotes[self._where, name] = host


def keep_remote(name: str, address: Word, where: str | None, found: AccessSet) -> None:
    """Keep the host of the remote `name`, for later commands of the session."""
    text = address.text
    is_remote = "://" in text or bool(REMOTE.fullmatch(text))
    host = host_of(text) if "://" in text else _host(_authority(text))
    if not address.unresolved:
        _KnownRemotes(found, where).set(name, host if is_remote else "")
