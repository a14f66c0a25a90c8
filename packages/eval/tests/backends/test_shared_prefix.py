"""Models of several kinds, with and without what their prompts share, against a plain loop."""

import json
import math
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from yoriai import NotFound, UsageError
from yoriai_eval.backends.huggingface import HuggingFace

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from yoriai_eval.backends import shared_prefix as module  # noqa: E402

TEXT = [
    "以下はタスクを説明する指示と、追加の背景情報を提供する入力の組み合わせです。",
    "前提：男の子が庭で遊んでいる。仮説：子供が外にいる。 entailment contradiction neutral",
    "質問：日本で一番高い山は何ですか。回答：富士山 The quick brown fox jumps over the dog.",
]
PREFIX = "指示：前提と仮説の関係を答える。\n前提：犬がいる。 a\n回答：neutral\n\n前提："
QUESTIONS = ["猫がいる。\n回答：", "", " The fox", "前提：", "a" * 30, "男の子が庭で遊ぶ。"]
SHAPES = {
    "llama": ("LlamaConfig", {"num_key_value_heads": 4}),
    "tied, fewer key heads": (
        "LlamaConfig",
        {"num_key_value_heads": 2, "tie_word_embeddings": True},
    ),
    "gpt2": ("GPT2Config", {}),
    "window never full": ("MistralConfig", {"num_key_value_heads": 2, "sliding_window": 512}),
    "window": ("MistralConfig", {"num_key_value_heads": 2, "sliding_window": 24}),
    "windows in some layers": ("Gemma2Config", {"num_key_value_heads": 2, "sliding_window": 24}),
    "alibi": ("BloomConfig", {}),
    "state space": ("MambaConfig", {"state_size": 4}),
}
REUSED = {"llama", "tied, fewer key heads", "gpt2", "window never full"}


def pieces_of_bytes(folder):
    """Byte-level BPE as GPT-2's, with no marks before a text."""
    from tokenizers import ByteLevelBPETokenizer

    made = ByteLevelBPETokenizer()
    made.train_from_iterator(TEXT, vocab_size=400, min_frequency=1)
    made.add_special_tokens(["<unk>", "<s>", "</s>"])
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=made._tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    fast.save_pretrained(folder)
    return fast


def pieces_of_sentences(folder):
    """Unigram with bytes to fall back on and a space before a text, as SentencePiece makes it.

    The pieces are counted, not learned: the trainer's sums depend on its threads, so that another
    vocabulary, and another random model, would come out on another machine.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, processors

    marks = ["<unk>", "<s>", "</s>"]
    spaced = [text.replace(" ", "▁") for text in TEXT]
    seen = Counter(text[i : i + n] for text in spaced for n in (1, 2, 3) for i in range(len(text)))
    often = sorted((p for p in seen if len(p) == 1 or seen[p] > 1), key=lambda p: (-seen[p], p))
    single = [(f"<0x{byte:02X}>", -20.0) for byte in range(256)]
    pieces = [(piece, math.log(seen[piece] / seen.total())) for piece in often]
    made = Tokenizer(models.Unigram([(mark, 0.0) for mark in marks] + single + pieces, 0, True))
    made.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    made.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    made.add_special_tokens(marks)
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 1)]
    )
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    fast.save_pretrained(folder)
    return fast


TOKENIZERS = {"bytes": pieces_of_bytes, "sentences": pieces_of_sentences}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Models this small are slower on several."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A maker of folders with a small random model, each made once."""
    root, made = tmp_path_factory.mktemp("models"), {}

    def build(shape="llama", pieces="bytes", **changes):
        key = (shape, pieces, *sorted(changes.items()))
        if key in made:
            return made[key]
        place = root / str(len(made))
        tokenizer = TOKENIZERS[pieces](place)
        name, own = SHAPES[shape]
        options = {
            "vocab_size": len(tokenizer),
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "head_dim": 8,
            "max_position_embeddings": 256,
            "initializer_range": 0.4,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": None,
            **own,
            **changes,
        }
        torch.manual_seed(5)
        config = getattr(transformers, name)(**options)
        model = transformers.AutoModelForCausalLM.from_config(config)
        model.save_pretrained(place)
        made[key] = place
        return place

    return build


