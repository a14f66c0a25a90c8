"""Which weights of a matrix to drop: magnitude, Wanda, SparseGPT; anywhere or 2 of 4.

Matrices are (rows = outputs) x (columns = inputs). All arithmetic is fp32. Sources:

* magnitude: Han et al. 2015 (arXiv 1506.02626);
* Wanda: Sun et al. 2023 (arXiv 2306.11695), ``|weight| * norm of its input``, by row;
* SparseGPT: Frantar and Alistarh 2023 (arXiv 2301.00774), the error of a dropped weight is
  carried by those to its right, through the inverse of the inputs' second moment;
* 2:4: two of each four neighbours in a row, what NVIDIA's sparse tensor cores run (Mishra et al.
  2021, arXiv 2104.08378).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

BLOCK = 128  # columns between two updates of the rest, as in the authors' code
DAMPING = 0.01  # of the mean diagonal, added to it: GPTQ's and SparseGPT's percdamp


def mask_smallest(score: torch.Tensor, share: float, *, by_row: bool) -> torch.Tensor:
    """True where a score is among the smallest ``share`` of its row, or of the whole matrix.

    Of equal scores the first ones go. The largest of those that go is selected, nothing is sorted.
    """
    import torch

    rows = score if by_row else score.reshape(1, -1)
    count = int(share * rows.shape[1])
    if not count:
        return torch.zeros_like(score, dtype=torch.bool)
    limit = rows.kthvalue(count, dim=1, keepdim=True).values
    mask = rows <= limit
    too_many = mask.sum(1) - count
    for row in torch.nonzero(too_many).flatten().tolist():
        equal = torch.nonzero(rows[row] == limit[row]).flatten()
        mask[row, equal[len(equal) - int(too_many[row]) :]] = False
    return mask.reshape(score.shape)


def mask_two_of_four(score: torch.Tensor) -> torch.Tensor:
    """True for the two smallest of each four neighbours in a row.

    Raises ``ValueError`` where a row is no multiple of four.
    """
    import torch

    if score.shape[1] % 4:
        raise ValueError(f"a row of {score.shape[1]} is no multiple of 4")
    groups = score.reshape(-1, 4)
    mask = torch.zeros_like(groups, dtype=torch.bool)
    mask.scatter_(1, torch.argsort(groups, dim=1, stable=True)[:, :2], True)
    return mask.reshape(score.shape)


def wanda_score(weight: torch.Tensor, squares: torch.Tensor) -> torch.Tensor:
    """``|weight|`` times the norm of its input; ``squares`` are summed over the calibration."""
    return weight.float().abs() * squares.sqrt()


def inverse_factor(moment: torch.Tensor) -> torch.Tensor:
    """The upper Cholesky factor of the inverse of the damped second moment.

    Inputs that were always zero count as one, so that their weights move nothing.
    """
    import torch

    damped = moment.double().clone()
    dead = damped.diagonal() == 0
    damped.diagonal()[dead] = 1.0
    damped.diagonal().add_(DAMPING * float(damped.diagonal().mean()))
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
    return torch.linalg.cholesky(inverse, upper=True).float()


def sparse_gpt(
    weight: torch.Tensor, moment: torch.Tensor, share: float, *, two_of_four: bool = False
) -> torch.Tensor:
    """The matrix with ``share`` of its weights zero and the others moved to make up for it."""
    import torch

    work, factor = weight.float().clone(), inverse_factor(moment)
    work[:, moment.diagonal() == 0] = 0
    columns = work.shape[1]
    if two_of_four and columns % 4:
        raise ValueError(f"a row of {columns} is no multiple of 4")
    for start in range(0, columns, BLOCK):
        end = min(start + BLOCK, columns)
        part, inner = work[:, start:end].clone(), factor[start:end, start:end]
        errors = torch.zeros_like(part)
        if not two_of_four:
            score = part.square() / inner.diagonal().square()
            mask = mask_smallest(score, share, by_row=False)
        else:
            mask = torch.zeros_like(part, dtype=torch.bool)
        for i in range(end - start):
            if two_of_four and i % 4 == 0:
                four = slice(i, i + 4)
                score = part[:, four].square() / inner.diagonal()[four].square()
                mask[:, four] = mask_two_of_four(score)
            kept = torch.where(mask[:, i], 0.0, part[:, i])
            errors[:, i] = (part[:, i] - kept) / inner[i, i]
            part[:, i:] -= errors[:, i : i + 1] * inner[i, i:]
            part[:, i] = kept
        work[:, start:end] = part
        work[:, end:] -= errors @ factor[start:end, end:]
    return work
