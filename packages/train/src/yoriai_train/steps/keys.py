"""Keys of every step that trains: one bound and one description for each, wherever it stands."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from yoriai import Strategy, Uses
from yoriai_train.job.watch import Watch
from yoriai_train.settings.checkpoints import Policy
from yoriai_train.settings.stability import Stability
from yoriai_train.steps.made import Evaluate

Spread = Annotated[
    Annotated[Strategy, Uses("strategies")],
    Field(description="how training is spread over processes"),
]
Accumulate = Annotated[int, Field(ge=1, le=10**6, description="micro-batches in a step")]
Length = Annotated[
    int | None,
    Field(ge=8, le=10**8, description="tokens of a sequence at most; null: the model's context"),
]
Precision = Annotated[
    Literal["32-true", "bf16-mixed", "bf16-true", "16-mixed"], Field(description="numbers")
]
ActivationCheckpoints = Annotated[
    bool,
    Field(description="compute activations again in the backward pass, to save memory"),
]
Compile = Annotated[bool, Field(description="torch.compile each block; a minute at the start")]
Liger = Annotated[
    bool,
    Field(description="Liger's kernels for norms, rotary and SwiGLU; needs a GPU and the extra"),
]
Checkpoint = Annotated[Policy, Field(description="when checkpoints are written and kept")]
Spikes = Annotated[Stability, Field(description="what is done about spikes of the loss")]
ScoresMeanwhile = Annotated[Evaluate | None, Field(description="scores while training; null: none")]
Watched = Annotated[Watch, Field(description="who is told how training goes")]
