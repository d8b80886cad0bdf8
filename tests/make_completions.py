"""Writes agent_pipes/data/completions/ anew: what a wheel installs for each shell, made by the commands themselves.

A shell loads the completion of a command by the command's name. bash and fish look for a file of that name: all but one
of those only load the one.
"""

import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from agent_pipes.commands.completion import Bash, Fish, Zsh, names

COMPLETIONS = Path(__file__).parent.parent / "agent_pipes" / "data" / "completions"


def files() -> dict[str, str]:
    """What is to stand in each file, by its path."""
    bash, fish, zsh = (each(None, {}, "agent-strace", "").source() for each in (Bash, Fish, Zsh))
    made = {"zsh/_agent-strace": zsh}
    for name in names():
        main = name == "agent-strace"
        made[f"bash/{name}"] = bash if main else '. "${BASH_SOURCE[0]%/*}/agent-strace"\n'
        made[f"fish/{name}.fish"] = fish if main else "source (status dirname)/agent-strace.fish\n"
    return made


if __name__ == "__main__":
    shutil.rmtree(COMPLETIONS, ignore_errors=True)
    for path, text in files().items():
        (COMPLETIONS / path).parent.mkdir(parents=True, exist_ok=True)
        (COMPLETIONS / path).write_text(text)