class Loop:
    """One prompt at a time, by transformers itself: no padding, no batch, no prefix."""

    def __init__(self, folder, lead=None, first=None):
        self.model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        added = self.tokenizer.encode("")
        self.lead = added if lead is None else lead
        self.first = (added or [self.tokenizer.eos_token_id]) if first is None else first

    def ids(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False)

    def greedy(self, prompt, count, stop="", characters=0):
        ids = [*self.lead, *self.ids(prompt)] or self.first
        with torch.inference_mode():
            made = self.model.generate(
                torch.tensor([ids]),
                attention_mask=torch.ones(1, len(ids), dtype=torch.long),
                max_new_tokens=count,
                do_sample=False,
                pad_token_id=0,
            )[0].tolist()
        # Read piece by piece: bytes that follow may still change what bytes before them mean.
        before = self.tokenizer.decode(ids, skip_special_tokens=True)
        for end in range(len(ids) + 1, len(made) + 1):
            last = end == len(made)
            text = self.tokenizer.decode(made[:end], skip_special_tokens=True)[len(before) :]
            known = text if last else text.rstrip("\ufffd")
            if stop and stop in known and (not characters or known.index(stop) <= characters):
                return known.partition(stop)[0], "stop"
            if characters and len(known) > characters:
                return known[:characters], "length"
        return text, "end" if made[-1] == self.tokenizer.eos_token_id else "length"

    def likelihood(self, context, continuation):
        ids, alone = self.ids(context + continuation), self.ids(context)
        same = 0
        while same < min(len(ids), len(alone)) and ids[same] == alone[same]:
            same += 1
        row = [*self.first, *ids]
        with torch.inference_mode():
            logits = self.model(torch.tensor([row])).logits[0].double().log_softmax(-1)
        places = range(len(self.first) + same, len(row))
        return math.fsum(float(logits[p - 1, row[p]]) for p in places)


def pairs_of(made):
    return [(text, ended) for text, ended in ((m.text, m.ended) for m in made)]


@pytest.mark.parametrize("pieces", TOKENIZERS)
@pytest.mark.parametrize("shape", SHAPES)
def test_answers_and_likelihoods_are_those_of_a_loop_over_single_prompts(folder, shape, pieces):
    place = folder(shape, pieces)
    loop = Loop(place)
    prompts = [PREFIX + q for q in QUESTIONS[:4]] + ["something else"]
    pairs = [(p, c) for p in prompts[1:] for c in ("はい", "e", " neutral", "")]
    expected = [loop.greedy(p, 5) for p in prompts]
    likely = [min_border(loop, p, pairs) for p in pairs]
    for batch in (1, 4) if shape == "llama" else (4,):
        model = HuggingFace(batch=batch).open(place)
        assert model.describe()["prefix_reuse"] is (shape in REUSED | {"window"})
        for prefix in ("", PREFIX):
            made = model.generate(prompts, max_new_tokens=5, prefix=prefix)
            assert pairs_of(made) == expected
            assert model.loglikelihood(pairs, prefix=prefix) == pytest.approx(likely, abs=1e-4)


def min_border(loop, pair, pairs):
    """The likelihood from the first border among the continuations of the pair's context."""
    context, continuation = pair
    alone = loop.ids(context)
    borders = []
    for other in (c for p, c in pairs if p == context):
        ids = loop.ids(context + other)
        same = 0
        while same < min(len(ids), len(alone)) and ids[same] == alone[same]:
            same += 1
        borders.append(same)
    ids = loop.ids(context + continuation)
    row = [*loop.first, *ids]
    with torch.inference_mode():
        logits = loop.model(torch.tensor([row])).logits[0].double().log_softmax(-1)
    places = range(len(loop.first) + min(borders), len(row))
    return math.fsum(float(logits[p - 1, row[p]]) for p in places)


@pytest.mark.parametrize("pieces", TOKENIZERS)
def test_texts_in_windows_are_those_of_single_passes(folder, pieces):
    place = folder("tied, fewer key heads", pieces, max_position_embeddings=64)
    loop = Loop(place)
    texts = ["", "短い", PREFIX * 3, "x", *TEXT]
    expected = []
    for text in texts:
        ids, total = [*loop.first, *loop.ids(text)], []
        for start in range(0, len(ids) - 1, 64):
            row = ids[start : start + 65]
            with torch.inference_mode():
                logits = loop.model(torch.tensor([row[:-1]])).logits[0].double().log_softmax(-1)
            total += [float(logits[i, token]) for i, token in enumerate(row[1:])]
        expected.append(math.fsum(total))
    made = HuggingFace(batch=3).open(place).rolling_loglikelihood(texts)
    assert made == pytest.approx(expected, abs=1e-3)
    assert made[0] == 0.0


