"""``domain-adapt/distil``: a smaller model that says what a larger one says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from yoriai import Job, Made, UsageError, files
from yoriai_domain_adapt.steps.adapting import (
    Adapting,
    empty_folder,
    headline_of,
    measure_both_ways,
    move_into,
)

if TYPE_CHECKING:
    import torch

    from yoriai_domain_adapt.folders.tensors import Weights


class Distil(Adapting):
    """Make a student out of the teacher's own weights and train it on the teacher's logits.

    ``layers``, ``feed_forward`` and ``heads`` say what is left of its depth and width (evenly
    spaced blocks; the channels and heads with the largest weights). A second model under ``from``
    is the student instead. The text is a ``tokens`` artifact in the teacher's tokenizer.
    """

    version: ClassVar[str] = "1"
    measures: ClassVar[tuple[str, ...]] = (
        *Adapting.measures,
        "parameters_before",
        "parameters",
        "steps",
        "first_loss",
        "last_loss",
        "tokens_seen",
    )
    takes: ClassVar[tuple[str, ...]] = ("model", "tokens")
    optional: ClassVar[tuple[str, ...]] = ("corpus",)

    layers: int | None = Field(
        None, ge=1, le=10**4, description="decoder blocks of the student; null: all"
    )
    feed_forward: int | None = Field(
        None,
        ge=1,
        le=10**7,
        description="width of its feed-forward layers (Llama dialect); null: as it is",
    )
    heads: int | None = Field(
        None,
        ge=1,
        le=10**6,
        description="key-value heads, with their query heads (Llama dialect); null: all",
    )
    steps: int = Field(200, ge=1, description="optimizer steps")
    batch: int = Field(8, ge=1, le=10**6, description="sequences in a step")
    length: int = Field(256, ge=8, le=10**8, description="tokens of a sequence")
    peak: float = Field(5e-4, gt=0, description="highest learning rate")
    temperature: float = Field(1.0, gt=0, description="by which both models' logits are divided")
    hard: float = Field(0.0, ge=0, le=1, description="weight of the text itself beside the teacher")
    hidden: float = Field(0.0, ge=0, description="weight of what the blocks give")
    on_policy: float = Field(
        0.0, ge=0, le=1, description="share of steps on texts that the student writes"
    )

    def make(self, job: Job) -> Made:
        from yoriai_domain_adapt.folders import calibration, layers
        from yoriai_domain_adapt.folders.tensors import Weights, vocabulary_size
        from yoriai_domain_adapt.training import distillation

        models = job.all_of("model")
        if len(models) not in (1, 2):
            raise UsageError(
                f"distil takes a teacher, or a teacher and a student; 'from' gives {len(models)}",
                hint="from: [TEACHER, TOKENS]",
            )
        teacher = models[0]
        weights = Weights(teacher.path)
        place = job.scratch / "student"
        if len(models) == 2:
            kept = _same_vocabulary(weights, Weights(models[1].path), models)
            folder = models[1].path
        else:
            kept = self._cut(weights, place) if not (place / "config.json").exists() else tuple(
                evenly(layers.block_count(weights.config), self.layers)
            )  # fmt: skip
            folder = place
        windows = calibration.windows(
            job.one("tokens"), min(self.steps * self.batch, _most(job, self.length)), self.length,
            job.seed, vocabulary_size(weights),
        )  # fmt: skip
        student = layers.open_model(folder)
        settings = distillation.Settings(
            steps=self.steps, batch=self.batch, peak=self.peak, temperature=self.temperature,
            hard=self.hard, hidden=self.hidden, on_policy=self.on_policy, seed=job.seed,
        )  # fmt: skip
        log = distillation.train(
            student, layers.open_model(teacher.path), windows, kept, settings, job.scratch,
            lambda items, n: job.progress(items, "distil", n),
        )  # fmt: skip
        self._store(job, teacher, student)
        lines = b"".join(files.canonical_json(row).replace(b"\n", b"") + b"\n" for row in log)
        files.write_atomically(job.out / "training.jsonl", lines)
        tail = log[-max(1, len(log) // 10) :]
        facts = {
            **measure_both_ways(self, job, teacher),
            "parameters_before": weights.parameters,
            "parameters": Weights(job.out).parameters,
            "blocks_kept": list(kept),
            "steps": len(log),
            "first_loss": round(log[0]["loss"], 3),
            "last_loss": round(sum(row["loss"] for row in tail) / len(tail), 3),
            "tokens_seen": self.steps * self.batch * self.length,
        }
        share = facts["parameters"] / facts["parameters_before"]
        line = (
            f"{facts['parameters']:,} parameters, {share:.0%} of its teacher; loss"
            f" {facts['first_loss']:.3f} became {facts['last_loss']:.3f}"
        )
        return Made(facts=facts, headline=[line, *headline_of(facts)])

    def _cut(self, weights: Weights, place: Any) -> tuple[int, ...]:
        """Write the student as it begins; the teacher's blocks that it keeps."""
        from yoriai_domain_adapt.folders import layers
        from yoriai_domain_adapt.folders import tensors as folders
        from yoriai_domain_adapt.steps.prune import drop_blocks

        count = layers.block_count(weights.config)
        kept = evenly(count, self.layers)
        config, names = drop_blocks(weights, tuple(n for n in range(count) if n not in kept))
        cuts = width_cuts(weights, self.feed_forward, self.heads)
        if self.feed_forward:
            config["intermediate_size"] = self.feed_forward
        if self.heads:
            each = config["num_attention_heads"] // config["num_key_value_heads"]
            dimension = config.get("head_dim") or (
                config["hidden_size"] // config["num_attention_heads"]
            )
            config |= {
                "num_key_value_heads": self.heads, "num_attention_heads": self.heads * each,
                "head_dim": dimension,
            }  # fmt: skip
        target = empty_folder(place.with_name("student.part"))
        old = {new or name: name for name in weights.outlines if (new := names.get(name, name))}
        outlines = {}
        for new, name in old.items():
            outline = weights.outlines[name]
            rows, columns = cuts.get(name, (None, None))
            shape = list(outline.shape)
            if rows is not None:
                shape[0] = len(rows)
            if columns is not None:
                shape[1] = len(columns)
            outlines[new] = folders.Outline(outline.dtype, tuple(shape))

        def produce(new: str) -> torch.Tensor:
            tensor = weights.read(old[new])
            rows, columns = cuts.get(old[new], (None, None))
            if rows is not None:
                tensor = tensor[rows]
            return (tensor if columns is None else tensor[:, columns]).contiguous()

        folders.write_weights(target, outlines, produce)
        folders.copy_companions(weights.folder, target)
        folders.write_config(target, config)
        target.replace(place)
        return tuple(kept)

    def _store(self, job: Job, teacher: Any, student: Any) -> None:
        from yoriai_domain_adapt.folders import tensors as folders

        target = empty_folder(job.scratch / "model")
        student.float().save_pretrained(target)
        folders.copy_companions(teacher.path, target)
        config = {**folders.read_config(target), "dtype": "float32"}
        folders.write_config(target, config)
        for path in target.glob("*.safetensors"):
            path.chmod(0o644)  # a model is to be shared
        move_into(target, job.out)


