"""The backend against a loop that reads one text at a time, token by token."""

import json
import shutil

import pytest

from yoriai import UsageError, YoriaiError
from yoriai_eval.backends.huggingface import HuggingFace

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

PAIRS = [
    ("ファイルを", "開く。"),
    ("ファイルを", "開け"),
    ("", "no context"),
    ("open the", " file"),
    ("x" * 60, "longer than the model's context"),
    ("ab", "ba"),
    ("a", ""),
]
TEXTS = ["短い", "a", "", "exactly thirty-two bytes long!!!", "x y " * 30, "日本語の文章。" * 4]
PROMPTS = ["Q: a", "ファイル", "", "x" * 24, "def f", "1 2 3"]


class Naive:
    """The same model, asked without batches, padding or cache."""

    def __init__(self, folder):
        self.model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)

    def ids(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False)

    def after(self, ids):
        with torch.no_grad():
            return self.model(torch.tensor([ids])).logits[0, -1].double().log_softmax(-1)

    def total(self, given, wanted):
        """Sum of log-probabilities of ``wanted`` after ``given``, at most 32 tokens back."""
        total, ids = 0.0, list(given)
        for token in wanted:
            total += float(self.after(ids)[token])
            ids.append(token)
        return total

    def greedy(self, prompt, count):
        ids = self.ids(prompt)[-(32 - count) :] or [2]
        made = []
        while len(made) < count:
            token = int(self.after(ids + made).argmax())
            made.append(token)
            if token == 2:
                break
        return self.tokenizer.decode(made, skip_special_tokens=True)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Models this small are slower on several."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folder(make):
    return make.model().path


@pytest.fixture(scope="module")
def naive(folder):
    return Naive(folder)


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_likelihoods_are_those_of_one_token_at_a_time(folder, naive, batch):
    expected, fitting = [], []
    model = HuggingFace(batch=batch).open(folder)
    for pair in PAIRS:
        head, tail = map(naive.ids, pair)
        if len(head) + len(tail) <= 32:
            fitting.append(pair)
            expected.append(naive.total([2, *head], tail))
        else:
            with pytest.raises(UsageError, match=r"tokens, 33 fit into the context"):
                model.loglikelihood([pair])
    assert 3 < len(fitting) < len(PAIRS)
    made = model.loglikelihood(fitting)
    assert made == pytest.approx(expected, abs=1e-4)
    assert made[-1] == 0.0


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_a_text_is_read_in_windows_that_touch_and_never_overlap(folder, naive, batch):
    expected = []
    for text in TEXTS:
        ids = [2, *naive.ids(text)]
        windows = [ids[place : place + 33] for place in range(0, len(ids) - 1, 32)]
        assert sum(len(w) - 1 for w in windows) == len(ids) - 1
        expected.append(sum(naive.total(w[:1], w[1:]) for w in windows))
    made = HuggingFace(batch=batch).open(folder).rolling_loglikelihood(TEXTS)
    assert made == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_greedy_text_is_that_of_the_most_likely_token_each_time(folder, naive, batch):
    expected = [naive.greedy(prompt, 8) for prompt in PROMPTS]
    made = HuggingFace(batch=batch).open(folder).generate(PROMPTS, max_new_tokens=8)
    assert [m.text for m in made] == expected
    assert len({m.text for m in made}) > 2


def test_an_answer_may_not_be_longer_than_the_context(folder):
    [text] = HuggingFace().open(folder).generate(["abc"], max_new_tokens=500)
    assert isinstance(text.text, str)


def test_choices_of_one_context_are_scored_from_the_same_border(make):
    # "ab" is one piece, so one choice takes the last letter of the context into its first piece.
    folder = make.model(merges=[("a", "b")]).path
    naive, model = Naive(folder), HuggingFace().open(folder)
    made = model.loglikelihood([("xa", "b"), ("xa", "c"), ("ya", "c")])
    both = [naive.ids("xab"), naive.ids("xac")]
    assert [len(ids) for ids in both] == [2, 3]
    assert made[0] == pytest.approx(naive.total([2, *both[0][:1]], both[0][1:]), abs=1e-4)
    assert made[1] == pytest.approx(naive.total([2, *both[1][:1]], both[1][1:]), abs=1e-4)
    alone = naive.ids("yac")
    assert made[2] == pytest.approx(naive.total([2, *alone[:2]], alone[2:]), abs=1e-4)


def test_prompts_have_the_form_of_the_models_own_template(folder):
    model = HuggingFace().open(folder)
    assert model.render("Name it", "this") == "Q: Name it\nthis\nA: "
    assert model.render("Name it", "") == "Q: Name it\nA: "


TURNS = [("user", "寄合 1"), ("assistant", "はい"), ("user", "寄合 2")]
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content | trim }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
BRACKETS = (
    "{{ bos_token }}{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}{% if m.role == 'user' %}"
    "[INST] {{ m.content }} [/INST]{% else %}{{ m.content }}{{ eos_token }}{% endif %}{% endfor %}"
)


