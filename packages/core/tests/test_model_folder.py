"""Folders that somebody else made are data: refused in words, and never run."""

import json
import os
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from yoriai import NotFound, Refused, model_folder
from yoriai.model_folder import check, opening, render, whole

PACKAGES = Path(__file__).parents[2]


def test_what_a_library_raises_is_one_short_refusal():
    with pytest.raises(Refused, match="is refused as a model: ") as told, opening("m"):
        raise ValueError("x" * 5000)
    assert len(told.value.message) < 400
    with pytest.raises(Refused, match="`kernels` is not installed"), opening("m"):
        raise ImportError("`kernels` is not installed")  # what the folder asks for
    with pytest.raises(Refused, match="code of its own, which is never done"), opening("m"):
        raise ValueError("Please pass the argument `trust_remote_code=True` to allow custom code")


@pytest.mark.parametrize("error", [NotFound("no"), ModuleNotFoundError("torch"), MemoryError()])
def test_our_own_errors_and_those_of_the_machine_pass(error):
    with pytest.raises(type(error)) as told, opening("m"):
        raise error
    assert told.value is error


def test_every_call_that_opens_a_folder_is_told_to_run_nothing():
    calls = 0
    for path in PACKAGES.glob("*/src/**/*.py"):
        text = path.read_text(encoding="utf-8")
        for found in re.finditer(r"[=(]\s*(Auto\w+)\.from_pretrained\((.{,150})", text, re.DOTALL):
            if found[2].startswith('"FOLDER"'):  # a line that a model card shows to its readers
                continue
            calls += 1
            wanted = "WEIGHTS" if "Model" in found[1] else "AS_DATA"
            assert wanted in found[2] or "**weights" in found[2], f"{path}: {found[0]}"
    assert calls or not (PACKAGES / "train").exists()


CONFIGS = {
    "a kernel of the Hub": ({"_attn_implementation": "somebody/evil"}, "code of the Hub"),
    "a kernel in a part": ({"text_config": {"attn_implementation": "a/b:c"}}, "code of the Hub"),
    "a kernel by the switch": ({"use_kernels": True}, "code of the Hub"),
    "a kernel of a part": ({"attn_implementation": {"": "a/b"}}, "code of the Hub"),
    "labels without end": ({"num_labels": 10**9}, "num_labels: 1000000000"),
    "experts without end": ({"n_routed_experts": 10**6}, "n_routed_experts: 1000000"),
    "experts of a part": ({"ffn_config": {"moe_num_experts": 10**6}}, "moe_num_experts: 1000000"),
    "values without end": ({"a": [0] * 60_000}, "more than 50,000 values"),
    "no number": ({"rope": {"factor": float("nan")}}, "says factor: NaN"),
    "no pieces": ({"vocab_size": 0}, "says vocab_size: 0, where a whole number from 1 on"),
    "pieces in a list": ({"vocab_size": [1]}, "vocab_size: [1]"),
    "a context of letters": ({"max_position_embeddings": "\x1b[2J"}, r"'\x1b[2J'"),
    "half a layer": ({"num_hidden_layers": 2.5}, "num_hidden_layers: 2.5"),
    "layers without end": ({"num_hidden_layers": 10**9}, "num_hidden_layers: 1000000000"),
    "layers in a part": ({"text_config": [{"n_layer": 10**5}]}, "n_layer: 100000"),
    "a width of a planet": ({"hidden_size": 10**12}, "hidden_size"),
    "a negative width": ({"n_embd": -16}, "n_embd: -16"),
}


@pytest.mark.parametrize("case", CONFIGS)
def test_a_configuration_that_runs_code_or_never_ends_is_refused_unread(case, tmp_path):
    config, said = CONFIGS[case]
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", **config}))
    with pytest.raises(Refused, match=re.escape(said)), opening(tmp_path):
        pytest.fail("it was opened")


