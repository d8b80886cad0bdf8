"""JSON form of a session's status, for scripts."""

import math
from collections.abc import Mapping

from agent_pipes.commands.session_status import SessionStatus
from agent_pipes.commands.status_view import NAMES, doing
from agent_pipes.core.jsonl import dumps


def as_json(session: SessionStatus, limits: Mapping[str, float], now: float) -> str:
    """Return one session as a JSON object on one line."""
    state = session.state(now, limits.get("stall", 0.0))
    what, _ = doing(session, state, now)
    rate = session.dollars_per_hour(now)
    return dumps(
        {
            "session_id": session.name,
            "agent": session.agent,
            "cwd": session.cwd,
            "model": session.model,
            "state": NAMES[state],
            "doing": what,
            "silent_s": round(session.silence(now), 3),
            "events": session.events,
            "failing": session.failing,
            "usd": session.cost,
            "estimated": session.estimated,
            "unpriced": session.unpriced,
            "usd_per_hour": None if math.isnan(rate) else round(rate, 4),
            "context": None if math.isnan(session.context) else round(session.context, 4),
            "limits": [
                {
                    "name": each.name,
                    "limit": each.limit,
                    "part": round(each.part, 4),
                    "reached_at": each.eta if math.isfinite(each.eta) else None,
                }
                for each in session.progress(limits, now)
            ],
        }
    ).decode()
