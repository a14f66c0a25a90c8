"""Memory of a GPU in training by part, and which change of the setup would free how much.

Sizes are bytes. Parts are there always, only while gradients are made (``backward``), or only in
the optimizer step (``step``); the peak is what is always there and the larger of the other two.
Formulas follow ZeRO (arXiv 1910.02054) for states and Korthikanti et al. (arXiv 2205.05198) for
activations, changed to what transformers' modules save with SDPA attention (no s x s matrices,
no dropout); tests compare them with DeepSpeed's estimators and with measured tensors.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from yoriai import UsageError
from yoriai_train.shape import Shape

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """How a model is trained, as far as memory and network depend on it.

    ``micro_batch`` is sequences on one GPU at a time. Tensor and pipeline parallelism describe
    published layouts (Megatron, with sequence parallelism inside the tensor group and 1F1B).
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
        if self.strategy == "single" and self.data_parallel > 1:
            raise UsageError(
                f"strategy single uses one GPU, not {self.gpus}",
                hint="--strategy deepspeed-1",
            )

    @property
    def data_parallel(self) -> int:
        """Groups of GPUs that each hold a whole model."""
        return self.gpus // (self.tensor_parallel * self.pipeline_parallel)

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
        return self.micro_batch * self.sequence

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
    host = 0.0
    if setup.offload_optimizer:
        # fp32 master, moments and gradients wait in host memory.
        here = min(setup.gpus_per_node, setup.gpus)
        host = 16.0 * local * here / setup.data_parallel
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
    """
    shape, r, c = setup.shape, setup.residual_bytes, setup.compute_bytes
    width = shape.width
    attention = c * 2 * (shape.query_width + shape.key_value_width) + 4 * shape.heads
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


@dataclass(frozen=True, slots=True)
class Change:
    """Something to change: in words, the setup it gives, its peak and what that frees."""

    words: str
    setup: Setup
    peak_bytes: float
    frees_bytes: float


def changes(setup: Setup) -> list[Change]:
    """Every single change that frees memory, the cheapest in speed and effort first."""
    before = estimate(setup).peak_bytes
    found = []
    for fields in _knobs(setup):
        other = replace(setup, **fields)
        peak = estimate(other).peak_bytes
        if peak < before:
            found.append(Change(describe(setup, other)[0], other, peak, before - peak))
    return found


def remedy(setup: Setup, available_bytes: float) -> Setup | None:
    """The setup changed as cheaply as will make it fit; None if nothing found here does.

    The cheapest single change that is enough is taken; if none is, the cheapest of all, and so
    on. Then what has become needless is taken back, the dearest first.
    """
    now = setup
    for _ in range(60):
        options = changes(now)
        if estimate(now).peak_bytes <= available_bytes:
            break
        if not options:
            return None
        enough = [change for change in options if change.peak_bytes <= available_bytes]
        now = (enough or options)[0].setup
    if estimate(now).peak_bytes > available_bytes:
        return None
    # Twice: whole logits can need less than chunks once the micro-batch is small.
    for names in (*reversed(_KNOBS), *reversed(_KNOBS)):
        try:
            back = replace(now, **{name: getattr(setup, name) for name in names})
        except UsageError:  # e.g. one GPU with a tensor group of two
            continue
        if estimate(back).peak_bytes <= available_bytes:
            now = back
    return now


def largest_micro_batch(setup: Setup, available_bytes: float) -> int:
    """The most sequences at a time that fit on a GPU (at most 4,096); 0 if not even one does."""
    low, high = 0, 4097
    while high - low > 1:
        middle = (low + high) // 2
        peak = estimate(replace(setup, micro_batch=middle)).peak_bytes
        low, high = (middle, high) if peak <= available_bytes else (low, middle)
    return low


def describe(before: Setup, after: Setup) -> list[str]:
    """What differs, one line a knob, in a recipe's keys where there is one."""
    lines = []
    if after.chunked_loss != before.chunked_loss:
        lines.append("cross-entropy in chunks, as this package does")
    if after.strategy != before.strategy:
        lines.append(f"strategy: train/{after.strategy}")
    if after.activation_checkpoints != before.activation_checkpoints:
        lines.append("activation_checkpoints: true (a third more computing)")
    if after.offload_optimizer != before.offload_optimizer:
        lines.append("strategy.offload_optimizer: true (slower steps)")
    if after.gpus != before.gpus:
        lines.append(f"{after.gpus:,} GPUs instead of {before.gpus:,}")
    if after.tensor_parallel != before.tensor_parallel:
        lines.append(f"tensor parallel {after.tensor_parallel} (Megatron's; no strategy here)")
    if after.micro_batch != before.micro_batch:
        batch = after.micro_batch * after.data_parallel
        lines.append(
            f"batch: {batch:,}, accumulate: {after.accumulate:,}"
            f" ({after.micro_batch:,} instead of {before.micro_batch:,} sequences a GPU)"
        )
    return lines


# Knobs as the fields they turn, the cheapest first: chunks cost nothing, neither does ZeRO-1
# beside DDP; smaller micro-batches cost some speed, checkpoints a third more FLOPs, ZeRO-3 half
# more traffic (arXiv 1910.02054, section 7), offloading waits for the PCI bus.
_KNOBS: tuple[tuple[str, ...], ...] = (
    ("chunked_loss",),
    ("micro_batch", "accumulate"),
    ("activation_checkpoints",),
    ("strategy",),
    ("offload_optimizer",),
    ("gpus", "strategy"),
    ("tensor_parallel",),
)


def _knobs(setup: Setup) -> Iterator[dict[str, Any]]:
    """Each knob turned by one notch."""
    if not setup.chunked_loss:
        yield {"chunked_loss": True}
    if setup.micro_batch > 1:
        less = setup.micro_batch // 2
        more = math.ceil(setup.micro_batch * setup.accumulate / less)
        yield {"micro_batch": less, "accumulate": more}
    if not setup.activation_checkpoints:
        yield {"activation_checkpoints": True}
    first = {"ddp": 1, "deepspeed-1": 2, "deepspeed-2": 3}.get(setup.strategy, 4)
    if setup.data_parallel > 1:
        yield from ({"strategy": f"deepspeed-{stage}"} for stage in range(first, 4))
    if setup.is_deepspeed and not setup.offload_optimizer:
        yield {"offload_optimizer": True}
    if setup.strategy == "single":
        gpus = max(2, setup.gpus_per_node)
        yield {"strategy": "deepspeed-3", "gpus": setup.tensor_parallel * gpus}
    elif setup.gpus < 2**16:
        yield {"gpus": setup.gpus * 2, "accumulate": max(1, setup.accumulate // 2)}
    more = setup.tensor_parallel * 2
    group = more * setup.pipeline_parallel
    if more <= setup.gpus_per_node and not setup.gpus % group and not setup.shape.heads % more:
        # As many sequences a step on half as many replicas.
        yield {"tensor_parallel": more, "accumulate": setup.accumulate * 2}
