"""State of the hooks beside a session's events: transcript offsets and the breaker's verdict."""

STATE_FILE, STATE_LOCK = ".hook.json", ".hook.lock"
"""The state's file in the session's folder, and the lock of whoever writes it."""

LOCK_TIMEOUT_S = 5.0
"""Seconds that a hook, and so the agent, waits for another hook that does the same."""