def evenly(count: int, wanted: int | None) -> list[int]:
    """``wanted`` of ``count`` blocks, first and last among them; raises UsageError if too many."""
    if wanted is None or wanted == count:
        return list(range(count))
    if wanted > count:
        raise UsageError(f"layers: {wanted} of a model of {count}", hint=f"layers: {count // 2}")
    if wanted == 1:
        return [0]
    return [round(place * (count - 1) / (wanted - 1)) for place in range(wanted)]


Cut = tuple["list[int] | None", "list[int] | None"]


def width_cuts(weights: Weights, feed_forward: int | None, heads: int | None) -> dict[str, Cut]:
    """Rows and columns that stay, by tensor: the channels and heads with the largest weights.

    Of a channel the product of its norms in the matrices it runs through counts (as in Minitron's
    weight-magnitude baseline, Muralidharan et al. 2024, arXiv 2407.14679).
    """
    import torch

    cuts: dict[str, Cut] = {}
    if not (feed_forward or heads):
        return cuts
    ups = [n for n in weights.outlines if n.endswith("mlp.up_proj.weight")]
    if not ups:
        raise UsageError(
            f"{weights.folder.name} is not of the Llama dialect: its width cannot be cut",
            hint="layers: fewer blocks can be kept of any model",
        )
    config = weights.config
    for up in ups:
        stem = up.removesuffix("mlp.up_proj.weight")
        if feed_forward:
            names = [f"{stem}mlp.{n}_proj.weight" for n in ("gate", "up", "down")]
            if feed_forward > weights.outlines[up].shape[0]:
                raise UsageError(
                    f"feed_forward: more than the {weights.outlines[up].shape[0]} of it"
                )
            one, two, down = (weights.read(n).float() for n in names)
            size = one.norm(dim=1) * two.norm(dim=1) * down.norm(dim=0)
            stay = sorted(torch.argsort(-size, stable=True)[:feed_forward].tolist())
            cuts |= {names[0]: (stay, None), names[1]: (stay, None), names[2]: (None, stay)}
        if heads:
            kv = int(config.get("num_key_value_heads") or config["num_attention_heads"])
            if heads > kv:
                raise UsageError(f"heads: more than the {kv} key-value heads of it")
            each = int(config["num_attention_heads"]) // kv
            v, o = (f"{stem}self_attn.{n}_proj.weight" for n in "vo")
            dimension = weights.outlines[v].shape[0] // kv
            value = weights.read(v).float().reshape(kv, -1).norm(dim=1)
            output = weights.read(o).float().t().reshape(kv, -1).norm(dim=1)
            best = sorted(torch.argsort(-(value * output), stable=True)[:heads].tolist())
            small = [h * dimension + i for h in best for i in range(dimension)]
            width = each * dimension
            large = [h * width + i for h in best for i in range(width)]
            cuts |= {f"{stem}self_attn.{n}_proj.weight": (small, None) for n in "kv"}
            cuts |= {f"{stem}self_attn.q_proj.weight": (large, None), o: (None, large)}
    return cuts


def _most(job: Job, length: int) -> int:
    from yoriai.mixture import read_mixture

    mixture = read_mixture(job.one("tokens").path)
    shares = mixture.weights()
    each = [s.tokens // length / shares[n] for n, s in mixture.shards.items() if shares[n] > 0]
    return max(1, int(0.9 * min(each)))


def _same_vocabulary(teacher: Weights, student: Weights, models: list[Any]) -> tuple[int, ...]:
    from yoriai_domain_adapt.folders.tensors import vocabulary_size

    one, two = vocabulary_size(teacher), vocabulary_size(student)
    if one != two:
        raise UsageError(
            f"{models[0].name} has {one} pieces, {models[1].name} {two}: their logits cannot be"
            " compared",
            hint="give teacher and student one tokenizer (domain-adapt/vocab)",
        )
    from yoriai_domain_adapt.folders.layers import block_count

    return tuple(evenly(block_count(teacher.config), block_count(student.config)))
