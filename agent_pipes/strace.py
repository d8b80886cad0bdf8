"""agent-strace: one command of several, each loaded when it is called."""


def main() -> int:
    """Run the subcommand that the arguments name; the result is the exit status."""
    from agent_pipes.filter import exit_status
    from agent_pipes.subcommands import strace

    return exit_status(lambda: strace.main(prog_name="agent-strace", standalone_mode=False))
