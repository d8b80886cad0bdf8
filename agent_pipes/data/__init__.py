"""Data files: prices, tables, examples."""
