"""``domain-adapt/vocab``: a model for a tokenizer that has gained pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from yoriai import Artifact, Job, Made, UsageError
from yoriai.strict import Strict
from yoriai_domain_adapt.steps.adapting import (
    Adapting,
    empty_folder,
    headline_of,
    measure_both_ways,
    move_into,
)

if TYPE_CHECKING:
    import torch


class NewRowTraining(Strict):
    """Training of the new rows alone, all else frozen."""

    steps: int = Field(100, ge=1, description="optimizer steps")
    batch: int = Field(8, ge=1, le=10**6, description="sequences in a step")
    length: int = Field(256, ge=8, le=10**8, description="tokens of a sequence")
    peak: float = Field(1e-3, gt=0, description="highest learning rate")


class Vocab(Adapting):
    """Give a model's embedding and head rows for every piece of another tokenizer.

    Pieces that both tokenizers know keep their rows, wherever they stand now. A new one begins as
    the mean of the rows of the pieces that spelled it (``mean``), as a combination found in a donor
    model that knows it (``omp``; the second model under ``from``), or as draws around the mean of
    all rows (``random``, to compare with). ``rows`` trains the new rows alone on a ``tokens``
    artifact of the new tokenizer; then go on with ``train/pretrain``, which trains all.
    """

    version: ClassVar[str] = "1"
    takes: ClassVar[tuple[str, ...]] = ("model", "tokenizer")

    init: Literal["mean", "omp", "random"] = Field("mean", description="how new rows begin")
    atoms: int = Field(64, ge=1, description="omp: pieces that a new row is put together from")
    rows: NewRowTraining | None = Field(
        None, description="train the new rows alone first; null: no"
    )

    def make(self, job: Job) -> Made:
        from yoriai_domain_adapt.folders import tensors as folders
        from yoriai_domain_adapt.folders import vocabulary

        models, tokenizer = job.all_of("model"), job.one("tokenizer")
        if len(models) != (2 if self.init == "omp" else 1):
            raise UsageError(
                f"init: {self.init} takes {'two models' if self.init == 'omp' else 'one model'},"
                f" 'from' gives {len(models)}",
                hint="from: [MODEL, DONOR, TOKENIZER]" if self.init == "omp" else "init: mean",
            )
        weights = folders.Weights(models[0].path)
        old = vocabulary.read_tokenizer(models[0].path)
        new = vocabulary.read_tokenizer(tokenizer.path)
        names = embedding_names(weights, old, models[0].name)
        plan = plan_rows(old, new)
        donor = self._donor(models[1]) if self.init == "omp" else None
        config: dict[str, Any] = {**weights.config, "vocab_size": plan.size}
        outlines = {
            name: folders.Outline(outline.dtype, (plan.size, *outline.shape[1:]))
            if name in names
            else outline
            for name, outline in weights.outlines.items()
        }

        def produce(name: str) -> torch.Tensor:
            tensor = weights.read(name)
            if name not in names:
                return tensor
            return self._extended(tensor, plan, old, donor, job.seed).to(tensor.dtype)

        target = empty_folder(job.scratch / "model")
        folders.write_weights(target, outlines, produce)
        folders.copy_companions(weights.folder, target)
        replace_tokenizer(tokenizer, target)
        config.update({f"{n}_token_id": i for n, i in (tokenizer.facts.get("marks") or {}).items()})
        folders.write_config(target, config)
        (target / "generation_config.json").unlink(missing_ok=True)
        trained: dict[str, Any] = {}
        if self.rows:
            trained = self._train_rows(job, target, plan)
        move_into(target, job.out)
        facts = {
            **measure_both_ways(self, job, models[0]),
            "init": self.init,
            "pieces_before": old.get_vocab_size(),
            "pieces": plan.size,
            "new_rows": len(plan.new),
            "unspelled": sum(not ids for ids in plan.spelled),
            **trained,
        }
        return Made(
            facts=facts,
            headline=[f"{len(plan.new):,} new rows ({self.init})", *headline_of(facts)],
        )

    def _donor(self, donor: Artifact) -> tuple[Any, torch.Tensor]:
        from yoriai_domain_adapt.folders import tensors as folders
        from yoriai_domain_adapt.folders import vocabulary

        weights = folders.Weights(donor.path)
        tokenizer = vocabulary.read_tokenizer(donor.path)
        name = embedding_names(weights, tokenizer, donor.name)[0]
        return tokenizer, weights.read(name)

    def _extended(
        self,
        old_rows: torch.Tensor,
        plan: VocabularyPlan,
        old: Any,
        donor: tuple[Any, torch.Tensor] | None,
        seed: int,
    ) -> torch.Tensor:
        """The matrix with a row for each piece of the new tokenizer, in fp32."""
        import torch

        from yoriai_domain_adapt.arithmetic import matching

        whole = torch.zeros(plan.size, *old_rows.shape[1:])
        kept_new, kept_old = map(list, zip(*plan.kept, strict=True))
        whole[kept_new] = old_rows[kept_old].float()
        if not plan.new:
            return whole
        made = matching.mean_rows(old_rows, plan.spelled)
        if self.init == "random":
            generator = torch.Generator().manual_seed(seed)
            rows = old_rows.float()
            made = rows.mean(0) + rows.std(0) * torch.randn(made.shape, generator=generator)
        elif donor is not None:
            tokenizer, rows = donor
            both = [
                (int(place), i) for piece, i in old.get_vocab().items()
                if (place := tokenizer.token_to_id(piece)) is not None
                and place < len(rows) and i < len(old_rows)
            ]  # fmt: skip
            there, here = map(list, zip(*sorted(both), strict=True))
            known = [
                (place, int(found)) for place, piece in enumerate(plan.pieces)
                if (found := tokenizer.token_to_id(piece)) is not None and found < len(rows)
            ]  # fmt: skip
            if known:
                places, found = map(list, zip(*known, strict=True))
                made[places] = matching.transplant(
                    rows[found], rows[there], old_rows[here], self.atoms
                )
        whole[plan.new] = made
        return whole

    def _train_rows(self, job: Job, folder: Any, plan: VocabularyPlan) -> dict[str, Any]:
        from yoriai_domain_adapt.folders import calibration
        from yoriai_domain_adapt.training.rows import train_rows

        assert self.rows
        if not job.all_of("tokens"):
            raise UsageError(
                "rows: training reads text, and no tokens are under 'from'",
                hint="name a tokens step written with the new tokenizer",
            )
        count = self.rows.steps * self.rows.batch
        ids = calibration.windows(job.one("tokens"), count, self.rows.length, job.seed, plan.size)
        curve = train_rows(
            folder, ids, plan.new, batch=self.rows.batch, peak=self.rows.peak,
            watch=lambda items, n: job.progress(items, "new rows", n),
        )  # fmt: skip
        return {"rows_first_loss": round(curve[0], 3), "rows_last_loss": round(curve[-1], 3)}


class VocabularyPlan(Strict):
    """Which row goes where."""

    size: int
    kept: list[tuple[int, int]]  # new place, old place
    new: list[int]  # places of new rows
    pieces: list[str]  # their pieces
    spelled: list[list[int]]  # how the old tokenizer spells each


def plan_rows(old: Any, new: Any) -> VocabularyPlan:
    """Compare two tokenizers; raises :class:`yoriai.UsageError` if they share nothing."""
    from yoriai_domain_adapt.folders import vocabulary

    before, after = old.get_vocab(), new.get_vocab()
    kept = sorted((place, before[piece]) for piece, place in after.items() if piece in before)
    if not kept:
        raise UsageError(
            "the tokenizers share no piece: this would be a new model",
            hint="give the tokenizer that domain-adapt/pieces made from the model's own",
        )
    added = sorted((place, piece) for piece, place in after.items() if piece not in before)
    return VocabularyPlan(
        size=max(after.values()) + 1,
        kept=kept,
        new=[place for place, _ in added],
        pieces=[piece for _, piece in added],
        spelled=[vocabulary.spell(old, piece, new) for _, piece in added],
    )


def embedding_names(weights: Any, tokenizer: Any, name: str) -> list[str]:
    """The tensors that have a row for each piece: embedding first, then an untied head.

    Raises :class:`yoriai.UsageError` where tokenizer and model do not fit.
    """
    from yoriai_domain_adapt.folders.layers import outline
    from yoriai_domain_adapt.folders.tensors import vocabulary_size

    model = outline(weights.folder)
    size = vocabulary_size(weights)
    highest = max(tokenizer.get_vocab().values())
    if highest >= size:
        raise UsageError(
            f"{name}: its tokenizer has {highest + 1:,} pieces, its embedding {size:,} rows",
            hint="put the tokenizer beside the model that it was trained with",
        )
    wanted = [id(model.get_input_embeddings().weight), id(model.get_output_embeddings().weight)]
    names = [n for n, p in model.named_parameters(remove_duplicate=False) if id(p) in wanted]
    found = []
    for full in names:
        for stored in (full, full.removeprefix(f"{model.base_model_prefix}.")):
            if stored in weights.outlines and stored not in found:
                found.append(stored)
                break
    if not found:
        raise UsageError(f"{name} has no embedding that could be found")
    if bad := [n for n in found if weights.outlines[n].shape[0] != size]:
        raise UsageError(
            f"{name}: {bad[0]} has {weights.outlines[bad[0]].shape[0]:,} rows, config.json says"
            f" {size:,}",
            hint="take config.json from where the weights were published",
        )
    return found


def replace_tokenizer(tokenizer: Artifact, target: Any) -> None:
    """Put the files of the new tokenizer in place of the old one's."""
    import shutil

    from yoriai_domain_adapt.folders.tensors import COPIED

    for pattern in COPIED:
        if pattern.startswith(("LICENSE", "NOTICE", "chat_template", "generation")):
            continue
        for path in target.glob(pattern):
            if path.suffix != ".safetensors":
                path.unlink()
    for path in sorted(tokenizer.path.iterdir()):
        if path.name.startswith(("tokenizer", "special_tokens_map", "chat_template")):
            shutil.copyfile(path, target / path.name)
