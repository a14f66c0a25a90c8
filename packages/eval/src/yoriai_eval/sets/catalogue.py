"""The data sets there are, as ``registry/*.yaml`` says; read whenever entries are listed."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from yoriai import YoriaiError, safe_yaml

FOLDER = Path(__file__).with_name("registry")


@cache
def read() -> dict[str, dict[str, Any]]:
    """Every data set by its name, as it is written; four milliseconds."""
    found: dict[str, dict[str, Any]] = {}
    for place in sorted(FOLDER.glob("*.yaml")):
        for name, value in safe_yaml.load(place.read_bytes(), place.name).items():
            if name in found:
                raise YoriaiError(f"{place.name}: {name} is in the registry already")
            found[name] = value
    return found


def tasks() -> dict[str, dict[str, Any]]:
    """The data sets that a task asks: with ``task``, its class in the room ``tasks``."""
    return {name: value for name, value in read().items() if value.get("task")}


def is_unverified(value: dict[str, Any]) -> bool:
    """Whether nobody has taken the checksum of some file of a data set."""
    return any(file.get("unverified") for file in value.get("files", {}).values())
