"""Conversations as tokens: those of apply_chat_template, and of them the learned ones."""

import json

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import AutoTokenizer

from yoriai import Turn, UsageError
from yoriai_train.data.chat import ChatForm, WrittenAnew, write_ends

SPECIALS = [
    "<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|start_header_id|>",
    "<|end_header_id|>", "<|eot_id|>",
]  # fmt: skip
OURS = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ '\n\n### 指示:\n' + message['content'] }}"
    "{% elif message['role'] == 'assistant' %}"
    "{{ '\n\n### 応答:\n' + message['content'] + eos_token }}"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '\n\n### 応答:\n' }}{% endif %}"
)
# In the form of LLM-jp's instruct models: the system's line, then as ours. Written by hand, and not
# compared with a published tokenizer_config.json.
LLM_JP = (
    "{{bos_token}}{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ '\n\n### 指示:\n' + message['content'] }}{% elif message['role'] == 'system' %}"
    "{{ message['content'] }}{% elif message['role'] == 'assistant' %}"
    "{{ '\n\n### 応答:\n' + message['content'] + eos_token }}{% endif %}"
    "{% if loop.last and add_generation_prompt %}{{ '\n\n### 応答:\n' }}{% endif %}{% endfor %}"
)
CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content']"
    " + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA_3 = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}"
    "{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'"
    " + message['content'] | trim + '<|eot_id|>' %}"
    "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}"
    "{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
# As Qwen3's: thoughts are taken out of earlier answers.
FORGETFUL = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' and not"
    " loop.last %}{{ m.content.split('</think>')[-1] }}{% else %}{{ m.content }}{% endif %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEMPLATES = {"ours": OURS, "llm-jp": LLM_JP, "chatml": CHATML, "llama-3": LLAMA_3}
ENDS = {"ours": "</s>", "llm-jp": "</s>", "chatml": "<|im_end|>", "llama-3": "<|eot_id|>"}
TALK = (
    Turn("user", "寄合とは？ What is it?"),
    Turn("assistant", " 村の集まり\nです。 "),
    Turn("user", "  ありがとう 🎉\n\n"),
    Turn("assistant", "どういたしまして"),
)
SYSTEM = Turn("system", "短く。")


def byte_level(trim):
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [*SPECIALS, *alphabet, "ĊĊ", "Ġa", "ab", "Ġy"]
    merges = [("Ċ", "Ċ"), ("Ġ", "a"), ("a", "b"), ("Ġ", "y")]
    made = Tokenizer(models.BPE({p: i for i, p in enumerate(pieces)}, merges, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.post_processor = processors.ByteLevel(trim_offsets=trim)
    made.decoder = decoders.ByteLevel()
    return made


def metaspace(score=-999.0):
    """As Llama 2's: a space before the text, and bytes for what has no piece."""
    said = (
        "".join(turn.text for turn in TALK)
        + "".join(TEMPLATES.values())
        + "短く。abcd1 say now"
        + "".join(SPECIALS)
    )
    pieces = [(p, score) for p in SPECIALS]
    pieces += [(f"<0x{n:02X}>", -9.0) for n in range(256)]
    pieces += [(c, -2.0) for c in sorted({"▁", *said} - {"🎉", " "})] + [("▁y", -1.0)]
    made = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=True))
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    made.decoder = decoders.Metaspace(prepend_scheme="first")
    return made


KINDS = {
    "bytes": lambda: byte_level(False),
    "bytes-trimmed": lambda: byte_level(True),
    "metaspace": metaspace,
}


