"""The process table, handles of processes, and the killing of an agent and its tree."""
