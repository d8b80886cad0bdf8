"""The commands: one file for each, name for name."""
