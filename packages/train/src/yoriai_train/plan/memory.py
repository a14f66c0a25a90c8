"""Memory of a GPU in training by part, and what of it waits in the memory of its node.

Sizes are bytes. Parts are there always, only while gradients are made (``backward``), or only in
the optimizer step (``step``); the peak is what is always there and the larger of the other two.
Formulas follow ZeRO (arXiv 1910.02054) for states and Korthikanti et al. (arXiv 2205.05198) for
activations, changed to what transformers' modules save with SDPA attention (no s x s matrices,
no dropout); tests compare them with DeepSpeed's estimators and with measured tensors.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from yoriai import Strategy, UsageError
from yoriai_train.plan.decoder import Shape

GIB = 2**30
When = Literal["always", "backward", "step", "reserve"]

STRATEGIES = ("single", "ddp", "fsdp2", "deepspeed-1", "deepspeed-2", "deepspeed-3")
PRECISIONS = ("32-true", "bf16-mixed", "bf16-true", "16-mixed", "16-true")
# Strategies whose mixed precision is torch.autocast over fp32 weights: the forward pass makes
# 16-bit copies of the weights, which the backward pass keeps. DeepSpeed casts the model instead,
# and FSDP2 gathers its fp32 shards in 16 bit (strategies.py, `shard_with_fsdp2`).
AUTOCAST = ("single", "ddp")
# The allocator loses some of what comes and goes; states, allocated once, stay whole. GMLake
# (arXiv 2401.08156) measured 15 % lost on average over eight models, before torch had
# `expandable_segments`; a tenth is assumed.
FRAGMENTATION = 0.10
# Elements. Lightning's bucket for DeepSpeed, doubled by `overlap_comm`; and DeepSpeed's defaults
# `stage3_max_live_parameters` and `sub_group_size` (deepspeed/runtime/zero/config.py).
BUCKET = 200_000_000
LIVE_PARAMETERS = 1_000_000_000
SUB_GROUP = 1_000_000_000
# Bytes of fp32 logits held at once by this package's loss on GPUs, and rows at least (loss.py).
LOSS_CHUNK_BYTES, LOSS_CHUNK_ROWS = 2**25, 128
QUANTISED = ("quantized_gradients", "quantized_weights")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """How a model is trained, as far as memory and network depend on it.

    ``micro_batch`` is sequences at a time on one GPU, or on the ``sequence_parallel`` GPUs that
    share them. Tensor and pipeline parallelism describe published layouts (Megatron, with
    sequence parallelism inside the tensor group and 1F1B).
    """

    shape: Shape
    strategy: str = "single"
    gpus: int = 1
    gpus_per_node: int = 8
    precision: str = "bf16-mixed"
    micro_batch: int = 1
    accumulate: int = 1
    sequence: int = 2048
    activation_checkpoints: bool = False
    fused: bool = False
    chunked_loss: bool = True
    offload_optimizer: bool = False
    offload_parameters: bool = False
    sequence_parallel: int = 1
    hpz_partition_size: int = 1
    quantized_gradients: bool = False
    quantized_weights: bool = False
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    reserved_gib: float = 1.0

    def __post_init__(self) -> None:
        if self.strategy not in STRATEGIES:
            raise UsageError(
                f"no formulas for strategy {self.strategy!r}",
                hint=f"known: {', '.join(STRATEGIES)}",
            )
        if self.precision not in PRECISIONS:
            raise UsageError(
                f"no formulas for precision {self.precision!r}",
                hint=f"known: {', '.join(PRECISIONS)}",
            )
        if self.gpus % (self.tensor_parallel * self.pipeline_parallel):
            raise UsageError(
                f"{self.gpus} GPUs cannot be cut into groups of {self.tensor_parallel} (tensor)"
                f" x {self.pipeline_parallel} (pipeline)"
            )
        self._check_groups()
        if self.strategy == "single" and self.data_parallel > 1:
            raise UsageError(
                f"strategy single uses one GPU, not {self.gpus}",
                hint="--strategy deepspeed-1",
            )

    def _check_groups(self) -> None:
        only = {"sequence_parallel": self.is_deepspeed}
        third = self.strategy == "deepspeed-3"
        names = ("offload_parameters", "hpz_partition_size", *QUANTISED)
        for name, can in (only | dict.fromkeys(names, third)).items():
            value = getattr(self, name)
            if not can and (value is True or value > 1):
                raise UsageError(
                    f"strategy {self.strategy} knows no {name}",
                    hint="--set strategy.use=train/deepspeed-3",
                )
        for name in ("sequence_parallel", "hpz_partition_size"):
            size = getattr(self, name)
            if self.data_parallel % size:
                raise UsageError(
                    f"{name}: {self.data_parallel} GPUs cannot be cut into groups of {size}"
                )
        if not can_share(self.shape, self.sequence, self.sequence_parallel):
            raise UsageError(
                f"sequence_parallel: {self.sequence_parallel} GPUs cannot share"
                f" {self.sequence:,} tokens and {self.shape.heads} heads of a {self.shape.family}",
                hint="it is for models of Llama's kind, and must divide both",
            )

    @property
    def data_parallel(self) -> int:
        """GPUs over which a whole model may be cut: ZeRO counts those that share sequences, too."""
        return self.gpus // (self.tensor_parallel * self.pipeline_parallel)

    @property
    def replicas(self) -> int:
        """Groups of GPUs that each take sequences of their own."""
        return self.data_parallel // self.sequence_parallel

    @property
    def is_deepspeed(self) -> bool:
        return self.strategy.startswith("deepspeed")

    @property
    def stage(self) -> int:
        """ZeRO's stage; FSDP2 cuts what stage 3 cuts."""
        return {"single": 0, "ddp": 0, "fsdp2": 3}.get(self.strategy) or int(
            self.strategy[-1] if self.is_deepspeed else 0
        )

    @property
    def autocast(self) -> bool:
        return "mixed" in self.precision and self.strategy in AUTOCAST

    @property
    def compute_bytes(self) -> int:
        """Bytes of a number in matrix products."""
        return 4 if self.precision == "32-true" else 2

    @property
    def residual_bytes(self) -> int:
        """Bytes of a number in the residual stream: autocast leaves it in fp32."""
        return 4 if self.autocast else self.compute_bytes

    @property
    def gathered_bytes(self) -> int:
        """Bytes of a number when a sharded strategy gathers weights."""
        return 4 if self.autocast else self.compute_bytes

    @property
    def tokens(self) -> int:
        """Tokens on one GPU at a time."""
        return self.micro_batch * self.sequence // self.sequence_parallel

    @property
    def local_layers(self) -> int:
        return math.ceil(self.shape.layers / self.pipeline_parallel)

    @property
    def local_parameters(self) -> float:
        """Parameters of the fullest pipeline stage, on one GPU of its tensor group."""
        if self.pipeline_parallel == 1:
            return self.shape.total_parameters / self.tensor_parallel
        ends = self.shape.table + self.shape.context_table
        return (self.local_layers * self.shape.block_parameters + ends) / self.tensor_parallel


