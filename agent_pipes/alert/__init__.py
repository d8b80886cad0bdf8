"""Telling people of violations elsewhere than here: what waits to be told, what goes out now, and in which service's words."""
