"""vLLM's engine is stood in for: the calls have the names and shapes of its own sources.

(vllm-project/vllm: vllm/entrypoints/llm.py, vllm/sampling_params.py, vllm/outputs.py.) The model
behind it is made up; what is tested is which ids are asked and which likelihoods are taken.
"""

import math
import sys
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace

import pytest

from yoriai import Generated, UsageError, YoriaiError
from yoriai_eval.backends.vllm import Vllm

LETTERS = ["<s>", "</s>", "ab", *"abcdefghij\n"]
CONTEXT = 16


class Tokenizer:
    chat_template = None
    eos_token_id, bos_token_id = 1, 0
    adds_bos = True

    def encode(self, text, add_special_tokens=True):
        ids = [0] if add_special_tokens and self.adds_bos else []
        while text:
            piece = max((p for p in LETTERS if text.startswith(p)), key=len)
            ids.append(LETTERS.index(piece))
            text = text[len(piece) :]
        return ids

    def decode(self, ids):
        return "".join(LETTERS[i] for i in ids)

    def apply_chat_template(self, messages, *, tokenize, add_generation_prompt):
        assert (tokenize, add_generation_prompt) == (False, True)
        return f"<s>{messages[0]['content']}"


@dataclass
class SamplingParams:
    n: int = 1
    temperature: float = 1.0
    stop: list[str] | None = None
    max_tokens: int | None = 16
    prompt_logprobs: int | None = None
    detokenize: bool = True
    logprobs: int | None = None


@dataclass
class CompletionOutput:
    index: int
    text: str
    token_ids: list[int]
    cumulative_logprob: float | None = None
    logprobs: object = None
    finish_reason: str | None = None
    stop_reason: int | str | None = None


@dataclass
class RequestOutput:
    request_id: str
    prompt: str | None
    prompt_token_ids: list[int]
    prompt_logprobs: list | None
    outputs: list[CompletionOutput]
    finished: bool = True


@dataclass
class Engine:
    """``vllm.LLM``: options by keyword, prompts first, results in the order of the prompts."""

    options: dict
    answer: CompletionOutput = field(default_factory=lambda: CompletionOutput(0, "ab", [2]))
    lose: int = 0

    def __post_init__(self):
        self.asked = []
        self.tokenizer = Tokenizer()
        longest = self.options.get("max_model_len", CONTEXT)
        self.llm_engine = SimpleNamespace(
            model_config=SimpleNamespace(max_model_len=longest, dtype="torch.bfloat16")
        )

    def get_tokenizer(self):
        return self.tokenizer

    def generate(self, prompts, sampling_params=None, *, use_tqdm=True, lora_request=None):
        assert not use_tqdm
        self.asked.append((prompts, sampling_params))
        made = []
        for number, prompt in enumerate(prompts):
            ids = prompt["prompt_token_ids"]
            assert ids
            assert len(ids) + 1 <= self.llm_engine.model_config.max_model_len
            told = None
            if sampling_params.prompt_logprobs is not None:
                told = [None, *(self.logprobs(ids, place) for place in range(1, len(ids)))]
            made.append(RequestOutput(str(number), None, ids, told, [self.answer]))
        return made[: len(made) - self.lose]

    def logprobs(self, ids, place):
        """The token that is there, and the likeliest one."""
        return {
            ids[place]: SimpleNamespace(logprob=value(ids, place), rank=3, decoded_token=None),
            99: SimpleNamespace(logprob=-0.01, rank=1, decoded_token=None),
        }


def value(ids, place):
    return -1.0 - (sum((i + 1) * x for i, x in enumerate(ids[: place + 1])) % 97) / 10


@pytest.fixture
def opened(monkeypatch, tmp_path):
    def build(tokenizer=None, **keys):
        module = ModuleType("vllm")
        module.__version__ = "0.33.0"
        module.SamplingParams = SamplingParams
        module.LLM = lambda model, **options: Engine({"model": model, **options})
        monkeypatch.setitem(sys.modules, "vllm", module)
        for name, item in (tokenizer or {}).items():
            monkeypatch.setattr(Tokenizer, name, item)
        return Vllm(**keys).open(tmp_path)

    return build


def test_the_engine_is_opened_as_the_keys_say(opened, tmp_path):
    model = opened(precision="float32", gpus=2, gpu_memory_share=0.5, context=12, seed=7)
    assert model._engine.options == {
        "model": str(tmp_path),
        "dtype": "float32",
        "tensor_parallel_size": 2,
        "gpu_memory_utilization": 0.5,
        "seed": 7,
        "enable_prefix_caching": True,
        "max_model_len": 12,
    }
    assert model.context == 10  # two places are the engine's
    assert "max_model_len" not in opened()._engine.options


def test_it_says_how_it_was_asked(opened):
    assert opened().describe() == {
        "backend": "vllm",
        "vllm": "0.33.0",
        "precision": "bfloat16",
        "start": "<s>",
        "likelihood_start": "<s>",
        "context": CONTEXT,
    }
    bare = opened({"adds_bos": False}).describe()
    assert (bare["start"], bare["likelihood_start"]) == ("", "</s>")


