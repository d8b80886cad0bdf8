"""agent-strace: one program with subcommands, each loaded when it is called."""

import gc
import os
import sys

HOOK_CALLS = {
    ("hook",): "",
    ("hook", "--guard"): "deny",
    ("hook", "--guard=stop"): "stop",
}
"""Mode of the guard by the arguments with which agents' settings call the hook."""


def main() -> int:
    """Run the subcommand that the arguments name, and return the exit status."""
    guard = HOOK_CALLS.get(tuple(sys.argv[1:]))
    if guard is not None:
        # An agent waits for this call: click is not loaded, nothing is collected or torn down.
        gc.disable()
        from agent_pipes.hooks.recorder import run

        os._exit(run(guard=guard))
    from agent_pipes.commands.subcommands import strace
    from agent_pipes.core.filter import exit_status

    status = exit_status(lambda: strace.main(prog_name="agent-strace", standalone_mode=False))
    # Status 2 of a hook forbids the agent's call; a wrong option in its settings must not.
    return 1 if status and sys.argv[1:2] == ["hook"] else status
