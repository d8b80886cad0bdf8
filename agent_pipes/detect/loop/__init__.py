"""Loops: repeated sequences of calls, and repeated text."""
