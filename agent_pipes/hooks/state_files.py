"""What is noted beside a session's events: how far its transcripts were read, and where the session was judged to be."""

NOTES, LOCK = ".hook.json", ".hook.lock"
"""The file of the notes in the session's folder, and the lock of whoever writes it."""

PATIENCE = 5.0
"""Seconds that a hook, and so the agent, waits for another one that does the same."""
