"""What yoriai-domain-adapt offers. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from yoriai import Entry, hookimpl

if TYPE_CHECKING:
    from yoriai import Artifact, Section


@hookimpl
def yoriai_steps() -> Iterable[Entry]:
    return [
        Entry(
            name="replay",
            target="yoriai_domain_adapt.replay:Replay",
            summary="Mix a domain's tokens with general ones, against forgetting.",
            since="0.1.0",
            licence="Apache-2.0",
        ),
        Entry(
            name="quantise",
            target="yoriai_domain_adapt.quantise:Quantise",
            summary="Round weights to 8 or 4 bits; a plain Hugging Face folder comes out.",
            requires=("torch", "transformers", "compressed-tensors"),
            since="0.1.0",
            licence="Apache-2.0",
        ),
    ]


@hookimpl
def yoriai_sections(artifact: Artifact) -> Iterable[Section]:
    from yoriai_domain_adapt.sections import describe

    return describe(artifact)
