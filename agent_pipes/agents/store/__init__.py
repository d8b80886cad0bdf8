"""The .agent-traces store."""
