"""``domain-adapt/gguf``: the model as one file for llama.cpp, checked in llama.cpp."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

from pydantic import Field

from yoriai import Job, Made, NotFound, Refused, console
from yoriai.model_folder import WEIGHTS, opening, whole
from yoriai_domain_adapt.measure.parity import Drift, Tolerance, differing
from yoriai_domain_adapt.steps.adapting import Accounted

TEXTS = 400  # held-out texts whose ids are compared
CHARACTERS = 400
PROMPTS = 8  # of them: prompts that are continued
PROMPT_TOKENS = 48
PLACES = (
    8,
    16,
    24,
    32,
    40,
    48,
)  # after so many of a prompt's tokens log-probabilities are compared
CONTINUED = 16
# Without text under 'from': what every tokenizer must agree on, of several scripts and kinds.
PROBES = (
    "Hello world, 12345 times 3.14!",
    "吾輩は猫である。名前はまだ無い。",
    "def f(x):\n    return x ** 2",
    "  two  spaces\tand a tab\n\nand lines\n",
    "カタカナとひらがな、漢字。㍿ 𠮷野家 🍣🍣",
    "<s> </s> <|im_start|>",
    "naïve café – “quotes” … ﷽ αβγ привет",
    "0123456789 ０１２３",
)
# Room for llama.cpp's own arithmetic beside PyTorch's, by the coarsest form in the file: products
# with integers round the other side, too. Measured, the worst of 56 places: 0.00001 nats on small
# Llamas and 0.002 on small GPT-2s in f32; 0.11 on a small Llama with sharp logits in f16; 0.92 on
# SmolLM2-135M whose layers were integers of 4 bits before. Rounding to q4_0 here costs more.
LOGITS = {"f32": 0.01, "f16": 0.2, "bf16": 0.3, "q8_0": 0.5, "q4_0": 3.0}


class Gguf(Accounted):
    """Write a model (quantised or not) as GGUF, and ask llama.cpp and transformers the same.

    Token ids of many texts, log-probabilities of the whole vocabulary at several places, the bits
    of the tokens that follow there, and greedy continuations are compared; what drifts beyond
    ``gate`` fails the step. Texts are held-out ones of the corpora under ``from``, or a few of
    several scripts. Two ways to cut a text may have exactly the same score, and llama.cpp's unigram
    kind goes from the end of a text, SentencePiece from its beginning: such ties are counted and
    are no drift. The integers of ``domain-adapt/quantise``
    are packed as they are. The file is ``model.gguf``.
    """

    version: ClassVar[str] = "2"
    makes: ClassVar[str] = "model"
    measures: ClassVar[tuple[str, ...]] = (
        "bytes_before",
        "bytes_after",
        "weights_by_form.*",
        "gate.**",
        "texts",
        "prompts",
        "continued_alike",
    )
    takes: ClassVar[tuple[str, ...]] = ("model",)
    optional: ClassVar[tuple[str, ...]] = ("corpus",)

    kind: Literal["f32", "f16", "bf16", "q8_0", "q4_0"] = Field(
        "f16", description="form of matrices that are not integers already"
    )
    check: bool = Field(True, description="open the file in llama.cpp (package xllamacpp)")
    gate: Tolerance = Field(
        Tolerance(ids=0.0),
        description="how far the file may drift; logits: by the coarsest form, if not said",
    )

    def make(self, job: Job) -> Made:
        from yoriai_domain_adapt.folders.gguf_file import write_gguf

        source = job.one("model")
        facts = write_gguf(source.path, job.out / "model.gguf", self.kind, name=source.step)
        facts |= {"kind": self.kind, "gate": {}}
        lines = [f"{facts['bytes_before'] / 1e6:.2f} MB became {facts['bytes_after'] / 1e6:.2f} MB"]
        if self.check:
            try:
                told = self._check(job, list(facts["weights_by_form"]))
            except NotFound as error:
                raise NotFound(
                    f"the file is not checked: {error.message}",
                    hint=f"{error.hint}, or check: false",
                ) from error
            facts |= told
            drift = told["gate"]
            ties = f", {told['texts_that_tie']} cut otherwise at the same score"
            lines.append(
                f"in llama.cpp: {told['texts']} texts, {drift['ids']['found']:.1%} with other ids"
                f"{ties if told['texts_that_tie'] else ''}; log-probabilities within"
                f" {drift['logits']['found']:.3g} nats; {told['continued_alike']} of"
                f" {told['prompts']} greedy continuations alike"
            )
        else:
            facts["not_checked"] = "check: false"
            console.note(f"step {job.name!r}: the file was not opened in llama.cpp")
        for name in ("LICENSE", "NOTICE"):
            if (source.path / name).is_file():
                (job.out / name).write_bytes((source.path / name).read_bytes())
        return Made(facts=facts, headline=lines)

    def _check(self, job: Job, forms: list[str]) -> dict[str, Any]:
        from yoriai_domain_adapt.folders import vocabulary
        from yoriai_domain_adapt.measure.llama_cpp import LlamaCppServer
        from yoriai_domain_adapt.steps.adapting import heldout_texts

        source = job.one("model")
        tokenizer = vocabulary.read_tokenizer(source.path)
        held = heldout_texts(job.all_of("corpus"), TEXTS, CHARACTERS)
        texts = [*PROBES, *held]
        ours = [e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=False)]
        there = LlamaCppServer(job.out / "model.gguf")
        theirs = there.encode(texts)
        different, ties = differing(ours, theirs, vocabulary.unigram_scores(source.path))
        found = {"ids": len(different) / len(texts)}
        prompts = [
            ids[: PROMPT_TOKENS + 1]
            for ids in ours[: max(len(PROBES), 1)] + ours[len(PROBES) :][:PROMPTS]
        ]
        prompts = [ids for ids in prompts if ids][-PROMPTS:]
        measured = compare_logits(source.path, there, prompts)
        found |= {"logits": measured["logits"], "divergence": measured["divergence"]}
        if measured["bits_per_token"] is not None:
            size = sum(len(tokenizer.decode(ids).encode()) for ids in prompts)
            found["bits_per_byte"] = measured["bits_per_token"] * sum(map(len, prompts)) / size
        gate = self.gate
        if gate.logits is None:
            gate = gate.model_copy(update={"logits": max(LOGITS[form] for form in forms)})
        if any(not math.isfinite(value) for value in found.values()):
            raise Refused(f"step {job.name!r}: llama.cpp gives no finite number")
        return {
            "gate": Drift(f"step {job.name!r}", found).check(gate),
            "texts": len(texts),
            "texts_with_other_ids": [texts[n][:80] for n in different[:5]],
            "texts_that_tie": ties,
            "prompts": len(prompts),
            "continued_alike": measured["continued_alike"],
        }


def compare_logits(folder: Any, there: Any, prompts: list[list[int]]) -> dict[str, Any]:
    """transformers and llama.cpp after the same ids.

    ``logits`` is the largest difference of a log-probability among tokens that have at least one
    chance in 10,000 in transformers: far below, differences say nothing of the text.
    ``bits_per_token`` is what llama.cpp needs more for the tokens that follow, None if none does.
    """
    import torch
    from transformers import AutoModelForCausalLM

    with opening(folder):
        loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **WEIGHTS)
    model = whole(loaded, folder).eval()
    size = model.config.vocab_size
    worst, divergence, alike = 0.0, [], 0
    bits: list[float] = []
    for given in prompts:
        ids = given[:PROMPT_TOKENS]
        with torch.inference_mode():
            every = torch.log_softmax(model(torch.tensor([ids])).logits[0].float(), -1)
            own = model.generate(
                torch.tensor([ids]), max_new_tokens=CONTINUED, do_sample=False, pad_token_id=0
            )[0, len(ids) :].tolist()
        for place in [n for n in PLACES if n < len(ids)] + [len(ids)]:
            said = every[place - 1]
            told = there.next_logprobs(ids[:place], size)
            other = torch.full((size,), -100.0)
            other[list(told)] = torch.tensor(list(told.values()))
            likely = said > math.log(1e-4)
            worst = max(worst, float((said - other)[likely].abs().max()))
            divergence.append(float((said.exp() * (said - other)).sum().clamp(min=0)))
            if place < len(given) and given[place] in told:
                bits.append(float(said[given[place]] - other[given[place]]) / math.log(2))
        written = there.continue_greedily(ids, CONTINUED)
        alike += written == own[: len(written)]
    return {
        "logits": worst,
        "divergence": sum(divergence) / len(divergence),
        "bits_per_token": sum(bits) / len(bits) if bits else None,
        "continued_alike": alike,
    }
