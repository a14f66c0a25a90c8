"""Greedy continuations of texts, for looking at a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from yoriai import Turn
from yoriai.model_folder import AS_DATA, WEIGHTS, opening, whole
from yoriai_train.data.chat import ChatForm


def continue_texts(
    folder: Path, prompts: Sequence[str], *, tokens: int, instruct: bool = False
) -> list[tuple[str, str]]:
    """(prompt, continuation of at most ``tokens`` tokens) for each prompt, greedily."""
    if not prompts:
        return []
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    with opening(folder):
        tokenizer = AutoTokenizer.from_pretrained(folder, **AS_DATA)
        loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **WEIGHTS)
    model = whole(loaded, folder).eval()
    context = int(getattr(model.config, "max_position_embeddings", 0) or 1024)
    form = ChatForm(tokenizer, str(folder)) if instruct else None
    room, rows = max(1, context - tokens), []
    for prompt in prompts:
        if form:
            ids = form.prompt([Turn("user", prompt)])[-room:]
        else:
            ids = tokenizer.encode(prompt, add_special_tokens=False)[-room:]
        given = torch.tensor([ids or [tokenizer.eos_token_id or 0]])
        with torch.inference_mode():
            out = model.generate(
                input_ids=given,
                attention_mask=torch.ones_like(given),
                max_new_tokens=tokens,
                do_sample=False,
                # Small models repeat themselves; an instruction's answer must stay as it is.
                repetition_penalty=1.0 if instruct else 1.2,
                pad_token_id=tokenizer.pad_token_id,
            )
        made = out[0, given.shape[1] :]
        rows.append((prompt, str(tokenizer.decode(made, skip_special_tokens=True))))
    return rows
