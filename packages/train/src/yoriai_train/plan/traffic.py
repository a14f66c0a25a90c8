"""What GPUs send one another in an optimizer step, and how long that takes if nothing overlaps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from yoriai_train.plan.memory import Setup, bytes_per_parameter


@dataclass(frozen=True, slots=True)
class Traffic:
    """What one GPU sends in an optimizer step, and how long that takes if nothing overlaps."""

    name: str
    bytes: float
    seconds: float
    words: str


def traffic(setup: Setup, link: float, network: float) -> list[Traffic]:
    """What each GPU sends in a step; ``link`` and ``network`` (of a node) in GB/s, one direction.

    Rings: an all-reduce sends 2 (n - 1) / n of a buffer, a reduce-scatter or an all-gather half of
    that. A ring over nodes crosses each node's network once, so that all its GPUs share the speed
    of all its cards. ZeRO 1 and DDP reduce once a step, ZeRO 2, 3 and FSDP2 with every micro-batch
    (arXiv 1910.02054, section 7: 2 and 3 times the parameters).
    """
    found: list[Traffic] = []
    tensor, stages = setup.tensor_parallel, setup.pipeline_parallel
    many_nodes = setup.gpus > setup.gpus_per_node
    ring_speed = min(link, network) if many_nodes else link
    if setup.data_parallel > 1 and setup.strategy == "deepspeed-3":
        found += _zero_3(setup, link, network, ring_speed)
    elif setup.data_parallel > 1:
        sent, words = _ring(setup)
        found.append(Traffic("data parallel", sent, sent / ring_speed / 1e9, words))
    hidden = setup.tokens * setup.shape.width * setup.compute_bytes * setup.accumulate
    if setup.sequence_parallel > 1:
        sent = _exchanged(setup)
        words = "all-to-alls of queries, keys, values and outputs (Ulysses)"
        found.append(Traffic("shared sequences", sent, sent / link / 1e9, words))
    if tensor > 1:
        # Two all-reduces forward and two backward in a block (arXiv 1909.08053, section 3).
        sent = 4 * 2 * (tensor - 1) / tensor * hidden * setup.local_layers
        words = "four all-reduces of activations in a block"
        found.append(Traffic("tensor parallel", sent, sent / link / 1e9, words))
    if stages > 1:
        sent = 2 * hidden / tensor
        speed = network / setup.gpus_per_node if many_nodes else link
        words = "activations forward, gradients backward"
        found.append(Traffic("pipeline", sent, sent / speed / 1e9, words))
    return found


def _ring(setup: Setup) -> tuple[float, str]:
    """Bytes and words of weights and gradients, for all strategies but DeepSpeed's stage 3."""
    local, ring = setup.local_parameters, (setup.data_parallel - 1) / setup.data_parallel
    weights = setup.gathered_bytes * local
    gradients = bytes_per_parameter(setup)["gradients"] * local
    if setup.strategy == "ddp":
        return 2 * ring * gradients, "all-reduce of gradients, once a step"
    if setup.stage == 1:
        words = "reduce-scatter of gradients, all-gather of weights, once a step"
        return ring * (gradients + weights), words
    if setup.stage == 2:
        words = "reduce-scatter with every micro-batch, all-gather of weights once"
        return ring * (setup.accumulate * gradients + weights), words
    words = "two all-gathers and a reduce-scatter with every micro-batch"
    return ring * setup.accumulate * (2 * weights + gradients), words


def _zero_3(setup: Setup, link: float, network: float, ring_speed: float) -> Iterator[Traffic]:
    """Stage 3 with ZeRO++ (arXiv 2306.10209): from 3 M between nodes down to 0.75 M, its table 1.

    M is the 16-bit weights. Gathered in 8 bit they are half of M; with a second copy in a group
    those of the backward pass stay within it; gradients in 4 bit go to their owners by two
    all-to-alls, in the node and then, summed there, between nodes. Scales are left out.
    """
    local, times, ring = setup.local_parameters, setup.accumulate, setup.data_parallel - 1
    share = ring / setup.data_parallel
    each = 1 if setup.quantized_weights else setup.compute_bytes
    weights, group = times * each * local, setup.hpz_partition_size
    gradients = times * bytes_per_parameter(setup)["gradients"] * local
    sent = share * weights * (1 if group > 1 else 2)
    words = "one all-gather" if group > 1 else "two all-gathers"
    words += " in 8 bit" if setup.quantized_weights else ""
    if not setup.quantized_gradients:
        sent += share * gradients
        words += " and a reduce-scatter"
    words += " with every micro-batch"
    yield Traffic("data parallel", sent, sent / ring_speed / 1e9, words)
    if group > 1:
        sent = (group - 1) / group * weights
        speed = link if group <= setup.gpus_per_node else ring_speed
        words = f"all-gathers of the backward pass, between {group} GPUs (hpZ)"
        yield Traffic("second copy", sent, sent / speed / 1e9, words)
    if setup.quantized_gradients:
        here = min(setup.gpus_per_node, setup.gpus)
        nodes, small = setup.gpus // here, times * 0.5 * local
        sent = (here - 1) / here * small
        words = "gradients in 4 bit, all-to-all"
        yield Traffic("gradients in a node", sent, sent / link / 1e9, words)
        sent = (nodes - 1) / nodes * small / here
        seconds = sent * here / network / 1e9
        yield Traffic("gradients between nodes", sent, seconds, words)


def _exchanged(setup: Setup) -> float:
    """Bytes each GPU sends around attention (arXiv 2309.14509, section 3.2).

    A GPU of P keeps 1 / P of what it has of a sequence, N / P positions, and sends the rest:
    queries, keys and values before attention, its output after it. That makes 4 N h / P in a
    layer, less with fewer heads of keys and values. The backward pass sends as much, and with
    activation checkpoints the forward pass comes twice.
    """
    shape, parts = setup.shape, setup.sequence_parallel
    keys = shape.key_value_width * max(1, parts // shape.key_value_heads)
    each = 2 * (shape.query_width + keys) * setup.compute_bytes * setup.tokens
    passes = 3 if setup.activation_checkpoints else 2
    return (parts - 1) / parts * each * setup.local_layers * passes * setup.accumulate
