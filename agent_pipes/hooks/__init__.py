"""What `agent-strace hook` does with the payload that an agent calls it with: keep it in the store, and answer for the guard."""
