"""Training a student on what its teacher says.

Sources: soft targets, Hinton et al. 2015 (arXiv 1503.02531); hidden states, Sun et al. 2019
(patient distillation, arXiv 1908.09355); on the student's own texts, Agarwal et al. 2023 (GKD,
arXiv 2306.13649). The loop keeps its state in safetensors files, written whole, and goes on from
the last one to the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoriai import Refused, files
from yoriai_domain_adapt.training.rows import rate

if TYPE_CHECKING:
    import torch

SAVE_EVERY = 50  # steps


@dataclass(frozen=True, slots=True)
class Settings:
    """How a student is trained; the keys of ``domain-adapt/distil``."""

    steps: int
    batch: int
    peak: float
    temperature: float
    hard: float  # weight of the text itself
    hidden: float  # weight of the hidden states
    on_policy: float  # share of steps on texts that the student writes
    seed: int


def soft_loss(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """``T^2 KL(teacher || student)`` of logits, ... x vocabulary, a mean over places."""
    import torch

    one = torch.log_softmax(student.float() / temperature, -1)
    two = torch.log_softmax(teacher.float() / temperature, -1)
    return temperature**2 * (two.exp() * (two - one)).sum(-1).mean()


def hidden_loss(
    student: tuple[torch.Tensor, ...], teacher: tuple[torch.Tensor, ...], kept: tuple[int, ...]
) -> torch.Tensor:
    """Mean squared difference of what blocks give, in units of the teacher's mean square.

    ``kept`` are the teacher's blocks that the student's blocks came from. Where the student is
    narrower the first of the teacher's widths are compared, which are those that it kept.
    """
    total = student[1].new_zeros(())
    for number, place in enumerate(kept):
        one = student[number + 1].float()
        two = teacher[place + 1].float()[..., : one.shape[-1]]
        total = total + (one - two).square().mean() / two.square().mean().clamp(min=1e-8)
    return total / max(1, len(kept))


def train(
    student: Any,
    teacher: Any,
    ids: torch.Tensor,
    kept: tuple[int, ...],
    settings: Settings,
    scratch: Path,
    watch: Callable[[Iterable[int], int], Iterator[int]] = lambda items, _count: iter(items),
) -> list[dict[str, float]]:
    """Train the student in place on ``ids`` (windows x tokens); one row of losses a step.

    Goes on from ``scratch`` where a state lies there. Raises :class:`yoriai.Refused` where a loss
    is no finite number.
    """
    import torch

    parameters = dict(student.named_parameters())
    optimizer = torch.optim.AdamW(
        parameters.values(), lr=settings.peak, betas=(0.9, 0.95), weight_decay=0.1
    )
    done, log = _load(scratch, optimizer, parameters)
    student.train()
    for step in watch(range(done, settings.steps), settings.steps - done):
        some = _batch(ids, step, settings.batch)
        if _is_own(step, settings):
            some = _continued(student, some, settings.seed + step)
        for group in optimizer.param_groups:
            group["lr"] = rate(step, settings.steps, settings.peak)
        wants_states = settings.hidden > 0
        with torch.no_grad():
            told = teacher(input_ids=some, output_hidden_states=wants_states)
        said = student(input_ids=some, output_hidden_states=wants_states)
        soft = soft_loss(said.logits[:, :-1], told.logits[:, :-1], settings.temperature)
        hard = torch.nn.functional.cross_entropy(
            said.logits[:, :-1].float().flatten(0, 1), some[:, 1:].flatten()
        )
        loss = (1 - settings.hard) * soft + settings.hard * hard
        if wants_states:
            loss = loss + settings.hidden * hidden_loss(
                said.hidden_states, told.hidden_states, kept
            )
        if not torch.isfinite(loss):
            raise Refused(
                f"the loss of step {step} of distilling is {loss.item()}: nothing is learned of it",
                hint="lower 'peak'; where it is step 0, teacher or student compute no numbers",
            )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters.values(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        log.append({"step": step, "loss": loss.item(), "soft": soft.item(), "hard": hard.item()})
        if (step + 1) % SAVE_EVERY == 0:
            _save(scratch, optimizer, parameters, log)
    student.eval()
    return log


def _batch(ids: torch.Tensor, step: int, batch: int) -> torch.Tensor:
    import torch

    places = (torch.arange(batch) + step * batch) % len(ids)
    return ids[places]


def _is_own(step: int, settings: Settings) -> bool:
    """Whether a step is on the student's own text: so many of each hundred, evenly spread."""
    share = settings.on_policy
    return int((step + 1) * share) > int(step * share)


def _continued(student: Any, ids: torch.Tensor, seed: int) -> torch.Tensor:
    """The first half of each window, and what the student writes after it (sampled, T = 1)."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    half = ids.shape[1] // 2
    found, past = ids[:, :half], None
    student.eval()
    with torch.no_grad():
        step = found
        for _ in range(ids.shape[1] - half):
            said = student(input_ids=step, past_key_values=past, use_cache=True)
            past = said.past_key_values
            chances = torch.softmax(said.logits[:, -1].float(), -1)
            step = torch.multinomial(chances, 1, generator=generator)
            found = torch.cat((found, step), 1)
    student.train()
    return found


def _save(scratch: Path, optimizer: Any, parameters: Any, log: list[dict[str, float]]) -> None:
    from safetensors.torch import save

    held = {f"weight.{name}": p.detach().contiguous() for name, p in parameters.items()}
    for name, parameter in parameters.items():
        for key in ("exp_avg", "exp_avg_sq"):
            held[f"{key}.{name}"] = optimizer.state[parameter][key].contiguous()
    told = {"log": json.dumps(log)}
    files.write_atomically(scratch / "state.safetensors", save(held, metadata=told))


def _load(scratch: Path, optimizer: Any, parameters: Any) -> tuple[int, list[dict[str, float]]]:
    import torch
    from safetensors import safe_open

    path = scratch / "state.safetensors"
    if not path.is_file():
        return 0, []
    with safe_open(path, framework="pt") as held, torch.no_grad():
        log: list[dict[str, float]] = json.loads(held.metadata()["log"])
        for name, parameter in parameters.items():
            parameter.copy_(held.get_tensor(f"weight.{name}"))
            optimizer.state[parameter] = {
                "step": torch.tensor(float(len(log))),
                "exp_avg": held.get_tensor(f"exp_avg.{name}"),
                "exp_avg_sq": held.get_tensor(f"exp_avg_sq.{name}"),
            }
    return len(log), log
