"""What an agent has started: found, held, and told from what is ours. The children of its children are its own too."""

import os
from collections.abc import Callable, Collection

from agent_pipes.process import helpers
from agent_pipes.process.handle import Held, Refused
from agent_pipes.process.table import (
    Identity,
    Process,
    alive,
    ancestors,
    below,
    children,
    command_line,
    environment_value,
    process_at,
    rows,
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
    stirring:   whether the last look has shown anything new, though it may have ended before it could be held.
    unreadable: why the last look failed, "" if it did not.
    """

    def __init__(
        self,
        agent: Held,
        *,
        marker: tuple[str, str] | None = None,
        extra_roots: Collection[Identity] = (),
        spared: Collection[Identity] = (),
    ) -> None:
        """The parameters are those of `Ending`."""
        self.agent = agent
        self.marker = marker
        self.extra_roots = tuple(extra_roots)
        self.spared = frozenset(spared)
        self.living: dict[Identity, Held] = {}
        self.ended = 0
        self.others: dict[Identity, int | None] = {}
        self.stirring = False
        self.unreadable = ""
        self._table: dict[int, Process] = {}
        self._seen: set[Identity] = set()
        self._missed: list[Process] = []
        self._inside: bool | None = None
        self._kept: set[int] = set()
        self._leaders: set[int] = set()

    def glance(self) -> bool:
        """Hold the agent's descendants, as the kernel names them at once: a tenth of the time of a look, and of what is
        lost to who looks after the agent has ended, all. False where it does not name them, or where we are one of them.
        """
        if self._are_inside():
            return False
        roots = [identity.pid for identity in (self.agent.identity, *self.extra_roots)]
        aside = {os.getpid(), *roots, *(identity.pid for identity in self.spared)}
        found: dict[int, Process] = {}
        before = -1
        try:
            # A child that ends meanwhile may hide another from one reading, not from two.
            while before != len(found):
                before = len(found)
                queue = [*roots]
                while queue:
                    for pid in children(queue.pop()):
                        row = None if pid in aside else found.get(pid) or process_at(pid)
                        if row and not row.dead and not helpers.is_one(row):
                            found[pid] = row
                            queue.append(pid)
        except OSError:
            return False
        for row in found.values():
            self._take(row, [], None)
        return True

    def look(self, found: Callable[[Held], None] | None = None) -> list[Held]:
        """Look at the process table once. Returns what is new; `found` is told of each as soon as it is held.

        What runs from its own children lives for a millisecond or two, and is gone when all of the table has been
        read: what was not there at the last look is judged as it is read.
        """
        for identity in [identity for identity, held in self.living.items() if held.gone()]:
            self.living.pop(identity).close()
            self.ended += 1
        new: list[Held] = []
        self.stirring = False
        self.unreadable = ""
        with helpers.lock:
            try:
                self._look(new, found)
            except OSError as error:
                self.unreadable = f"the process table cannot be read ({error})"
        return new

    def _look(self, new: list[Held], found: Callable[[Held], None] | None) -> None:
        before, self._table = self._table, {}
        missed, self._missed = self._missed, []
        for row in missed:
            self._take(row, new, found)
        for row in rows():
            if not row.dead:
                self._table[row.pid] = row
                if before and row.pid not in before and self._is_born(row):
                    self._take(row, new, found)
        for row in self._find():
            self._take(row, new, found)

    def _take(self, row: Process, new: list[Held], found: Callable[[Held], None] | None) -> None:
        if row.identity in self._seen:
            return
        self.stirring = True
        try:
            held = self._hold(row)
        except OSError as error:
            # Of an orphan the table will not say again whose it was.
            self._missed.append(row)
            self.unreadable = f"process {row.pid} cannot be looked at ({error})"
            return
        self._seen.add(row.identity)
        if held:
            new.append(held)
            if found:
                found(held)

    def still(self, identity: Identity) -> bool:
        """Whether the process stood still, or had ended, at the last look."""
        row = self._row(identity)
        return row is None or row.state in "Tt"

    def left(self) -> list[Identity]:
        """What of another user's processes lives on."""
        try:
            return [identity for identity in self.others if alive(identity)]
        except OSError:
            return list(self.others)

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
        ours = self._kept = self._ours()
        known = {
            identity.pid
            for identity in (self.agent.identity, *self.extra_roots, *self.living)
            if self._row(identity)
        }
        found = {
            row.pid: row for row in table.values() if row.pid not in ours and self._marked(row.pid)
        }
        # A number that is another process's now leads nothing of the agent's.
        leaders = {
            identity.pid
            for identity in self._seen
            if identity.pid not in table or self._row(identity)
        }
        before = -1
        while before != len(found):
            before = len(found)
            leaders |= found.keys() - ours
            members = [
                row for row in table.values() if row.session in leaders or row.group in leaders
            ]
            for row in (*below(known | found.keys(), table), *members):
                found.setdefault(row.pid, row)
        self._leaders = leaders
        return [row for row in found.values() if row.pid not in ours]

    def _is_born(self, row: Process) -> bool:
        """Whether a process that was not there before is the agent's, by itself and by what the last look has shown."""
        if (
            row.pid in self._kept
            or helpers.is_one(row)
            or (self._inside and row.group == os.getpgrp())
        ):
            return False
        parents = {
            identity.pid for identity in (self.agent.identity, *self.extra_roots, *self.living)
        }
        return (
            row.parent in parents
            or row.session in self._leaders
            or row.group in self._leaders
            or self._marked(row.pid)
        )

    def _marked(self, pid: int) -> bool:
        # Anyone can put the marker into an environment: of another user it proves nothing.
        return (
            self.marker is not None
            and environment_value(pid, self.marker[0]) == self.marker[1]
            and user(pid) == self.agent.user
        )

    def _ours(self) -> set[int]:
        """The numbers of what is never touched, and of the agent, which is none of its offspring.

        Ourselves and our ancestors never are. Where the agent's hooks have started us, we stand in its tree with the
        pipeline that we are part of: that is our process group, or, if the agent has given it none of its own, those
        in the group that are linked with us by their pipes.
        """
        me, group = os.getpid(), os.getpgrp()
        ours = {
            me,
            self.agent.identity.pid,
            *(identity.pid for identity in (*self.spared, *ancestors(me))),
        }
        ours.update(row.pid for row in self._table.values() if helpers.is_one(row))
        if self._are_inside():
            members = {row.pid for row in self._table.values() if row.group == group} - {
                self.agent.identity.pid
            }
            ours |= members if group != self.agent.group else _pipeline(me, members)
            ours.update(row.pid for row in below({me}, self._table))
        return ours

    def _are_inside(self) -> bool:
        """Whether we stand in the agent's own tree, because its hooks have started us."""
        if self._inside is None:
            # Known since the agent is held: to ask our ancestors takes longer than all that is to be done before the signal.
            self._inside = self.agent.above or self._marked(os.getpid())
        return self._inside

    def _hold(self, row: Process) -> Held | None:
        if any(os.path.basename(word) in BREAKERS for word in command_line(row.pid)[:2]):
            return None
        owner = user(row.pid)
        if owner != self.agent.user:
            self.others[row.identity] = owner
            return None
        try:
            held = Held(row.identity, nested=True)
        except Refused:
            # It has ended since its row was read: everything else that is refused was left out before.
            return None
        self.living[row.identity] = held
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
            if other not in linked and (
                (reads and reads == its_out) or (writes and writes == its_in)
            ):
                queue.append(other)
    return linked