def can_share(shape: Shape, sequence: int, parts: int) -> bool:
    """Whether so many GPUs can share sequences, and in attention heads, as Ulysses wants."""
    if parts == 1:
        return True
    keys = shape.key_value_heads
    heads = shape.heads % parts == 0 and (keys % parts == 0 or parts % keys == 0)
    return shape.family == "llama" and heads and sequence % parts == 0


def formulas_of(kind: type[Strategy]) -> str:
    """Whose formulas hold for a strategy, by what it cuts: a word of ``STRATEGIES``."""
    if kind.one_process:
        return "single"
    if kind.engine == "deepspeed":
        return f"deepspeed-{max(1, len(kind.cuts))}"
    return "fsdp2" if "parameters" in kind.cuts else "ddp"


def strategy_fields(options: Mapping[str, Any]) -> dict[str, Any]:
    """What a :class:`Setup` takes of a strategy's own keys."""
    flags = ("offload_optimizer", "offload_parameters", *QUANTISED)
    sizes = ("sequence_parallel", "hpz_partition_size")
    found: dict[str, Any] = {name: bool(options.get(name, False)) for name in flags}
    return found | {name: int(options.get(name, 1)) for name in sizes}


@dataclass(frozen=True, slots=True)
class Part:
    """One line of the account."""

    name: str
    bytes: float
    when: When
    words: str = ""


@dataclass(frozen=True, slots=True)
class Memory:
    """The account of one GPU, and what a node's host memory must hold beside it."""

    parts: tuple[Part, ...]
    host_bytes_per_node: float = 0.0

    def of(self, when: When) -> float:
        return sum(part.bytes for part in self.parts if part.when == when)

    @property
    def peak_bytes(self) -> float:
        moving = max(self.of("backward"), self.of("step"))
        return self.of("always") + moving + self.of("reserve")


