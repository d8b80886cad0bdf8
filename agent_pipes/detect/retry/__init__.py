"""Failures: of one command, and of any with the same error."""
