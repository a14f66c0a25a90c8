"""When a task, or one record of it, is given up."""

from __future__ import annotations

DEATHS = 3
"""Processes that died while they worked on it."""
KILLED = f"killed the process that worked on it {DEATHS} times"
"""The reason of a record on which a library in C crashed, say: one page out of a billion."""