def test_long_rows_of_logits_are_made_in_pieces(folder, monkeypatch):
    place = folder("llama")
    texts = [*TEXT, PREFIX, ""]
    pairs = [(PREFIX, text) for text in texts]
    for shape in ("llama", "window"):
        model = HuggingFace(batch=4).open(folder(shape))
        whole = model.rolling_loglikelihood(texts), model.loglikelihood(pairs)
        with monkeypatch.context() as patch:
            patch.setattr(module, "LOGITS", 4 * 400 * 3)
            pieces = model.rolling_loglikelihood(texts), model.loglikelihood(pairs)
        assert pieces[0] == pytest.approx(whole[0], abs=1e-3)
        assert pieces[1] == pytest.approx(whole[1], abs=1e-3)
    assert HuggingFace().open(place).context == 256


@pytest.mark.parametrize("pieces", TOKENIZERS)
@pytest.mark.parametrize("shape", ["llama", "window"])
def test_an_answer_ends_before_a_stop_text_and_at_a_number_of_characters(folder, shape, pieces):
    place = folder(shape, pieces)
    loop, model = Loop(place), HuggingFace(batch=3).open(place)
    prompts = [PREFIX + q for q in QUESTIONS]
    whole = [loop.greedy(p, 16)[0] for p in prompts]
    # Texts that do occur, wherever they lie: one character, and two that follow each other.
    stops = {at for text in whole for at in text[3:] if at != "\ufffd"}
    pairs = {"".join(at) for text in whole for at in pairwise(text[3:]) if "\ufffd" not in at}
    assert stops
    assert pairs
    seen = set()
    for stop in [*sorted(stops)[:1], *sorted(pairs)[:2]]:
        for characters in (0, 4):
            made = model.generate(
                prompts, max_new_tokens=16, stop=[stop], max_characters=characters, prefix=PREFIX
            )
            assert pairs_of(made) == [loop.greedy(p, 16, stop, characters) for p in prompts]
            seen |= {m.ended for m in made}
    assert {"stop", "length"} <= seen


def test_the_first_of_several_stop_texts_ends_an_answer(folder):
    model = HuggingFace().open(folder("llama"))
    [whole] = model.generate([PREFIX], max_new_tokens=24)
    found = {text: whole.text.index(text) for text in map("".join, pairwise(whole.text))}
    early, *_, late = sorted((t for t in found if "\ufffd" not in t), key=found.__getitem__)
    [made] = model.generate([PREFIX], max_new_tokens=24, stop=["", late, early])
    assert (made.text, made.ended) == (whole.text[: found[early]], "stop")


def test_an_answer_of_exactly_so_many_characters_is_whole(folder):
    model = HuggingFace().open(folder("llama"))
    [whole] = model.generate([PREFIX], max_new_tokens=24)
    stop = whole.text[6:8]
    at = whole.text.index(stop)
    ask = {"max_new_tokens": 24, "stop": [stop]}
    assert model.generate([PREFIX], max_characters=at, **ask)[0].ended == "stop"
    assert model.generate([PREFIX], max_characters=at - 1, **ask)[0].ended == "length"


def test_all_end_marks_of_a_folder_end_an_answer(folder, tmp_path):
    import shutil

    place = tmp_path / "ends"
    shutil.copytree(folder("llama"), place)
    loop = Loop(place)
    [row] = loop.model.generate(
        torch.tensor([loop.ids(PREFIX)]), max_new_tokens=12, do_sample=False, pad_token_id=0
    ).tolist()
    new = row[len(loop.ids(PREFIX)) :]
    marks = {"eos_token_id": [1, new[4]], "repetition_penalty": 9.0, "do_sample": True}
    (place / "generation_config.json").write_text(json.dumps(marks))
    [made] = HuggingFace().open(place).generate([PREFIX], max_new_tokens=12)
    cut = new[: new.index(new[4])]
    assert made.ended == "end"
    assert made.text == loop.tokenizer.decode(cut, skip_special_tokens=True)


