"""Checks that hold or raise :class:`Failed`."""

from __future__ import annotations

from collections.abc import Mapping

from machines import Failed


def require(holds: bool, words: str) -> None:
    """Raise :class:`Failed` with ``words`` unless it holds."""
    if not holds:
        raise Failed(words)


def same_losses(found: Mapping[int, float], expected: Mapping[int, float], *, most: float) -> str:
    """How far apart the losses of the same steps are; raises if by more than ``most``."""
    require(found.keys() == expected.keys() != set(), f"steps {list(found)} and {list(expected)}")
    apart = max(abs(found[step] - expected[step]) for step in expected)
    require(apart <= most, f"losses differ by {apart}: {found} and {expected}")
    return f"largest difference of a loss over {len(found)} steps: {apart:.1g}"
