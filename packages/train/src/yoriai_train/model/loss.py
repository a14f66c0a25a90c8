"""Next-token loss through the output layer, a few rows of logits at a time.

The logits of a batch are by far the largest tensor of a small or a wide-vocabulary model: N tokens
times V pieces, several times over in the usual cross entropy. Here the output layer and the loss
are one operation, which goes through the tokens in chunks, takes the gradients of both at once,
and forgets the logits (as Liger-Kernel's FusedLinearCrossEntropy, arXiv 2410.10989, does on GPUs).

Shapes: N tokens, H hidden size, V vocabulary.
"""

from __future__ import annotations

import types
from typing import Any

import torch
from torch.nn import functional

from yoriai import YoriaiError
from yoriai_train.model.cpu_products import product

IGNORED = -100
# Of fp32 logits held at once, on CPUs and elsewhere, but never fewer rows than a matrix product
# needs. On an EPYC 8 MB was as fast as 32, and took 150 MB less in a run of 23M parameters.
CPU_CHUNK_BYTES, CHUNK_BYTES, CHUNK_ROWS = 2**23, 2**25, 128


class _ChunkedLoss(torch.autograd.Function):
    """Sum over tokens of cross entropy and z-loss, and each token's cross entropy."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_NH: torch.Tensor,
        weight_VH: torch.Tensor,
        targets_N: torch.Tensor,
        z_loss: float,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        wanted = hidden_NH.requires_grad or weight_VH.requires_grad
        held = CPU_CHUNK_BYTES if hidden_NH.device.type == "cpu" else CHUNK_BYTES
        rows = max(CHUNK_ROWS, held // (4 * weight_VH.shape[0]))
        grad_hidden = torch.empty_like(hidden_NH) if wanted else None
        learns = weight_VH.requires_grad  # an adapter's output layer does not
        grad_weight = torch.zeros_like(weight_VH, dtype=torch.float32) if learns else None
        losses_N = torch.zeros(len(targets_N), dtype=torch.float32, device=hidden_NH.device)
        total = torch.zeros((), dtype=torch.float32, device=hidden_NH.device)
        for start in range(0, len(targets_N), rows):
            part = slice(start, start + rows)
            hidden, targets = hidden_NH[part], targets_N[part]
            counted = targets != IGNORED
            places = targets.clamp(min=0)[:, None]
            logits = product(hidden, weight_VH).float()
            chosen = logits.gather(1, places)[:, 0]
            shares = logits.log_softmax(-1)
            del logits  # as large as what follows
            loss = -shares.gather(1, places)[:, 0] * counted
            losses_N[part] = loss
            total += loss.sum()
            # log Z = the chosen logit minus its log-share.
            log_z = (chosen + loss) * counted
            if z_loss:
                total += z_loss * log_z.square().sum()
            if not wanted:
                continue
            assert grad_hidden is not None
            grad = shares.exp_()
            factor = counted.float()
            if z_loss:
                factor = factor * (1 + 2 * z_loss * log_z)
            if z_loss or not bool(counted.all()):
                grad.mul_(factor[:, None])
            grad.scatter_add_(1, places, -counted.float()[:, None])
            low = grad.to(hidden.dtype)
            grad_hidden[part] = product(low, weight_VH.T)
            if grad_weight is not None:
                grad_weight += product(low.T, hidden.T)
        ctx.save_for_backward(grad_hidden, grad_weight)
        ctx.dtypes = hidden_NH.dtype, weight_VH.dtype
        ctx.mark_non_differentiable(losses_N)
        return total, losses_N

    @staticmethod
    def backward(
        ctx: Any, grad_total: torch.Tensor, _: Any
    ) -> tuple[torch.Tensor | None, torch.Tensor | None, None, None]:
        grad_hidden, grad_weight = ctx.saved_tensors
        hidden_type, weight_type = ctx.dtypes
        return (
            (grad_hidden * grad_total).to(hidden_type),
            None if grad_weight is None else grad_weight.mul_(grad_total).to(weight_type),
            None,
            None,
        )


class _TokenLosses(torch.autograd.Function):
    """Each token's cross entropy, for losses that weigh tokens by what a whole sequence came to.

    The weights are known after the forward pass only, so the logits are made again in the
    backward pass, some rows at a time.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden_NH: torch.Tensor, weight_VH: torch.Tensor, targets_N: torch.Tensor
    ) -> torch.Tensor:
        ctx.save_for_backward(hidden_NH, weight_VH, targets_N)
        losses_N = torch.zeros(len(targets_N), dtype=torch.float32, device=hidden_NH.device)
        for part in _parts(hidden_NH, weight_VH):
            shares, places, counted = _shares(hidden_NH[part], weight_VH, targets_N[part])
            losses_N[part] = -shares.gather(1, places)[:, 0] * counted
        return losses_N

    @staticmethod
    def backward(
        ctx: Any, grad_N: torch.Tensor
    ) -> tuple[torch.Tensor | None, torch.Tensor | None, None]:
        hidden_NH, weight_VH, targets_N = ctx.saved_tensors
        grad_hidden = torch.empty_like(hidden_NH) if ctx.needs_input_grad[0] else None
        grad_weight = None
        if ctx.needs_input_grad[1]:
            grad_weight = torch.zeros_like(weight_VH, dtype=torch.float32)
        for part in _parts(hidden_NH, weight_VH):
            hidden = hidden_NH[part]
            shares, places, counted = _shares(hidden, weight_VH, targets_N[part])
            grad = shares.exp_()
            grad.scatter_add_(1, places, grad.new_full(places.shape, -1.0))
            low = grad.mul_((grad_N[part] * counted)[:, None]).to(hidden.dtype)
            if grad_hidden is not None:
                grad_hidden[part] = product(low, weight_VH.T)
            if grad_weight is not None:
                grad_weight += product(low.T, hidden.T)
        return grad_hidden, None if grad_weight is None else grad_weight.to(weight_VH.dtype), None