@pytest.mark.parametrize(
    ("template", "rendered"),
    [
        (
            CHATML,
            "<|im_start|>user\n寄合 1<|im_end|>\n<|im_start|>assistant\nはい<|im_end|>\n"
            "<|im_start|>user\n寄合 2<|im_end|>\n<|im_start|>assistant\n",
        ),
        (BRACKETS, "<s>[INST] 寄合 1 [/INST]はい</s>[INST] 寄合 2 [/INST]"),
    ],
)
def test_turns_have_the_form_that_the_folder_says(make, template, rendered):
    model = HuggingFace().open(make.model(template=template).path)
    assert model.chat([TURNS]) == [rendered]
    assert model.chat([]) == []


def test_a_template_that_leaves_out_answers_or_refuses_turns_is_named(folder, make):
    model = HuggingFace().open(folder)  # its template shows what the user says, and nothing else
    with pytest.raises(UsageError, match="leaves out turns, the assistant's 'はい'"):
        model.chat([TURNS])
    model = HuggingFace().open(make.model(template=BRACKETS).path)
    with pytest.raises(UsageError, match="refuses examples as turns: roles must alternate"):
        model.chat([TURNS[1:]])
    assert HuggingFace().open(make.model(template=False).path).chat([TURNS]) == []


def test_a_model_without_template_or_marks_can_still_be_asked(make):
    model = HuggingFace(batch=2).open(make.model(marks=False, template=False).path)
    assert model.render("Name it", "this") == "Name it\nthis\n"
    assert len(model.generate(["abc", "", "a longer prompt"], max_new_tokens=4)) == 3
    assert all(value < 0 for value in model.rolling_loglikelihood(["a", "bb"]))
    assert all(value < 0 for value in model.loglikelihood([("a", "b"), ("", "c")]))


def test_opening_draws_no_bars_on_stderr_and_gives_tqdm_back(folder, capfd):
    from tqdm.std import tqdm

    from yoriai_eval.backends.huggingface import no_bars

    former = tqdm.__init__
    HuggingFace().open(folder)
    with no_bars():
        assert list(tqdm(range(3), desc="a bar", disable=False)) == [0, 1, 2]
    assert capfd.readouterr().err == ""
    assert tqdm.__init__ is former


def test_a_quantised_folder_opens_in_silence(make, tmp_path, capfd):
    pytest.importorskip("compressed_tensors")
    from safetensors.torch import load_file, save_file

    shutil.copytree(make.model(tie_word_embeddings=False).path, tmp_path / "q")
    (tmp_path / "q" / "artifact.json").unlink()  # a plain folder, whose bytes nobody sealed
    tensors, name = load_file(tmp_path / "q" / "model.safetensors"), "lm_head.weight"
    packed = torch.zeros(len(tensors[name]), 8, dtype=torch.int32)
    tensors |= {
        "lm_head.weight_packed": packed,
        "lm_head.weight_scale": torch.ones(len(packed), 1),
        "lm_head.weight_shape": torch.tensor(tensors.pop(name).shape),
    }
    save_file(tensors, tmp_path / "q" / "model.safetensors", metadata={"format": "pt"})
    weights = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel"}
    config = json.loads((tmp_path / "q" / "config.json").read_text())
    config["quantization_config"] = {
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "quantization_status": "compressed",
        "config_groups": {"group_0": {"targets": ["re:lm_head"], "weights": weights}},
    }
    (tmp_path / "q" / "config.json").write_text(json.dumps(config))
    capfd.readouterr()
    model = HuggingFace().open(tmp_path / "q")
    # Packed zeros are -128 each: every logit is the same, so every piece is equally likely.
    value = model.rolling_loglikelihood(["ab"])[0]
    assert value == pytest.approx(-2 * torch.tensor(260.0).log().item(), abs=1e-3)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("plain", [False, True])
def test_text_from_weights_that_are_no_numbers_is_refused_as_likelihoods_are(make, plain):
    model = HuggingFace().open(make.model(nan=True).path)
    if plain:
        model.reader.span = 0  # nothing fits, so that transformers' own loop writes
    with pytest.raises(YoriaiError, match="gives no finite number") as told:
        model.generate(["ab"], max_new_tokens=4)
    assert "yoriai verify" in told.value.hint


def test_one_row_of_an_embedding_that_is_no_number_is_seen_though_no_prompt_holds_it(make):
    import safetensors.torch

    place = make.model().path
    held = safetensors.torch.load_file(place / "model.safetensors")
    weights = {name: value.clone() for name, value in held.items()}
    weights["lm_head.weight"][-1] = float("nan")
    copy = place.parent / "broken"
    copy.mkdir()
    for file in place.iterdir():
        if file.is_file() and file.name != "artifact.json":
            (copy / file.name).write_bytes(file.read_bytes())
    safetensors.torch.save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(YoriaiError, match="gives no finite number"):
        HuggingFace().open(copy).generate(["ab"], max_new_tokens=4)