def test_a_configuration_nested_deeply_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"a":' * 3_000 + "1" + "}" * 3_000)
    with pytest.raises(Refused, match=r"nested without end|cannot be read"):
        check(tmp_path)


def test_configurations_of_real_models_pass(tmp_path):
    config = {
        "num_hidden_layers": 126, "hidden_size": 16384, "vocab_size": 256_000,
        "max_position_embeddings": 10_485_760, "rope_theta": 1e11, "sliding_window": -1,
        "_attn_implementation": "flash_attention_2", "attn_implementation": None,
        "layer_types": ["full_attention"] * 126, "dtype": "bfloat16", "use_kernels": False,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    check(tmp_path)


@pytest.mark.parametrize(
    "name", ["../other/model.safetensors", "/etc/model.safetensors", "a/b.safetensors", "x.bin",
             ".hidden.safetensors", "\ud800.safetensors", 3, None]
)  # fmt: skip
def test_an_index_names_safetensors_of_the_folder_only(name, tmp_path):
    index = {"weight_map": {"a": "model-1.safetensors", "b": name}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(Refused, match=r"index\.json names"):
        check(tmp_path)


@pytest.mark.parametrize("weights", ["model.safetensors", ["model.safetensors"], 3])
def test_an_index_is_a_mapping(weights, tmp_path):
    (tmp_path / model_folder.INDEX).write_text(json.dumps({"weight_map": weights}))
    with pytest.raises(Refused, match=r"index\.json names None"):
        check(tmp_path)


def test_a_name_that_is_no_text_is_refused(tmp_path):
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/a\xff.json")).write_text("{}")
    with pytest.raises(Refused, match=r"'a\\udcff\.json' is a name of a file that is no text"):
        check(tmp_path)


LONGER = {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}
BOMBS = {
    "one long text": {"normalizer": {**LONGER, "content": "a" * 1000}},
    "doubled again and again": {"normalizer": {"type": "Sequence", "normalizers": [LONGER] * 60}},
    "bytes of bytes": {"pre_tokenizer": {"pretokenizers": [{"type": "ByteLevel"}] * 40}},
    "a long beginning": {"normalizer": {"type": "Prepend", "prepend": "x" * 1000}},
}


@pytest.mark.parametrize("case", BOMBS)
def test_a_tokenizer_that_makes_texts_long_is_refused_unread(case, tmp_path):
    (tmp_path / "tokenizer.json").write_text(json.dumps(BOMBS[case]))
    with pytest.raises(Refused, match=r"tokenizer\.json is refused: .* times as long"):
        check(tmp_path)
    (tmp_path / "tokenizer.json").write_text(json.dumps({"normalizer": LONGER, "model": {}}))
    check(tmp_path)


def test_a_tokenizer_without_end_is_not_read_to_it(tmp_path, monkeypatch):
    monkeypatch.setattr(model_folder, "MOST_TOKENIZER_BYTES", 100)
    (tmp_path / "tokenizer.json").write_text(" " * 101)
    with pytest.raises(Refused, match=r"tokenizer\.json has more than 100 bytes"):
        check(tmp_path)


@pytest.mark.parametrize("text", ["[" * 100_000, "[]", "{", "\x00", '{"a": ' + "9" * 5000 + "}"])
@pytest.mark.parametrize("name", ["config.json", "model.safetensors.index.json"])
def test_a_file_that_is_no_mapping_is_refused_with_its_place(name, text, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(Refused, match=re.escape(f"{name} cannot be read")):
        check(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors.index.json"])
def test_a_file_without_end_is_not_read_to_it(name, tmp_path, monkeypatch):
    monkeypatch.setattr(model_folder, "MOST_BYTES", 100)
    monkeypatch.setattr(model_folder, "MOST_INDEX_BYTES", 100)
    (tmp_path / name).write_text('{"weight_map": {"a": "' + "x" * 100 + '.safetensors"}}')
    with pytest.raises(Refused, match=f"{re.escape(name)} cannot be read: more than 100 bytes"):
        check(tmp_path)


ODD = {
    "a link that leads outside": lambda path: path.symlink_to("/etc/passwd"),
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "a link to nowhere": lambda path: path.symlink_to("nothing"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a pipe": os.mkfifo,
}


@pytest.mark.parametrize("case", ODD)
def test_links_that_lead_outside_and_pipes_are_refused(case, tmp_path):
    ODD[case](tmp_path / "tokenizer.model")
    said = "is no file" if case == "a pipe" else "is a link that leads outside or nowhere"
    with pytest.raises(Refused, match=f"tokenizer.model {said}") as told, opening(tmp_path):
        pytest.fail("it was opened")
    assert told.value.hint.startswith(f"rm {tmp_path / 'tokenizer.model'}")


def test_links_within_a_folder_and_those_of_the_cache_of_the_hub_pass(tmp_path):
    snapshot = tmp_path / "models--a--b" / "snapshots" / "main"
    (tmp_path / "models--a--b" / "blobs").mkdir(parents=True)
    (tmp_path / "models--a--b" / "blobs" / "0123").write_text("{}")
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").symlink_to("../../blobs/0123")
    (snapshot / "generation_config.json").symlink_to("config.json")
    check(snapshot)


def test_weights_that_are_not_there_are_not_drawn_by_lot():
    told = {"missing_keys": {"lm_head.weight"}, "mismatched_keys": set()}
    model = SimpleNamespace(config=SimpleNamespace())
    with pytest.raises(Refused, match=r"1 are not there, .* such as lm_head.weight"):
        whole((model, told), "m")
    assert whole((model, {"missing_keys": set()}), "m") is model
    quantised = SimpleNamespace(config=SimpleNamespace(quantization_config={"bits": 4}))
    assert whole((quantised, told), "m") is quantised


TEMPLATES = {
    "loops without end": (
        "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}"
        "{% endfor %}{% endfor %}{% endfor %}", "did not end within 0.2 seconds"),
    "a text that doubles": (
        "{% set n = namespace(x='a') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}"
        "{% endfor %}{{ n.x }}", "asks for more than"),
    "a text of many bytes": ("{{ 'a' * 10**12 }}", "asks for more than"),
    "a format of many bytes": ("{{ '%1000000000000d' % 1 }}", "asks for more than"),
    "itself": ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "calls itself without end"),
    "no number": ("{{ 1 // 0 }}", "ZeroDivisionError"),
    "a wrong sum": ("{{ 'a' + 1 }}", "TypeError"),
}  # fmt: skip


@pytest.mark.parametrize("case", TEMPLATES)
def test_a_chat_template_is_bounded_in_time_and_memory(case, monkeypatch):
    sandbox = pytest.importorskip("jinja2.sandbox")
    resource = pytest.importorskip("resource")
    text, said = TEMPLATES[case]
    made = sandbox.ImmutableSandboxedEnvironment().from_string(text)
    monkeypatch.setattr(model_folder, "RENDER_SECONDS", 0.2 if "end within" in said else 60)
    before = resource.getrlimit(resource.RLIMIT_AS)
    with pytest.raises(Refused, match=f"the chat template of m .*{said}"):
        render(made.render, "m")
    assert resource.getrlimit(resource.RLIMIT_AS) == before


def test_a_chat_template_that_is_good_or_refuses_by_itself_passes():
    jinja2 = pytest.importorskip("jinja2")
    assert render(lambda: "text", "m") == "text"
    with pytest.raises(jinja2.TemplateError):
        render(jinja2.Template("{{ a.b.c }}").render, "m")


def test_a_damaged_header_is_a_refusal_of_the_folder(tmp_path):
    safetensors = pytest.importorskip("safetensors")
    (tmp_path / "model.safetensors").write_bytes(b"\x80\x04pickle")
    with pytest.raises(Refused, match="is refused as a model"), opening(tmp_path):
        safetensors.safe_open(tmp_path / "model.safetensors", framework="np")