def _parts(hidden_NH: torch.Tensor, weight_VH: torch.Tensor) -> list[slice]:
    held = CPU_CHUNK_BYTES if hidden_NH.device.type == "cpu" else CHUNK_BYTES
    rows = max(CHUNK_ROWS, held // (4 * weight_VH.shape[0]))
    return [slice(start, start + rows) for start in range(0, len(hidden_NH), rows)]


def _shares(
    hidden: torch.Tensor, weight_VH: torch.Tensor, targets: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Log-shares of all pieces, places of the targets among them, and which count."""
    shares = product(hidden, weight_VH).float().log_softmax(-1)
    return shares, targets.clamp(min=0)[:, None], targets != IGNORED


def token_losses(
    hidden_NH: torch.Tensor, weight_VH: torch.Tensor, targets_N: torch.Tensor
) -> torch.Tensor:
    """Each token's cross entropy in nats, 0 where the target is :data:`IGNORED`."""
    if torch.is_autocast_enabled(hidden_NH.device.type):
        dtype = torch.get_autocast_dtype(hidden_NH.device.type)
        hidden_NH, weight_VH = hidden_NH.to(dtype), weight_VH.to(dtype)
    made: torch.Tensor = _TokenLosses.apply(hidden_NH, weight_VH, targets_N)
    return made


def chunked_loss(
    hidden_NH: torch.Tensor, weight_VH: torch.Tensor, targets_N: torch.Tensor, z_loss: float = 0.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """(sum of the loss over the counted tokens, each token's cross entropy in nats).

    A target of :data:`IGNORED` counts nothing. ``z_loss`` times the square of log Z is added for
    each counted token (PaLM, arXiv 2204.02311, section 5; LLM-jp v3 uses 1e-4). Under autocast
    the products run in its dtype, softmax and sums in fp32.
    """
    if torch.is_autocast_enabled(hidden_NH.device.type):
        dtype = torch.get_autocast_dtype(hidden_NH.device.type)
        hidden_NH, weight_VH = hidden_NH.to(dtype), weight_VH.to(dtype)
    total, losses = _ChunkedLoss.apply(hidden_NH, weight_VH, targets_N, z_loss)
    return total, losses


class Head:
    """Makes the output layer of a ``transformers`` causal LM give the loss instead of logits.

    The layer is still called as a module of its own: sharding (FSDP2, ZeRO-3) gathers weights in
    hooks around such calls, so the weight may be used nowhere else.

    Where the model does more to its logits than to make them, ``chunked`` is off: the loss is
    then that of its own logits, held whole. :mod:`.gate` says which. A loss that the model adds
    itself (``aux_loss``, of a mixture of experts whose configuration asks for it) is added, too.
    """

    def __init__(self, model: Any, z_loss: float = 0.0, *, chunked: bool = True) -> None:
        self.layer = model.get_output_embeddings()
        self.targets_N: torch.Tensor | None = None
        self.losses_N: torch.Tensor | None = None
        self.z_loss = z_loss
        self.chunked = chunked
        self.by_token = False
        if not chunked:
            return
        plain = self.layer.forward

        def forward(layer: Any, hidden: torch.Tensor) -> torch.Tensor:
            targets = self.targets_N
            if targets is None:
                return plain(hidden)
            if self.by_token and layer.bias is None:
                return token_losses(hidden.flatten(0, -2), layer.weight, targets)
            if self.by_token:
                return _plain_losses(plain(hidden), targets)
            if layer.bias is not None:
                return self._with_bias(plain(hidden), targets)
            total, self.losses_N = chunked_loss(
                hidden.flatten(0, -2), layer.weight, targets, self.z_loss
            )
            return total

        self.layer.forward = types.MethodType(forward, self.layer)

    def remove(self) -> None:
        """Give the output layer its own way back."""
        self.layer.__dict__.pop("forward", None)

    def _with_bias(self, logits: torch.Tensor, targets_N: torch.Tensor) -> torch.Tensor:
        """The usual way, for models whose output layer has a bias or that change their logits."""
        logits_NV = logits.flatten(0, -2).float()
        loss = functional.cross_entropy(
            logits_NV, targets_N, ignore_index=IGNORED, reduction="none"
        )
        self.losses_N = loss.detach()
        log_z = logits_NV.logsumexp(-1) * (targets_N != IGNORED)
        return loss.sum() + self.z_loss * log_z.square().sum()

    def losses(self, model: Any, y_BS: torch.Tensor, **inputs: Any) -> torch.Tensor:
        """Each token's loss, (B, S), with gradients of its own; 0 where it does not count.

        Raises :class:`YoriaiError` for a model that adds a loss of its own.
        """
        self.by_token = True
        self.targets_N = y_BS.flatten() if self.chunked else None
        try:
            out = model(**inputs, use_cache=False)
            if getattr(out, "aux_loss", None) is not None:
                raise YoriaiError(
                    "a mixture of experts whose configuration asks for a loss of its routers cannot"
                    " be tuned on preferences",
                    hint="set output_router_logits of its config.json to false",
                )
            made: torch.Tensor = out.logits
            if not self.chunked:
                made = _plain_losses(made, y_BS.flatten())
            return made.view_as(y_BS)
        finally:
            self.by_token, self.targets_N = False, None

    def loss(self, model: Any, y_BS: torch.Tensor, **inputs: Any) -> torch.Tensor:
        """Sum of the loss of a batch; ``losses_N`` then holds each token's cross entropy."""
        targets_N = y_BS.flatten()
        self.targets_N = targets_N if self.chunked else None
        try:
            out = model(**inputs, use_cache=False)
            total: torch.Tensor = out.logits
            if not self.chunked:
                total = self._with_bias(total, targets_N)
            added = getattr(out, "aux_loss", None)
            if added is not None:
                share = model.config.router_aux_loss_coef * (targets_N != IGNORED).sum()
                total = total + share * added.to(total.device)
            return total
        finally:
            self.targets_N = None


def _plain_losses(logits: torch.Tensor, targets_N: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(
        logits.flatten(0, -2).float(), targets_N, ignore_index=IGNORED, reduction="none"
    )
