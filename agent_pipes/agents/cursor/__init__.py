"""Cursor: known by its hooks only."""
