"""Agents: a folder each; base.py declares what is asked of one, registry.py lists them."""
