"""Circuit breakers for AI coding agents, as Unix filters: NDJSON in, NDJSON out."""

import gc
import os
import sys

__version__ = "0.1.0"

# Events contain no reference cycles, so a collection every few hundred objects would find nothing.
gc.set_threshold(50_000, 50, 50)

_PROGRAM = os.path.basename("".join(sys.argv[:1]))
if _PROGRAM.startswith(("trace-", "agent-strace")) and sys.argv[1:2] != ["hook"]:
    # A Ctrl-C while Python loads the command would print a traceback; `exit_status` undoes this.
    import signal

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
