"""Streams that are in the vocabulary already."""
