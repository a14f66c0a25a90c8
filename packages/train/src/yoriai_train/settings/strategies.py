"""How a training run is spread over processes: one frozen model per way, each builds a strategy.

Importing this module imports pydantic only; torch, lightning and deepspeed (seconds each) are
imported inside functions. How processes are started is told in :mod:`yoriai_train.job.ranks`.
"""

import sys
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from yoriai import Strategy, UsageError
from yoriai.contracts import Cut

if TYPE_CHECKING:
    import torch


class Single(Strategy):
    """One process, one device."""

    version: ClassVar[str] = "1"
    one_process: ClassVar[bool] = True

    processes: Literal[1] = Field(1, description="always one")

    def build(self, *, num_nodes: int = 1) -> Any:
        """Return Lightning's own choice for one device; refuse more than one node."""
        if num_nodes != 1:
            raise ValueError(f"strategy single runs on one node, not {num_nodes}; use ddp")
        return "auto"


class DDP(Strategy):
    """A whole copy of the model in each process; gradients are averaged (gloo or nccl)."""

    version: ClassVar[str] = "1"
    processes: int = Field(2, ge=1, le=10**5, description="processes on each node, one a device")

    def build(self, *, num_nodes: int = 1) -> Any:  # noqa: ARG002
        """Return a DDPStrategy whose gradients live in the communication buckets."""
        from lightning.pytorch.strategies import DDPStrategy

        return DDPStrategy(gradient_as_bucket_view=True)


class FSDP2(Strategy):
    """Parameters, gradients and optimizer states cut over all processes (``fully_shard``)."""

    version: ClassVar[str] = "1"
    cuts: ClassVar[frozenset[Cut]] = frozenset({"optimizer", "gradients", "parameters"})

    processes: int = Field(2, ge=1, le=10**5, description="processes on each node, one a device")

    def build(self, *, num_nodes: int = 1) -> Any:
        """Return a ModelParallelStrategy; its own default is tensor parallelism in a node."""
        from lightning.pytorch.strategies import ModelParallelStrategy

        world_size = self.processes * num_nodes
        return ModelParallelStrategy(data_parallel_size=world_size, tensor_parallel_size=1)

    def trainer_precision(self, precision: str) -> str:
        """Lightning must know nothing of ``bf16-mixed``: `shard_with_fsdp2` does it."""
        return "32-true" if precision == "bf16-mixed" else precision

    def prepare(self, module: Any, *, precision: str, batch: int, num_nodes: int) -> None:  # noqa: ARG002
        """Cut the model, where the mesh exists."""
        shard_with_fsdp2(module.model, module.device_mesh, precision)