@pytest.mark.parametrize("pieces", TOKENIZERS)
def test_no_answer_depends_on_what_was_asked_before_or_with_it(folder, pieces):
    place = folder("tied, fewer key heads", pieces)
    prompts = [PREFIX + q for q in QUESTIONS]
    pairs = [(p, c) for p in prompts for c in ("はい", " neutral")]
    fresh = HuggingFace(batch=4).open(place)
    answers = fresh.generate(prompts, max_new_tokens=9, prefix=PREFIX)
    likely = fresh.loglikelihood(pairs, prefix=PREFIX)
    used = HuggingFace(batch=4).open(place)
    used.loglikelihood([("x", "y")], prefix="x")
    used.generate(["z" + PREFIX], max_new_tokens=3, prefix="z")
    # To the last bit where the call is the same.
    assert used.loglikelihood(pairs, prefix=PREFIX) == likely
    assert used.generate(prompts, max_new_tokens=9, prefix=PREFIX) == answers
    alone = [used.generate([p], max_new_tokens=9, prefix=PREFIX)[0] for p in prompts]
    assert alone == answers
    backwards = used.loglikelihood(pairs[::-1], prefix=PREFIX)[::-1]
    assert backwards == pytest.approx(likely, abs=1e-4)


def test_rows_read_in_pieces_go_on_together(folder, monkeypatch):
    place = folder("tied, fewer key heads")
    prompts = [PREFIX + "a" * 3**n for n in range(5)]
    pairs = [(p, c) for p in prompts for c in ("はい", "x")]
    model = HuggingFace(batch=5).open(place)
    for prefix in ("", PREFIX):
        found = []
        for padding in (0, 1000):
            monkeypatch.setattr("yoriai_eval.backends.huggingface.PADDING", padding)
            answers = model.generate(prompts, max_new_tokens=6, prefix=prefix)
            found.append((answers, model.loglikelihood(pairs, prefix=prefix)))
        assert found[0][0] == found[1][0]
        assert found[0][1] == pytest.approx(found[1][1], abs=1e-4)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    prefix=st.text("あ前提：\n a1、。é😀", max_size=20),
    tails=st.lists(st.text("あ前提：\n a1、。é😀", max_size=12), min_size=1, max_size=5),
    pieces=st.sampled_from(sorted(TOKENIZERS)),
)
def test_a_prefix_changes_no_answer(folder, prefix, tails, pieces):
    place = folder("tied, fewer key heads", pieces)
    model = opened(place)
    prompts = [prefix + tail for tail in tails]
    with_it = model.generate(prompts, max_new_tokens=4, prefix=prefix)
    assert with_it == model.generate(prompts, max_new_tokens=4)
    pairs = [(prefix, tail) for tail in tails]
    assert model.loglikelihood(pairs, prefix=prefix) == pytest.approx(
        model.loglikelihood(pairs), abs=1e-4
    )


OPENED = {}


def opened(place):
    if place not in OPENED:
        OPENED[place] = HuggingFace(batch=3).open(place)
    return OPENED[place]


def test_what_prompts_share_is_run_once(folder):
    model = HuggingFace(batch=2).open(folder("llama"))
    seen = []
    hook = model.model.register_forward_pre_hook(
        lambda _, __, options: seen.append(options["input_ids"].numel()), with_kwargs=True
    )
    prompts = [PREFIX + q for q in QUESTIONS[:2]]
    model.generate(prompts, max_new_tokens=1, prefix=PREFIX)
    first = sum(seen)
    seen.clear()
    model.generate(prompts, max_new_tokens=1, prefix=PREFIX)
    longest = max(model.count(prompts))
    assert first >= model.count([PREFIX])[0] - 4
    assert sum(seen) < 2 * (longest - model.count([PREFIX])[0] + 6)
    seen.clear()
    # Four choices of one piece each cost one pass over their context.
    pairs = [(prompts[0], choice) for choice in "0123"]
    model.loglikelihood(pairs)
    assert sum(seen) == model.count(prompts)[0] + 1
    hook.remove()


def test_a_prompt_that_leaves_no_room_for_its_answer_is_refused_by_its_number(folder):
    model = HuggingFace().open(folder("llama", max_position_embeddings=64))
    with pytest.raises(UsageError, match=r"prompt 1 has .* context of 64"):
        model.generate(["a", PREFIX * 2], max_new_tokens=4)
    places = []
    hook = model.model.register_forward_pre_hook(
        lambda _, __, options: places.append(int(options["position_ids"].max())), with_kwargs=True
    )
    [made] = model.generate(["a"], max_new_tokens=500)
    hook.remove()
    assert made.ended == "length"
    assert max(places) == 62  # the last id is at 63, where nothing is read any more