def bytes_per_parameter(setup: Setup) -> dict[str, float]:
    """Bytes each parameter costs before anything is cut: weights, gradients, master, moments.

    AdamW keeps two moments. DeepSpeed keeps an fp32 master copy and fp32 moments whatever the
    precision, also in fp32, where the master is a second copy
    (deepspeed/runtime/zero/stage_1_and_2.py, ``single_partition_of_fp32_groups``).
    """
    compute = setup.compute_bytes
    if setup.is_deepspeed:
        return {"weights": compute, "gradients": compute, "master": 4, "moments": 8}
    stored = 2 if setup.precision in ("bf16-true", "16-true") else 4
    return {"weights": stored, "gradients": stored, "master": 0, "moments": 2 * stored}


def estimate(setup: Setup) -> Memory:
    """Account for the memory of the fullest GPU."""
    cost, local, stage = bytes_per_parameter(setup), setup.local_parameters, setup.stage
    share = local / setup.data_parallel
    moments = (cost["master"] + cost["moments"]) * (share if stage else local)
    gradients = cost["gradients"] * (share if stage >= 2 else local)
    parts = [
        Part("parameters", cost["weights"] * (share if stage == 3 else local), "always"),
        Part("gradients", gradients, "always", "none: moved to the host" if _moved(setup) else ""),
        Part("optimizer states", moments, "always", "AdamW's moments and the fp32 master"),
    ]
    # ZeRO++'s second copy, cut over fewer GPUs (arXiv 2306.10209, section 3.2); it lies where the
    # first one does (deepspeed/runtime/zero/partition_parameters.py, ``_partition_param_sec``).
    second = 0.0
    if setup.hpz_partition_size > 1:
        second = setup.compute_bytes * local / setup.hpz_partition_size
        words = f"cut over {setup.hpz_partition_size} GPUs (hpZ)"
        parts.append(Part("second copy of weights", second, "always", words))
    here, host = min(setup.gpus_per_node, setup.gpus), 0.0
    if setup.offload_parameters:
        host += here * (parts[0].bytes + second)
        parts[0] = Part("parameters", 0.0, "always", "in host memory")
        parts[3:] = []
    if setup.offload_optimizer:
        # fp32 master, moments and gradients wait in host memory.
        host += 16.0 * local * here / setup.data_parallel
        parts[2] = Part("optimizer states", 0.0, "always", "in host memory")
        if _moved(setup):
            parts[1] = replace(parts[1], bytes=0.0)
    copies = 2.0 * setup.shape.multiplied_parameters / setup.tensor_parallel
    parts += [
        Part("16-bit copies of weights", copies * setup.autocast, "backward", "autocast"),
        Part("gathered weights", _gathered(setup), "backward", "blocks in use"),
        Part("communication buckets", _buckets(setup), "backward"),
        *_activations(setup),
        Part("optimizer step", _step(setup), "step", "fp32 gradients"),
    ]
    moving = {w: sum(p.bytes for p in parts if p.when == w) for w in ("backward", "step")}
    lost = FRAGMENTATION * max(moving.values())
    parts += [
        Part("fragmentation", lost, "reserve", f"{FRAGMENTATION:.0%} of what comes and goes"),
        Part("runtime", setup.reserved_gib * GIB, "reserve", "CUDA context, cuBLAS, NCCL"),
    ]
    return Memory(tuple(part for part in parts if part.bytes), host)


def _moved(setup: Setup) -> bool:
    """Whether gradients leave the GPU as soon as they are made."""
    return setup.offload_optimizer and setup.stage >= 2


def _gathered(setup: Setup) -> float:
    """Whole weights that a sharded strategy holds for a while."""
    if setup.stage < 3 or setup.data_parallel == 1:
        return 0.0
    if setup.is_deepspeed:
        return setup.compute_bytes * min(setup.local_parameters, LIVE_PARAMETERS)
    # fully_shard: a block and the next one fetched ahead, one block's gradients as they are made
    # and again as they are reduced (fp32); embeddings, head and last norm are the root, which
    # stays gathered, with its gradient.
    each, layers = setup.gathered_bytes, setup.shape.layers
    block = setup.shape.block_parameters / setup.tensor_parallel
    root = setup.shape.total_parameters / setup.tensor_parallel - layers * block
    return each * 2 * block + (each + 4) * block + 2 * each * root


def _buckets(setup: Setup) -> float:
    """DeepSpeed reduces through two buckets; DDP's buckets are the gradients themselves."""
    if not setup.is_deepspeed or setup.data_parallel == 1:
        return 0.0
    return 2.0 * setup.compute_bytes * min(BUCKET, setup.local_parameters)