class DeepSpeed(Strategy):
    """ZeRO: stage 1 cuts optimizer states, 2 also gradients, 3 also parameters.

    Bucket sizes count elements. The defaults are Lightning's (2e8), for GPUs; without a GPU they
    are capped at a million, because each process holds buckets. Build the model, whole or as an
    outline, in ``__init__``: ``configure_model`` runs under ``zero.Init`` in stage 3, which cuts
    each weight before transformers initialises it (measured: embeddings of standard deviation
    1.0, not 0.02). There an outline is filled (:mod:`yoriai_train.model.weights`).
    """

    version: ClassVar[str] = "1"
    engine: ClassVar[Literal["torch", "deepspeed"]] = "deepspeed"
    stage: ClassVar[Literal[1, 2, 3]]
    processes: int = Field(2, ge=1, le=10**5, description="processes on each node, one a device")
    offload_optimizer: bool = Field(
        False, description="keep optimizer states in host memory; best with DeepSpeedCPUAdam"
    )
    reduce_bucket_size: int = Field(
        200_000_000, gt=0, description="elements reduced at once (capped at 1e6 without a GPU)"
    )
    allgather_bucket_size: int = Field(
        200_000_000, gt=0, description="elements gathered at once (capped at 1e6 without a GPU)"
    )
    sequence_parallel: int = Field(
        1,
        ge=1,
        le=10**5,
        description="processes that share each sequence, and in attention the heads",
    )

    @model_validator(mode="after")
    def _check_groups(self) -> "DeepSpeed":
        if self.processes % self.sequence_parallel:
            raise ValueError("sequence_parallel must be a divisor of processes")
        return self

    @property
    def sequence_parts(self) -> int:
        """How many consecutive ranks share each sequence."""
        return self.sequence_parallel

    def prepare(self, module: Any, *, precision: str, batch: int, num_nodes: int) -> None:  # noqa: ARG002
        """Let attention see whole sequences, where ranks share them."""
        parts = self.sequence_parallel
        if parts > 1:
            share_sequences(module.model, parts, batch * parts // (self.processes * num_nodes))

    def build(self, *, num_nodes: int = 1) -> Any:  # noqa: ARG002
        """Return Lightning's DeepSpeedStrategy, or its sibling for machines without a GPU."""
        from yoriai_train.settings.deepspeed import CPUDeepSpeedStrategy, MendedDeepSpeedStrategy

        kind = MendedDeepSpeedStrategy if _has_gpu() else CPUDeepSpeedStrategy
        return kind(config=self.config(on_gpu=_has_gpu()))

    def config(self, *, on_gpu: bool) -> dict[str, Any]:
        """Return DeepSpeed's configuration; Lightning adds batch, clipping and precision."""
        largest = sys.maxsize if on_gpu else 1_000_000
        zero: dict[str, Any] = {
            "stage": self.stage,
            "contiguous_gradients": True,
            "overlap_comm": on_gpu,  # needs a second CUDA stream
            "reduce_bucket_size": min(self.reduce_bucket_size, largest),
            "allgather_bucket_size": min(self.allgather_bucket_size, largest),
        }
        if self.offload_optimizer:
            zero["offload_optimizer"] = {"device": "cpu", "pin_memory": on_gpu}
        return {
            "zero_optimization": zero,
            "zero_allow_untested_optimizer": True,  # torch's AdamW is not on DeepSpeed's list
            "zero_force_ds_cpu_optimizer": False,  # DeepSpeedCPUAdam would be compiled: minutes
        }


class DeepSpeed1(DeepSpeed):
    """ZeRO stage 1: optimizer states are cut over the processes."""

    cuts: ClassVar[frozenset[Cut]] = frozenset({"optimizer"})
    stage: ClassVar[Literal[1, 2, 3]] = 1


class DeepSpeed2(DeepSpeed):
    """ZeRO stage 2: optimizer states and gradients are cut over the processes."""

    cuts: ClassVar[frozenset[Cut]] = frozenset({"optimizer", "gradients"})
    stage: ClassVar[Literal[1, 2, 3]] = 2


class DeepSpeed3(DeepSpeed):
    """ZeRO stage 3: optimizer states, gradients and parameters are cut over the processes.

    ``hpz_partition_size`` and the quantised traffic are ZeRO++ (arXiv 2306.10209).
    """

    cuts: ClassVar[frozenset[Cut]] = frozenset({"optimizer", "gradients", "parameters"})
    stage: ClassVar[Literal[1, 2, 3]] = 3
    offload_parameters: bool = Field(
        False, description="keep parameters in host memory; each layer is fetched when it is used"
    )
    hpz_partition_size: int = Field(
        1,
        ge=1,
        description="ranks that hold one more copy of the 16-bit weights between them, usually the"
        " processes of a node: the backward pass then gathers within it; 1: none",
    )
    quantized_gradients: bool = Field(
        False, description="send gradients in 4 bit: a quarter of the bytes, and rounding"
    )
    quantized_weights: bool = Field(
        False, description="gather weights in 8 bit: half the bytes, and rounding; GPUs only"
    )

    def build(self, *, num_nodes: int = 1) -> Any:
        """Return the strategy; refuse what these machines cannot do. Raises ``UsageError``."""
        world_size = self.processes * num_nodes
        if world_size % self.hpz_partition_size:
            raise UsageError(
                f"{world_size} processes cannot be cut into groups of {self.hpz_partition_size}",
                hint=f"set strategy.hpz_partition_size to {self.processes}, a node's processes",
            )
        if self.quantized_gradients and num_nodes == 1:
            # deepspeed/runtime/zero/stage3.py asks for ``num_nodes > 1``.
            raise UsageError(
                "strategy.quantized_gradients does nothing on one node",
                hint="leave quantized_gradients out",
            )
        for name in ("quantized_gradients", "quantized_weights"):
            if getattr(self, name) and not _has_gpu():
                raise UsageError(
                    f"strategy.{name} needs GPUs: DeepSpeed has no quantiser for CPUs",
                    hint=f"leave {name} out",
                )
        return super().build(num_nodes=num_nodes)

    def config(self, *, on_gpu: bool) -> dict[str, Any]:
        """Return DeepSpeed's configuration, with its names (deepspeed/runtime/zero/config.py)."""
        config = super().config(on_gpu=on_gpu)
        zero = config["zero_optimization"]
        if self.offload_parameters:
            zero["offload_param"] = {"device": "cpu", "pin_memory": on_gpu}
        if self.hpz_partition_size > 1:
            zero["zero_hpz_partition_size"] = self.hpz_partition_size
        for name in ("quantized_gradients", "quantized_weights"):
            if getattr(self, name):
                zero[f"zero_{name}"] = True
        return config


def trainer_arguments(
    strategy: Strategy, *, num_nodes: int = 1, precision: str = "32-true"
) -> dict[str, Any]:
    """Return the arguments that ``lightning.pytorch.Trainer`` needs to run this strategy.

    ``devices`` are the processes of a node: Lightning checks devices x nodes against WORLD_SIZE.
    The environment is stated, not detected, so that a Slurm or LSF allocation changes nothing.
    ``use_distributed_sampler`` is off because Lightning's sampler shuffles the training set even
    when the loader says ``shuffle=False`` (data_connector.py, ``_process_dataloader``): cut the
    data yourself by ``trainer.global_rank`` and ``trainer.world_size``.
    """
    from lightning.fabric.plugins.environments.lightning import LightningEnvironment
    from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment

    world_size = strategy.processes * num_nodes
    if world_size > 1 and not TorchElasticEnvironment.detect():
        raise RuntimeError(
            f"{world_size} processes are wanted and this one was not started by torchrun; use:"
            f" python -m torch.distributed.run --nproc-per-node {strategy.processes} ..."
        )
    return {
        "strategy": strategy.build(num_nodes=num_nodes),
        "precision": strategy.trainer_precision(precision),
        "accelerator": "cuda" if _has_gpu() else "cpu",
        "devices": strategy.processes,
        "num_nodes": num_nodes,
        "plugins": [TorchElasticEnvironment() if world_size > 1 else LightningEnvironment()],
        "use_distributed_sampler": False,
    }


def shard_with_fsdp2(
    model: "torch.nn.Module", device_mesh: Any, precision: str = "32-true"
) -> "torch.nn.Module":
    """Cut a transformers decoder over the mesh, block by block, then what is left at the root.

    One call per block lets FSDP2 gather one block at a time (PyTorch tutorial "Getting Started
    with FSDP2"). The model itself names its blocks, in ``_no_split_modules``.

    With ``bf16-mixed`` the fp32 weights of each rank are gathered in bf16 and gradients are summed
    in fp32 (as in torchtitan: ``models/llama3/parallelize.py``). Autocast would do worse: its
    16-bit copies of gathered weights stay, whole and on every rank, until the backward pass.
    """
    import torch
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    policy = MixedPrecisionPolicy()
    if precision == "bf16-mixed":
        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    mesh = device_mesh["data_parallel"]
    blocks = set(getattr(model, "_no_split_modules", None) or ())
    for part in list(model.modules()):
        if type(part).__name__ in blocks:
            fully_shard(part, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy)  # in place
    return model


def share_sequences(model: Any, group_size: int, micro_batch: int) -> None:
    """Let attention see whole sequences of which each rank of a group holds a part.

    All-to-alls around each attention exchange positions for heads (DeepSpeed-Ulysses, arXiv
    2309.14509). Consecutive ranks make a group; processes must be connected. The model must be
    called with ``position_ids``, (B, S / group_size), of the part. Raises ``UsageError`` for
    models that are not of Llama's kind.
    """
    from deepspeed.runtime.sequence_parallel.ulysses_sp import UlyssesSPAttentionHF

    heads = model.config.num_attention_heads
    # DeepSpeed reads this key, which configurations without grouped queries do not have.
    if not hasattr(model.config, "num_key_value_heads") or heads % group_size:
        raise UsageError(
            f"{model.config.model_type} with {heads} heads cannot share attention between"
            f" {group_size} processes",
            hint="use a model of Llama's kind, and a strategy.sequence_parallel that divides heads",
        )
    UlyssesSPAttentionHF.register_with_transformers(
        model,
        core_attn_implementation=model.config._attn_implementation,
        sequence_parallel_size=group_size,
        micro_batch_size=micro_batch,
        disable_in_eval=True,  # rank 0 evaluates alone
    )


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
