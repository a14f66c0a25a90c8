"""Training: instructions, the shape of a model, and ZeRO-1 with options of its own."""

import random
from typing import Any, ClassVar, Literal

from pydantic import Field

from yoriai import Example, Instructions, Method, ModelShape, Strategy
from yoriai.contracts import Cut


class Drill(Instructions):
    """Sums to learn, drawn by the seed of the recipe."""

    version: ClassVar[str] = "1"
    count: int = Field(20, ge=1, description="how many")

    def is_here(self):
        return True

    def examples(self, corpora, seed):
        draw = random.Random(seed)
        for _ in range(self.count):
            one, other = draw.randrange(10), draw.randrange(10)
            yield Example.of("Add.", f"{one} + {other}", str(one + other))


class Norms(Method):
    """Only the weights of the layer norms learn; all others stay as they were."""

    version: ClassVar[str] = "1"

    def adapt(self, model):
        for name, parameter in model.named_parameters():
            parameter.requires_grad_("ln_" in name)


class Tiny(ModelShape):
    """A GPT-2 of one layer."""

    version: ClassVar[str] = "1"
    context: int = Field(32, ge=8, description="longest sequence in tokens")

    def transformers_config(self, vocabulary_size, marks=None):
        return {
            "model_type": "gpt2", "vocab_size": vocabulary_size, "n_positions": self.context,
            "n_embd": 16, "n_layer": 1, "n_head": 2, "tie_word_embeddings": True,
            **{f"{name}_token_id": number for name, number in (marks or {}).items()},
        }  # fmt: skip

    def parameters(self, vocabulary_size):
        return 16 * (vocabulary_size + self.context) + 12 * 16 * 16 + 13 * 16 + 2 * 16


class Copies(Strategy):
    """A whole copy of the model in each process; gradients are summed in larger pieces."""

    version: ClassVar[str] = "1"
    processes: int = Field(2, ge=1, description="processes on each node")
    bucket_mb: int = Field(100, ge=1, description="megabytes of gradients summed at once")

    def build(self, *, num_nodes: int = 1) -> Any:
        from lightning.pytorch.strategies import DDPStrategy

        return DDPStrategy(bucket_cap_mb=self.bucket_mb)


class Zero(Strategy):
    """ZeRO-1 as acme wants it."""

    version: ClassVar[str] = "1"
    engine: ClassVar[Literal["torch", "deepspeed"]] = "deepspeed"
    cuts: ClassVar[frozenset[Cut]] = frozenset({"optimizer"})
    processes: int = Field(2, ge=1, description="processes on each node")
    bucket: int = Field(500_000, ge=1, description="elements reduced at once")

    def build(self, *, num_nodes: int = 1) -> Any:
        from yoriai_train.settings.deepspeed import CPUDeepSpeedStrategy

        zero = {"stage": 1, "reduce_bucket_size": self.bucket, "overlap_comm": False}
        return CPUDeepSpeedStrategy(
            config={
                "zero_optimization": zero,
                "zero_allow_untested_optimizer": True,
                "zero_force_ds_cpu_optimizer": False,
            }
        )


class DDP(Strategy):
    """Called as ours is, and cut where ours is whole."""

    version: ClassVar[str] = "1"
    cuts: ClassVar[frozenset[Cut]] = frozenset({"optimizer", "gradients", "parameters"})
