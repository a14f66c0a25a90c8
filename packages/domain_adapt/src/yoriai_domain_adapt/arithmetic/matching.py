"""Rows for pieces that a model has not seen.

* the mean of the rows of the pieces that spelled it (used by Swallow, arXiv 2404.17790);
* orthogonal matching pursuit, as in mergekit's tokensurgeon (Goddard and Fernandes Neto 2025,
  arXiv 2506.06607): a donor model that knows the piece writes its row as a combination of few of
  the rows of pieces that both models know; the same combination of the model's own rows is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def mean_rows(matrix: torch.Tensor, spelled: Sequence[Sequence[int]]) -> torch.Tensor:
    """One row for each spelling: the mean of its pieces' rows; of none, the mean of all rows."""
    import torch

    whole = matrix.float()
    rows = [whole[list(ids)].mean(0) if ids else whole.mean(0) for ids in spelled]
    return torch.stack(rows) if rows else whole[:0]


def matching_pursuit(
    targets: torch.Tensor, dictionary: torch.Tensor, atoms: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """For each target (n x d) at most ``atoms`` rows of the dictionary (m x d), and coefficients.

    Greedy: the row that correlates most with what is left is added (rows as long as one), and the
    coefficients of all chosen ones are fitted again by least squares. Returns indices and
    coefficients, n x atoms. All in fp32, in fp64 for the fit.
    """
    import torch

    atoms = min(atoms, len(dictionary), dictionary.shape[1])
    rows = dictionary.float()
    units = rows / rows.norm(dim=1, keepdim=True).clamp(min=1e-12)
    count = len(targets)
    chosen = torch.zeros(count, atoms, dtype=torch.long)
    left = targets.float().clone()
    taken = torch.zeros(count, len(rows), dtype=torch.bool)
    coefficients = torch.zeros(count, 0)
    for number in range(atoms):
        found = (left @ units.t()).abs().masked_fill_(taken, -1.0).argmax(1)
        chosen[:, number] = found
        taken[torch.arange(count), found] = True
        basis = rows[chosen[:, : number + 1]].double()  # n x k x d
        gram = basis @ basis.transpose(1, 2)
        gram += 1e-9 * gram.diagonal(dim1=1, dim2=2).mean(1)[:, None, None] * torch.eye(number + 1)
        right = (basis @ targets.double().unsqueeze(-1)).squeeze(-1)
        coefficients = torch.linalg.solve(gram, right)
        left = (targets.double() - (coefficients.unsqueeze(1) @ basis).squeeze(1)).float()
    return chosen, coefficients.float()


def transplant(
    donor_rows: torch.Tensor,
    donor_known: torch.Tensor,
    own_known: torch.Tensor,
    atoms: int,
) -> torch.Tensor:
    """Rows of the model for pieces of the donor: what fits the donor's rows, in the model's space.

    ``donor_known`` and ``own_known`` are the rows of the pieces that both know, in one order.
    """
    chosen, coefficients = matching_pursuit(donor_rows, donor_known, atoms)
    return (coefficients.unsqueeze(1) @ own_known.float()[chosen]).squeeze(1)
