"""HTML page and terminal summary of one session: what trace-report prints."""
