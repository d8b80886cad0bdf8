"""Circuit breakers for AI coding agents, as Unix filters: NDJSON in, NDJSON out."""

import gc

__version__ = "0.1.0"

# What is loaded stays, and what a stream leaves behind is freed at once: a collector that looks for cycles after each few
# hundred objects finds none, neither while a command starts nor in its loop.
gc.set_threshold(50_000, 50, 50)
