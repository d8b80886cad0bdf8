"""Find, read and follow sessions."""
