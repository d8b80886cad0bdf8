"""Codex's directory and its daemon's socket, without the modules that speak over a socket."""

from pathlib import Path

from agent_pipes.agents.base import home_from


def home() -> Path:
    """Return Codex's directory: $CODEX_HOME, else ~/.codex."""
    return home_from("CODEX_HOME", ".codex")


def socket_path() -> Path:
    """Return the path of the daemon's control socket, often a link: socket paths are short."""
    return home() / "app-server-control" / "app-server-control.sock"
