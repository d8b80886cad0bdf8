"""Circuit breakers for AI coding agents, as Unix filters: NDJSON in, NDJSON out."""

import gc

__version__ = "0.1.0"

# Events contain no reference cycles, so a collection every few hundred objects would find nothing.
gc.set_threshold(50_000, 50, 50)
