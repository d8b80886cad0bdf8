"""Hooks: what `agent-strace hook` does with a payload."""
