"""Greedy continuations of texts, for looking at a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from yoriai import UsageError
from yoriai.model_folder import AS_DATA, WEIGHTS, opening


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
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **WEIGHTS).eval()
    context = int(getattr(model.config, "max_position_embeddings", 0) or 1024)
    room, rows = max(1, context - tokens), []
    for prompt in prompts:
        text = render(tokenizer, prompt, "") if instruct else prompt
        ids = tokenizer.encode(text, add_special_tokens=False)[-room:]
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


def render(
    tokenizer: Any, instruction: str, text: str, before: Sequence[tuple[str, str]] = ()
) -> str:
    """The prompt as the model's chat template writes it, up to where the answer begins.

    ``before`` are earlier turns, as (role, text). Raises :class:`UsageError` where the template
    refuses one, or leaves out what the user or the system said. (What the assistant said it may
    shorten: some templates take out the thoughts of earlier answers.)
    """
    from jinja2.exceptions import TemplateError

    content = f"{instruction}\n{text}" if text else instruction
    turns = [{"role": role, "content": said} for role, said in before]
    turns.append({"role": "user", "content": content})
    try:
        rendered: str = tokenizer.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=True
        )
    except TemplateError as error:
        raise UsageError(f"the chat template refuses a conversation: {error}") from error
    for turn in turns if before else ():
        if turn["role"] != "assistant" and turn["content"].strip() not in rendered:
            raise UsageError(
                f"the chat template leaves out a {turn['role']} turn: {turn['content'][:60]!r}",
                hint="take these turns out of the data, or use a model whose template has them",
            )
    return rendered