def test_the_start_mark_is_the_tokenizers_own_unless_told(folder):
    marked, bare = folder("llama", "sentences"), folder("llama", "bytes")
    told = {}
    for name, place in (("marked", marked), ("bare", bare)):
        for start in ("auto", "always", "never"):
            model = HuggingFace(start=start).open(place)
            facts = model.describe()
            told[name, start] = (facts["start"], facts["likelihood_start"])
            mark = [model.tokenizer.bos_token_id] if facts["start"] else []
            loop = Loop(place, lead=mark)
            assert model.count(["abc"]) == [len(loop.ids("abc")) + len(mark)]
            [made] = model.generate([PREFIX], max_new_tokens=6)
            assert made.text == loop.greedy(PREFIX, 6)[0]
    assert told["marked", "auto"] == told["marked", "always"] == ("<s>", "<s>")
    assert told["bare", "auto"] == ("", "</s>")
    assert told["bare", "always"] == ("<s>", "<s>")
    assert told["bare", "never"] == ("", "</s>")
    never, auto = (HuggingFace(start=s).open(marked) for s in ("never", "auto"))
    loop = Loop(marked, first=[])
    assert never.loglikelihood([("ab", "c")])[0] == pytest.approx(loop.likelihood("ab", "c"))
    assert never.loglikelihood([("", "c")]) == pytest.approx(auto.loglikelihood([("", "c")]))
    # A prompt that was rendered with the mark does not get another one.
    assert auto.count(["<s>ab"]) == [1 + len(loop.ids("ab"))] or auto.count(["<s>ab"]) == [
        len(loop.ids("<s>ab"))
    ]


def test_the_model_says_how_it_is_asked(folder):
    facts = HuggingFace(batch=5, precision="bfloat16").open(folder("llama")).describe()
    assert facts == {
        "backend": "hf",
        "dtype": "bfloat16",
        "start": "",
        "likelihood_start": "</s>",
        "context": 256,
        "batch": 5,
        "attention": "sdpa",
        "device": "cuda" if torch.cuda.is_available() else "cpu",
        "prefix_reuse": True,
        "transformers": transformers.__version__,
    }
    assert HuggingFace(precision="auto").open(folder("llama")).describe()["dtype"] == "float32"
    assert not HuggingFace(prefix_reuse=False).open(folder("llama")).describe()["prefix_reuse"]


def test_half_precision_gives_answers_of_its_own_precision(folder):
    place = folder("tied, fewer key heads")
    model = HuggingFace(batch=3, precision="bfloat16").open(place)
    pairs = [(PREFIX + q, "はい") for q in QUESTIONS]
    shared, plain = model.loglikelihood(pairs, prefix=PREFIX), model.loglikelihood(pairs)
    assert shared == pytest.approx(plain, rel=0.05, abs=0.5)


def test_a_gguf_file_without_its_reader_is_named(tmp_path, monkeypatch):
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    monkeypatch.setattr("yoriai_eval.backends.huggingface.find_spec", lambda name: None)
    with pytest.raises(NotFound, match=r"model\.gguf needs gguf and accelerate"):
        HuggingFace().open(tmp_path)


@pytest.mark.parametrize("kept", [4, 2, 1])
def test_attention_to_shared_and_own_keys_is_attention_to_both(kept):
    torch.manual_seed(kept)
    rows, heads, length, own, shared, size = 3, 4, 5, 7, 11, 8
    query = torch.randn(rows, heads, length, size)
    key, value = torch.randn(2, rows, kept, own, size)
    prefix = tuple(torch.randn(2, 1, kept, shared, size))
    mask = torch.arange(own) <= torch.arange(own - length, own)[:, None]
    mask = mask.expand(rows, 1, length, own).clone()
    mask[1, :, :, :3] = False  # padding
    whole = [
        torch.cat([s.expand(rows, -1, -1, -1), o], 2).repeat_interleave(heads // kept, 1)
        for s, o in zip(prefix, (key, value), strict=True)
    ]
    seen = torch.cat([torch.ones(rows, 1, length, shared, dtype=torch.bool), mask], -1)
    expected = torch.nn.functional.scaled_dot_product_attention(query, *whole, attn_mask=seen)
    key.shared = prefix
    made, _ = module.attend(torch.nn.Identity(), query, key, value, mask)
    assert torch.allclose(made, expected.transpose(1, 2), atol=1e-5)


@pytest.mark.parametrize("biased", [False, True])
def test_the_kernel_and_its_plain_form_agree(monkeypatch, biased):
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 2, 4, 9, 8)
    bias = torch.randn(2, 1, 9, 9) if biased else None
    kernel = module.weigh(query, key, value, 0.3, bias)
    monkeypatch.setattr(module, "LOGITS", 200)  # in several blocks
    for one, other in zip(kernel, module.weigh_plainly(query, key, value, 0.3, bias), strict=True):
        assert torch.allclose(one, other, atol=1e-5)
