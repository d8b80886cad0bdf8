"""Kiro: recognised and refused."""
