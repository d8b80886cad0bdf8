"""Circuit breakers for AI coding agents, as Unix filters: NDJSON in, NDJSON out."""

__version__ = "0.1.0"
