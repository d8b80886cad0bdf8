"""Registry of the detectors, in the order in which events pass them."""

from agent_pipes.detect.context import detect_context
from agent_pipes.detect.cost import detect_cost
from agent_pipes.detect.detector import DetectorFilter
from agent_pipes.detect.duration import detect_duration
from agent_pipes.detect.loop.command import detect_loop
from agent_pipes.detect.quota import detect_quota
from agent_pipes.detect.retry.command import detect_retry
from agent_pipes.detect.scope import detect_scope
from agent_pipes.detect.spawn import detect_spawn
from agent_pipes.detect.stall import detect_stall

DETECTORS: dict[str, DetectorFilter] = {
    "retry": detect_retry,
    "loop": detect_loop,
    "cost": detect_cost,
    "scope": detect_scope,
    "duration": detect_duration,
    "stall": detect_stall,
    "spawn": detect_spawn,
    "context": detect_context,
    "quota": detect_quota,
}
"""Detector commands by watcher name."""
