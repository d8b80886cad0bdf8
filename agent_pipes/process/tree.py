"""Scan for the processes of an agent, orphans included, apart from our own."""

import os
from collections.abc import Callable, Collection

from agent_pipes.process import helpers
from agent_pipes.process.handle import NotPermitted, ProcessHandle
from agent_pipes.process.open_files import standard_pipe
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
    user,
)

BREAKERS = ("trace-kill", "agent-strace")
"""Commands of this suite that kill agents; the agent's hooks may have started one."""

OnFound = Callable[[ProcessHandle], None]


class ProcessTree:
    """Processes that one agent has started, as far as scans have found them.

    live:       handles of the processes that have not exited, parents before their children.
    exited:     number of those found that have exited since.
    foreign:    processes of other users, and their user IDs; these are never signalled.
    changed:    True if the last scan found something new, even if it exited before it was held.
    unreadable: why the last scan failed, "" if it did not.
    """

    def __init__(
        self,
        agent: ProcessHandle,
        *,
        marker: tuple[str, str] | None = None,
        extra_roots: Collection[Identity] = (),
    ) -> None:
        """Take the parameters of `Terminator`."""
        self.agent = agent
        self.marker = marker
        self.extra_roots = tuple(extra_roots)
        self.live: dict[Identity, ProcessHandle] = {}
        self.exited = 0
        self.foreign: dict[Identity, int | None] = {}
        self.changed = False
        self.unreadable = ""
        self._table: dict[int, Process] = {}
        self._seen: set[Identity] = set()
        self._unheld: list[Process] = []
        self._inside: bool | None = None
        self._excluded: set[int] = set()
        self._leaders: set[int] = set()

    def scan_children(self) -> bool:
        """Open handles for the descendants listed in /proc/PID/task/*/children.

        This takes a tenth of the time of a full scan, and must run before the agent exits,
        because orphans are reparented. Returns False if the kernel has no such lists, or if we
        are among the descendants ourselves.
        """
        if self._are_inside():
            return False
        roots = [identity.pid for identity in (self.agent.identity, *self.extra_roots)]
        excluded = {os.getpid(), *roots}
        found: dict[int, Process] = {}
        before = -1
        try:
            # A child that exits during the read can hide another from one pass, not from two.
            while before != len(found):
                before = len(found)
                queue = [*roots]
                while queue:
                    for pid in children(queue.pop()):
                        row = None if pid in excluded else found.get(pid) or process_at(pid)
                        if row and not row.dead and not helpers.is_helper(row):
                            found[pid] = row
                            queue.append(pid)
        except OSError:
            return False
        for row in found.values():
            self._add(row, [], None)
        return True

    def scan(self, on_found: OnFound | None = None) -> list[ProcessHandle]:
        """Scan the process table once and return handles of what is new.

        `on_found` is called as soon as each handle is open: a process that forks and exits every
        few milliseconds would be gone by the end of the scan.
        """
        for identity in [each for each, handle in self.live.items() if handle.has_exited()]:
            self.live.pop(identity).close()
            self.exited += 1
        new: list[ProcessHandle] = []
        self.changed = False
        self.unreadable = ""
        with helpers.lock:
            try:
                self._scan(new, on_found)
            except OSError as error:
                self.unreadable = f"the process table cannot be read ({error})"
        return new

    def is_stopped(self, identity: Identity) -> bool:
        """Return True if the process was stopped, or had exited, at the last scan."""
        row = self._row(identity)
        return row is None or row.state in "Tt"

    def live_foreign(self) -> list[Identity]:
        """Return the processes of other users that are still alive."""
        try:
            return [identity for identity in self.foreign if alive(identity)]
        except OSError:
            return list(self.foreign)

    def close(self) -> None:
        """Close all handles."""
        for handle in self.live.values():
            handle.close()
        self.live.clear()

    def _scan(self, new: list[ProcessHandle], on_found: OnFound | None) -> None:
        before, self._table = self._table, {}
        unheld, self._unheld = self._unheld, []
        for row in unheld:
            self._add(row, new, on_found)
        for row in rows():
            if not row.dead:
                self._table[row.pid] = row
                # A process that was absent from the last scan is judged while the table is read.
                if before and row.pid not in before and self._is_newborn(row):
                    self._add(row, new, on_found)
        for row in self._members():
            self._add(row, new, on_found)

    def _add(self, row: Process, new: list[ProcessHandle], on_found: OnFound | None) -> None:
        if row.identity in self._seen:
            return
        self.changed = True
        try:
            handle = self._open(row)
        except OSError as error:
            # The row is kept, because an orphan's later rows do not show whose it was.
            self._unheld.append(row)
            self.unreadable = f"process {row.pid} cannot be inspected ({error})"
            return
        self._seen.add(row.identity)
        if handle:
            new.append(handle)
            if on_found:
                on_found(handle)

    def _row(self, identity: Identity) -> Process | None:
        row = self._table.get(identity.pid)
        return row if row is not None and row.identity == identity else None

    def _members(self) -> list[Process]:
        """Return the rows of the agent's tree, parents before children, without excluded ones.

        Members are the descendants of the agent or of a member found before; processes in a
        session or process group that a member leads, since these can only be joined by birth and
        outlive the parent; processes with the marker; and the descendants of all these.
        """
        table = self._table
        excluded = self._excluded = self._exclude()
        roots = {
            identity.pid
            for identity in (self.agent.identity, *self.extra_roots, *self.live)
            if self._row(identity)
        }
        found = {
            row.pid: row
            for row in table.values()
            if row.pid not in excluded and self._is_marked(row.pid)
        }
        # A reused PID does not make its new owner a leader of the agent's sessions.
        leaders = {
            identity.pid
            for identity in self._seen
            if identity.pid not in table or self._row(identity)
        }
        before = -1
        while before != len(found):
            before = len(found)
            leaders |= found.keys() - excluded
            members = [
                row for row in table.values() if row.session in leaders or row.group in leaders
            ]
            for row in (*below(roots | found.keys(), table), *members):
                found.setdefault(row.pid, row)
        self._leaders = leaders
        return [row for row in found.values() if row.pid not in excluded]

    def _is_newborn(self, row: Process) -> bool:
        """Return True if a new row belongs to the agent, by itself and by the last scan."""
        if (
            row.pid in self._excluded
            or helpers.is_helper(row)
            or (self._inside and row.group == os.getpgrp())
        ):
            return False
        parents = {
            identity.pid for identity in (self.agent.identity, *self.extra_roots, *self.live)
        }
        return (
            row.parent in parents
            or row.session in self._leaders
            or row.group in self._leaders
            or self._is_marked(row.pid)
        )

    def _is_marked(self, pid: int) -> bool:
        # Every user can set the marker, so that it proves nothing for another user's process.
        return (
            self.marker is not None
            and environment_value(pid, self.marker[0]) == self.marker[1]
            and user(pid) == self.agent.user
        )

    def _exclude(self) -> set[int]:
        """Return the PIDs that are never members: ours, our ancestors', helpers', the agent's.

        If the agent's hooks have started us, our pipeline is in the agent's tree. The pipeline is
        our process group or, if the agent has not given us one of our own, those processes of
        the group that are connected with us by pipes.
        """
        me, group = os.getpid(), os.getpgrp()
        excluded = {
            me,
            self.agent.identity.pid,
            *(identity.pid for identity in ancestors(me)),
        }
        excluded.update(row.pid for row in self._table.values() if helpers.is_helper(row))
        if self._are_inside():
            members = {row.pid for row in self._table.values() if row.group == group}
            members.discard(self.agent.identity.pid)
            excluded |= members if group != self.agent.group else _pipeline(me, members)
            excluded.update(row.pid for row in below({me}, self._table))
        return excluded

    def _are_inside(self) -> bool:
        """Return True if we are in the agent's own tree, because its hooks have started us."""
        if self._inside is None:
            # The handle has looked for our ancestors already; a second look would delay the kill.
            self._inside = self.agent.is_ancestor or self._is_marked(os.getpid())
        return self._inside

    def _open(self, row: Process) -> ProcessHandle | None:
        if any(os.path.basename(word) in BREAKERS for word in command_line(row.pid)[:2]):
            return None
        owner = user(row.pid)
        if owner != self.agent.user:
            self.foreign[row.identity] = owner
            return None
        try:
            handle = ProcessHandle(row.identity, nested=True)
        except NotPermitted:
            # The process has exited since its row was read; other refusals were excluded before.
            return None
        self.live[row.identity] = handle
        return handle


def _pipeline(pid: int, group: Collection[int]) -> set[int]:
    """Return the PIDs of `group` that are connected with `pid` by pipes, directly or not."""
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