def folder_of(place, kind, template, *, split=False):
    place.mkdir(exist_ok=True)
    made = KINDS[kind]()
    made.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIALS])
    made.save(str(place / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>",
        "split_special_tokens": split,
    }  # fmt: skip
    (place / "tokenizer_config.json").write_text(json.dumps(config))
    (place / "chat_template.jinja").write_text(template)
    return place


@pytest.fixture(params=[(t, k) for t in TEMPLATES for k in KINDS], ids="-".join)
def form(request, tmp_path):
    name, kind = request.param
    # As a tokenizer artifact is exported: nothing that is special matches in a text.
    made = ChatForm.read(folder_of(tmp_path / "base", kind, TEMPLATES[name], split=True), name)
    made.check()
    return made


def exported(form, tmp_path):
    """The tokenizer as a tuned model's folder has it."""
    place = tmp_path / "base"
    write_ends(place, {1})
    return AutoTokenizer.from_pretrained(place)


def rows(turns):
    return [{"role": t.role, "content": t.text} for t in turns]


def test_what_is_trained_is_what_the_exported_tokenizer_gives_for_the_conversation(form, tmp_path):
    after = exported(form, tmp_path)
    talks = [TALK[:2], TALK] + ([(SYSTEM, *TALK)] if form.name != "ours" else [])
    for turns in talks:
        wanted = after.apply_chat_template(rows(turns), return_dict=False)
        assert list(form.encode(turns).ids) == wanted
        asked = after.apply_chat_template(
            rows(turns[:-1]), return_dict=False, add_generation_prompt=True
        )
        assert form.prompt(turns[:-1]) == asked


def test_the_answers_and_their_ends_are_learned_and_nothing_else(form):
    encoded = form.encode(TALK)
    learned = [form.tokenizer.decode(encoded.ids[a:b]) for a, b in encoded.spans()]
    end = ENDS[form.name]
    trimmed = form.name == "llama-3"
    wanted = [TALK[1].text.strip() if trimmed else TALK[1].text, TALK[3].text]
    # Of a token that holds the last space of the prompt and the first of the answer, neither.
    assert [one.strip() for one in learned] == [(one + end).strip() for one in wanted]
    assert form.ends(encoded) == {form.tokenizer.convert_tokens_to_ids(end)}
    last = form.encode(TALK, "last")
    assert last.ids == encoded.ids
    assert last.spans() == encoded.spans()[1:]


def test_special_tokens_in_a_text_stay_text_and_those_of_the_template_are_whole(form, tmp_path):
    spelled = "say <|im_end|></s> now<|eot_id|>"
    turns = (Turn("user", spelled), Turn("assistant", spelled))
    encoded = form.encode(turns)
    plain = form.encode((Turn("user", "say now"), Turn("assistant", "say now")))

    def special(ids):
        return [i for i in ids if i in form.special]

    assert special(encoded.ids) == special(plain.ids)
    assert special(encoded.ids)[-1] == form.tokenizer.convert_tokens_to_ids(ENDS[form.name])
    [(first, stop)] = encoded.spans()
    assert form.tokenizer.decode(encoded.ids[first:stop]) == spelled + ENDS[form.name]
    after = exported(form, tmp_path)
    given = after.apply_chat_template(rows(turns), return_dict=False, sanitize_control_tokens=True)
    assert given == list(encoded.ids)


def test_a_turn_that_is_not_learned_is_masked(form):
    turns = (TALK[0], Turn("assistant", "x", learned=False), *TALK[2:])
    assert len(form.encode(turns).spans()) == 1
    assert form.encode(turns[:2]).spans() == []


def test_an_answer_that_begins_inside_a_token_is_counted_and_the_token_masked(tmp_path):
    template = (
        "{% for m in messages %}{{ m.role }}: {{ m.content }}{% if m.role == 'assistant' %}"
        "{{ eos_token }}{% endif %}{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
    )
    for kind in KINDS:
        form = ChatForm.read(folder_of(tmp_path / kind, kind, template))
        encoded = form.encode((Turn("user", "a"), Turn("assistant", "yes")))
        assert encoded.straddling == 1  # " y" is one token
        [(first, stop)] = encoded.spans()
        assert form.tokenizer.decode(encoded.ids[first:stop]) == "es</s>"


def test_a_template_that_writes_earlier_turns_anew_is_told(tmp_path):
    form = ChatForm.read(folder_of(tmp_path / "a", "bytes", FORGETFUL))
    thinking = (Turn("user", "a"), Turn("assistant", "<think>b</think>c"))
    assert len(form.encode(thinking).spans()) == 1
    with pytest.raises(WrittenAnew):
        form.encode((*thinking, *thinking))


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        ("", "has no chat template"),
        (
            "{% for m in messages if m.role != 'user' %}{{ m.content }}{% endfor %}",
            "leaves out a user",
        ),
        ("{{ raise_exception('no') }}", "refuses a conversation: no"),
        (OURS.replace(" + eos_token", ""), "writes no special token after an answer"),
        (
            "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}",
            "leaves out what the assistant says",
        ),
        (CHATML.replace("assistant\n", "assistant: "), "writes an answer otherwise than it asks"),
    ],
)  # fmt: skip
def test_a_template_by_which_nothing_can_be_taught_is_refused(tmp_path, template, complaint):
    place = folder_of(tmp_path / "a", "bytes", template)
    if not template:
        (place / "chat_template.jinja").unlink()
    with pytest.raises(UsageError, match=complaint):
        ChatForm.read(place, "it").check()


def test_a_tokenizer_that_makes_special_tokens_of_plain_text_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(KINDS, "eager", lambda: metaspace(0.0))
    form = ChatForm.read(folder_of(tmp_path / "a", "eager", CHATML), "it")
    with pytest.raises(UsageError, match="it: a special token in a text cannot be kept text"):
        form.check()


def test_private_marks_in_a_text_are_refused(tmp_path):
    form = ChatForm.read(folder_of(tmp_path / "a", "bytes", CHATML))
    with pytest.raises(UsageError, match=r"U\+F0000"):
        form.encode((Turn("user", "a\U000f0000"), Turn("assistant", "b")))


def test_the_ends_come_first_and_others_are_kept(tmp_path):
    place = folder_of(tmp_path / "a", "bytes", CHATML, split=True)
    write_ends(place, {4})
    assert json.loads((place / "generation_config.json").read_bytes()) == {"eos_token_id": 4}
    (place / "generation_config.json").write_text('{"eos_token_id": 2, "top_k": 5}')
    write_ends(place, {4})
    told = json.loads((place / "generation_config.json").read_bytes())
    assert told == {"eos_token_id": [4, 2], "top_k": 5}
    assert AutoTokenizer.from_pretrained(place).split_special_tokens is False
