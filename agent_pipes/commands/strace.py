"""agent-strace: one command of several, each loaded when it is called."""

import gc
import os
import sys

ORDINARY = {("hook",): False, ("hook", "--guard"): True}
"""How settings call the hook, and whether it guards."""

ASKED = "_AGENT_STRACE_COMPLETE"
"""The environment variable by which a shell asks how a line may go on: see agent_pipes/completion.py."""


def main() -> int:
    """Run the subcommand that the arguments name; the result is the exit status."""
    guard = ORDINARY.get(tuple(sys.argv[1:]))
    if guard is not None:
        # An agent waits for this one at each of its calls: what reads options and draws help is not loaded for it, and
        # nothing is looked for that could be freed before it ends.
        gc.disable()
        from agent_pipes.hooks.recorder import run

        # Nor does it wait for the interpreter to tidy up: there is nothing that has not been written.
        os._exit(run(guard=guard))
    from agent_pipes.core.filter import exit_status

    if ASKED in os.environ:
        from agent_pipes.commands.completion import answer

        return exit_status(answer)
    from agent_pipes.commands.subcommands import strace

    status = exit_status(lambda: strace.main(prog_name="agent-strace", standalone_mode=False))
    # To an agent, status 2 of a hook means that the call is forbidden: a slip in its settings must not stop all work.
    return 1 if status and sys.argv[1:2] == ["hook"] else status