def test_likelihoods_are_of_the_pieces_after_the_border(opened):
    # "ab" is one piece, so one choice takes the last letter of the context into its first piece.
    model = opened()
    made = model.loglikelihood([("ca", "b"), ("ca", "d"), ("", "d"), ("d", "")])
    ca_b, ca_d, d = [0, 5, 2], [0, 5, 3, 6], [0, 6]
    assert made == [
        value(ca_b, 2),
        value(ca_d, 2) + value(ca_d, 3),
        value(d, 1),
        0.0,
    ]
    [(prompts, limits)] = model._engine.asked
    assert limits == SamplingParams(
        temperature=0.0, max_tokens=1, prompt_logprobs=1, detokenize=False
    )
    assert prompts[0] == {"prompt_token_ids": ca_b}


def test_a_text_is_never_cut_and_leaves_room_for_the_token_that_must_be_written(opened):
    ids = [0, *([6] * 13), 7]
    assert opened().loglikelihood([("d" * 13, "e")]) == [value(ids, 14)]
    with pytest.raises(UsageError, match="16 tokens, 15 fit"):
        opened().loglikelihood([("d" * 14, "e")])


def test_a_text_is_read_in_windows_that_touch(opened):
    text = "cdefghij" * 5
    ids, total = [0, *Tokenizer().encode(text, add_special_tokens=False)], 0.0
    for place in range(0, len(ids) - 1, 14):
        window = ids[place : place + 15]
        total += math.fsum(value(window, i) for i in range(1, len(window)))
    assert opened().rolling_loglikelihood(["", text]) == pytest.approx([0.0, total])
    assert opened().rolling_loglikelihood([]) == []


@pytest.mark.parametrize(
    ("text", "finish", "stop_reason", "expected"),
    [
        ("abc", "stop", None, Generated("abc", "end")),
        ("abc", "stop", 1, Generated("abc", "end")),
        ("abc", "stop", "\n", Generated("abc", "stop")),
        ("abc", "length", None, Generated("abc", "length")),
        ("abcdefg", "stop", None, Generated("abcdef", "length")),
        ("abc", "abort", None, Generated("abc", "error", "finish_reason 'abort'")),
        ("abc", None, None, Generated("abc", "error", "finish_reason None")),
    ],
)
def test_each_way_to_end_is_told_apart(opened, text, finish, stop_reason, expected):
    model = opened()
    model._engine.answer = CompletionOutput(
        0, text, [], finish_reason=finish, stop_reason=stop_reason
    )
    made = model.generate(["a", "b"], max_new_tokens=5, stop=["\n"], max_characters=6)
    assert made == [expected, expected]
    [(prompts, limits)] = model._engine.asked
    assert limits == SamplingParams(temperature=0.0, stop=["\n"], max_tokens=5, logprobs=0)
    assert prompts == [{"prompt_token_ids": [0, 3]}, {"prompt_token_ids": [0, 4]}]


def test_a_prompt_that_does_not_fit_is_an_error_of_its_own(opened):
    model = opened()
    model._engine.answer = CompletionOutput(0, "x", [], finish_reason="stop")
    made = model.generate(["c", "c" * 40, "d"], max_new_tokens=6)
    assert [m.ended for m in made] == ["end", "error", "end"]
    assert made[1].note == "41 tokens, 10 fit into the context"
    assert model.generate([], max_new_tokens=6) == []


def test_a_rendered_template_does_not_get_a_second_start_mark(opened):
    model = opened({"chat_template": "a template"})
    model._engine.answer = CompletionOutput(0, "x", [], finish_reason="stop")
    prompt = model.render("a", "b")
    assert prompt == "<s>a\nb"
    model.generate([prompt, ""], max_new_tokens=2)
    assert [p["prompt_token_ids"] for p in model._engine.asked[0][0]] == [[0, 3, 13, 4], [0]]
    assert model.count(["a", "<s>a"]) == [2, 2]
    assert model.chat([[("user", "ab")], [("user", "c")]]) == ["<s>ab", "<s>c"]
    with pytest.raises(UsageError, match="leaves out turns, the assistant's 'j'"):
        model.chat([[("user", "a"), ("assistant", "j"), ("user", "b")]])
    assert opened({"chat_template": None}).render("a", "") == "a\n"
    assert opened({"chat_template": None}).chat([[("user", "a")]]) == []


def test_answers_that_are_missing_are_noticed(opened):
    model = opened()
    model._engine.lose = 1
    with pytest.raises(YoriaiError, match="answered 1 of 2"):
        model.generate(["a", "b"], max_new_tokens=2)


def test_an_answer_of_weights_that_are_no_numbers_is_refused(opened):
    model = opened()
    model._engine.answer = CompletionOutput(0, "abc", [1], float("nan"), None, "stop")
    with pytest.raises(YoriaiError, match="no finite number"):
        model.generate(["a"], max_new_tokens=4)
