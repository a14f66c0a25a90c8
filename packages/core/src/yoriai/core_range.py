"""Which versions of core a plugin works with, and whether the installed one is among them."""

from __future__ import annotations

import re
from importlib import metadata


def other_core(point: metadata.EntryPoint) -> tuple[str, bool]:
    """The range of yoriai-core that a plugin declares, if the installed core is not in it,
    and whether the plugin wants an older one."""
    core = metadata.version("yoriai-core")
    try:
        lines = (point.dist.requires if point.dist else None) or []
    except Exception:  # no METADATA, see _owner
        lines = []
    for line in lines:
        # Loading the parser takes 20 ms: leave out what is plainly another package, and the two
        # plain forms in which plugins ask for a core that is here.
        if "core" not in line.lower() or _plainly_here(line, core):
            continue
        from packaging.requirements import InvalidRequirement, Requirement
        from packaging.utils import canonicalize_name
        from packaging.version import Version

        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        if canonicalize_name(requirement.name) != "yoriai-core":
            continue
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        if not requirement.specifier.contains(core, prereleases=True):
            bounds = [Version(s.version.removesuffix(".*")) for s in requirement.specifier]
            return str(requirement.specifier), all(b <= Version(core) for b in bounds)
    return "", False


_RANGE = re.compile(r"yoriai-core(?:<([\d.]+),>=([\d.]+)|>=([\d.]+),<([\d.]+))")


def _plainly_here(line: str, core: str) -> bool:
    """Whether a requirement is ``yoriai-core==X.Y.*`` or a range ``>=A,<B`` that holds ``core``."""
    if line == f"yoriai-core=={core.rpartition('.')[0]}.*":
        return True
    match = _RANGE.fullmatch(line)
    if not match or not re.fullmatch(r"[\d.]+", core):
        return False
    above, below, below2, above2 = match.groups()
    low, here, high = (
        [int(part) for part in text.split(".") if part]
        for text in (below or below2, core, above or above2)
    )
    return low <= here < high
