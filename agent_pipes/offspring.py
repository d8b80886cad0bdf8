"""What an agent has started: found, held, and told from what is ours. The children of its children are its own too."""

import os
from collections.abc import Collection

from agent_pipes.held import Held, Refused
from agent_pipes.process import (
    Identity,
    Process,
    alive,
    all_processes,
    ancestors,
    below,
    command_line,
    environment_value,
    standard_pipe,
    user,
)

BREAKERS = ("trace-kill", "agent-strace")
"""The commands of this suite that end agents. One that the agent's own hooks have started is busy with what we do."""


class Offspring:
    """What one agent has started, as far as it has been seen: `look` looks again.

    living:     what has been found and has not ended, parents before their children.
    ended:      how many of those found have ended since.
    others:     what is another user's, and which user's: it is not held, and never signalled.
    unreadable: why the last look failed, "" if it did not.
    """

    def __init__(
        self, agent: Held, *, marker: tuple[str, str] | None = None, extra_roots: Collection[Identity] = (), spared: Collection[Identity] = ()
    ) -> None:
        """The parameters are those of `Ending`."""
        self.agent = agent
        self.marker = marker
        self.extra_roots = tuple(extra_roots)
        self.spared = frozenset(spared)
        self.living: dict[Identity, Held] = {}
        self.ended = 0
        self.others: dict[Identity, int | None] = {}
        self.unreadable = ""
        self._table: dict[int, Process] = {}
        self._seen: set[Identity] = set()
        self._inside: bool | None = None
        self._agent_group = agent.group

    def look(self) -> list[Held]:
        """Look at the process table once. Returns what is new, parents before their children."""
        for identity in [identity for identity, held in self.living.items() if held.gone()]:
            self.living.pop(identity).close()
            self.ended += 1
        try:
            self._table = all_processes()
            new = [process for process in self._find() if process.identity not in self._seen]
            self.unreadable = ""
            return [held for process in new if (held := self._hold(process))]
        except OSError as error:
            self.unreadable = f"the process table cannot be read ({error})"
            return []

    def still(self, identity: Identity) -> bool:
        """Whether the process stood still, or had ended, at the last look."""
        row = self._row(identity)
        return row is None or row.state in "Tt"

    def left(self) -> list[Identity]:
        """What of another user's processes lives on."""
        return [identity for identity in self.others if alive(identity)]

    def close(self) -> None:
        """Let go of all that is held."""
        for held in self.living.values():
            held.close()
        self.living.clear()

    def _row(self, identity: Identity) -> Process | None:
        row = self._table.get(identity.pid)
        return row if row is not None and row.identity == identity else None

    def _find(self) -> list[Process]:
        """What the agent has started, parents before their children, without what is never touched.

        Of the agent, or of one found before, are: their descendants; those in a session or process group that one of
        them has begun, which a process can only be born into, and stays in when its parent ends; those that carry
        the marker; and the descendants of all these.
        """
        table = self._table
        ours = self._ours()
        known = {identity.pid for identity in (self.agent.identity, *self.extra_roots, *self.living) if self._row(identity)}
        found = {process.pid: process for process in table.values() if process.pid not in ours and self._marked(process.pid)}
        # A number that is another process's now leads nothing of the agent's.
        leaders = {identity.pid for identity in self._seen if identity.pid not in table or self._row(identity)}
        before = -1
        while before != len(found):
            before = len(found)
            leaders |= found.keys() - ours
            members = [process for process in table.values() if process.session in leaders or process.group in leaders]
            for process in (*below(known | found.keys(), table), *members):
                found.setdefault(process.pid, process)
        return [process for process in found.values() if process.pid not in ours]

    def _marked(self, pid: int) -> bool:
        # Anyone can put the marker into an environment: of another user it proves nothing.
        return self.marker is not None and environment_value(pid, self.marker[0]) == self.marker[1] and user(pid) == self.agent.user

    def _ours(self) -> set[int]:
        """The numbers of what is never touched, and of the agent, which is none of its offspring.

        Ourselves and our ancestors never are. Where the agent's hooks have started us, we stand in its tree with the
        pipeline that we are part of: that is our process group, or, if the agent has given it none of its own, those
        in the group that are linked with us by their pipes.
        """
        me, group = os.getpid(), os.getpgrp()
        above = ancestors(me)
        if self._inside is None:
            self._inside = self.agent.identity in above or self._marked(me)
        row = self._row(self.agent.identity)
        self._agent_group = row.group if row else self._agent_group
        ours = {me, self.agent.identity.pid, *(identity.pid for identity in (*self.spared, *above))}
        if self._inside:
            members = {process.pid for process in self._table.values() if process.group == group} - {self.agent.identity.pid}
            ours |= members if group != self._agent_group else _pipeline(me, members)
            ours.update(process.pid for process in below({me}, self._table))
        return ours

    def _hold(self, process: Process) -> Held | None:
        self._seen.add(process.identity)
        if any(os.path.basename(word) in BREAKERS for word in command_line(process.pid)[:2]):
            return None
        owner = user(process.pid)
        if owner != self.agent.user:
            self.others[process.identity] = owner
            return None
        try:
            held = Held(process.identity, nested=True)
        except Refused:
            # It has ended since the table was read: everything else that is refused was left out before.
            return None
        self.living[process.identity] = held
        return held


def _pipeline(pid: int, group: Collection[int]) -> set[int]:
    """Those of `group` that stand with `pid` in one pipeline: what one writes, another reads, and so to `pid`."""
    ends = {other: (standard_pipe(other, 0), standard_pipe(other, 1)) for other in {*group, pid}}
    linked: set[int] = set()
    queue = [pid]
    while queue:
        one = queue.pop()
        linked.add(one)
        reads, writes = ends[one]
        for other, (its_in, its_out) in ends.items():
            if other not in linked and ((reads and reads == its_out) or (writes and writes == its_in)):
                queue.append(other)
    return linked
