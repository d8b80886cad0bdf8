"""Detectors, one file or folder each, and what they share: driver, calls, outcomes."""