def _step(setup: Setup) -> float:
    """DeepSpeed's fp32 gradients of its share (in ZeRO 3 of a part of it at a time).

    AdamW itself needs nothing: the kernel is fused (optimizer.py).
    """
    if not setup.is_deepspeed or setup.offload_optimizer:
        return 0.0
    share = setup.local_parameters / setup.data_parallel
    return 4.0 * (min(share, SUB_GROUP) if setup.stage == 3 else share)


def layer_activation_bytes_per_token(setup: Setup) -> float:
    """What one decoder block saves for its backward pass, for one token.

    Eager code is counted as transformers 5 writes it: RMSNorm works in fp32 and saves its input
    and the normalised tensor; autocast casts the norm's output once for each of the linear layers
    that read it; SwiGLU saves four inner tensors, GPT-2's GELU five. Fused code (torch.compile or
    Liger) saves inputs of norms and of matrix products only: Korthikanti's 34 s b h without
    dropout's masks and without the square of attention.

    GPUs that share sequences (arXiv 2309.14509) hold a part of the heads for all positions in
    place of all heads for a part of them, which is as much; what attention gives is kept on both
    sides of the exchange, and keys and values are repeated if their heads are fewer than GPUs.
    """
    shape, r, c = setup.shape, setup.residual_bytes, setup.compute_bytes
    width, parts = shape.width, setup.sequence_parallel
    keys = shape.key_value_width * max(1, parts // shape.key_value_heads)
    attention = c * 2 * (shape.query_width + keys) + 4 * shape.heads
    attention += c * shape.query_width * (parts > 1)
    if shape.family != "llama":
        inner = (2 if setup.fused else 5) * c * shape.feed_forward
        if shape.family == "gpt_neox":
            # The rotated q and k are new tensors, and v keeps the whole of q, k and v alive.
            attention += (2 if setup.fused else 3) * c * width
        return 2 * (r + c) * width + attention + inner
    if setup.fused:
        return 2 * (r + c) * width + attention + 3 * c * shape.feed_forward
    norms = (2 * (4 + 4) + (3 + 2) * c if setup.autocast else 2 * (4 + 2 * c)) * width
    return norms + attention + 4 * c * shape.feed_forward


def loss_bytes(setup: Setup) -> float:
    """Logits and what the loss makes of them, at their peak.

    Whole, 12 bytes a logit, in the backward pass, whatever the precision: log-probabilities, the
    gradient with respect to them and the one with respect to the logits, all fp32. In chunks
    (loss.py) that of one chunk, the gradient of the hidden states, and the gradient of the output
    layer in fp32, in 16 bit with one more product of its size.
    """
    shape, c = setup.shape, setup.compute_bytes
    if not setup.chunked_loss:
        return 12.0 * setup.tokens * shape.vocabulary_size / setup.tensor_parallel
    rows = min(setup.tokens, max(LOSS_CHUNK_ROWS, LOSS_CHUNK_BYTES // (4 * shape.vocabulary_size)))
    layer = (4 + 2 * (c == 2)) * shape.table
    hidden = c * setup.tokens * shape.width
    return (12.0 * rows * shape.vocabulary_size + layer + hidden) / setup.tensor_parallel


def _activations(setup: Setup) -> Iterator[Part]:
    shape, tokens = setup.shape, setup.tokens
    layer = tokens * layer_activation_bytes_per_token(setup) / setup.tensor_parallel
    # In a 1F1B pipeline the first stage holds as many micro-batches as there are stages.
    layers = setup.local_layers * min(setup.pipeline_parallel, setup.accumulate)
    ends = tokens * shape.width * (2 * setup.residual_bytes + 2 * setup.compute_bytes)
    loss = loss_bytes(setup)
    if setup.activation_checkpoints:
        kept = tokens * shape.width * setup.residual_bytes * layers / setup.tensor_parallel
        yield Part("activations", kept + ends, "backward", "inputs of blocks")
        # One block is computed again; two gradients of its inner size are on their way through it.
        inner = 2 * tokens * setup.compute_bytes * shape.feed_forward
        again = layer + inner / setup.tensor_parallel
        yield Part("loss or one block again", max(loss, again), "backward", _loss_words(setup))
    else:
        yield Part("activations", layers * layer + ends, "backward")
        yield Part("logits and loss", loss, "backward", _loss_words(setup))


def _loss_words(setup: Setup) -> str:
    if setup.chunked_loss:
        return "in chunks; mostly the output layer's gradient"
    return f"{setup.tokens:,} tokens x {setup.shape.vocabulary_size:,}"
