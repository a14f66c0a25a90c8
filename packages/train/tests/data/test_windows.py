"""Windows of tokens against the bytes of the shards, read by hand."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yoriai import UsageError, YoriaiError
from yoriai.errors import Altered
from yoriai.mixture import build_mixture
from yoriai.shards import ShardWriter
from yoriai_train.data import windows as data
from yoriai_train.steps.pretrain import Pretrain


def write(folder, shards: dict[str, list[list[list[int]]]], size: int):
    """Shards by name, each a list of files, each a list of documents."""
    folder.mkdir()
    told = {}
    for name, held in shards.items():
        stems = [f"{name}-{n}" for n in range(len(held))]
        count = 0
        for stem, documents in zip(stems, held, strict=True):
            writer = ShardWriter(folder / stem, size)
            count += sum(writer.add(document) for document in documents)
            writer.close()
        told[name] = {"files": stems, "tokens": count, "documents": sum(map(len, held))}
    weights = {name: float(row["tokens"] > 0) for name, row in told.items()}
    value = {"tokenizer": "", "vocabulary_size": size, "end_id": 0, "shards": told}
    build_mixture({**value, "phases": [{"name": "main", "weights": weights}]}).save(folder)
    return folder


@pytest.mark.parametrize(("size", "code", "width"), [(300, "H", 2), (70_000, "i", 4)])
def test_windows_are_the_tokens_of_the_bin_file(tmp_path, size, code, width):
    rows = [[(7 * i + j) % size for j in range(1, 11)] for i in range(9)]
    folder = write(tmp_path / "t", {"ja": [rows], "en": [rows[::-1]]}, size)
    samples = data.Samples(folder, 8, 1)
    made = samples.batch(range(40))
    assert samples.windows.counts == {"ja": 11, "en": 11}  # (90 - 1) // 8
    assert made.dtype == np.int64
    for row, shard, window in zip(made, *samples.order.draw(range(40)), strict=True):
        blob = (folder / f"{samples.order.names[shard]}-0.bin").read_bytes()
        start = window * 8 * width
        assert list(struct.unpack(f"<9{code}", blob[start : start + 9 * width])) == row.tolist()


FILES = st.lists(
    st.lists(st.integers(1, 12), max_size=5), min_size=1, max_size=5
)  # lengths of documents, by file; a file may be empty


@settings(max_examples=60, deadline=None)
@given(st.lists(FILES, min_size=1, max_size=3), st.integers(1, 20), st.data())
def test_windows_documents_and_positions_are_those_of_the_texts_one_after_the_other(
    tmp_path_factory, shards, context, data_of
):
    number = iter(range(10**6))
    texts = {
        f"s{n}": [[[next(number) for _ in range(length)] for length in file] for file in files]
        for n, files in enumerate(shards)
    }
    folder = tmp_path_factory.mktemp("shards") / "t"
    if not any(document for files in texts.values() for file in files for document in file):
        return
    write(folder, texts, 2**20)
    windows = data.Windows(folder, context)
    asked = [
        (n, w) for n, name in enumerate(texts) for w in range(windows.counts[name])
    ]  # fmt: skip
    asked = data_of.draw(st.permutations(asked))
    shard, window = np.array(asked, dtype=np.int64).reshape(-1, 2).T
    rows = windows.rows(shard, window)
    documents, positions = windows.boundaries(shard, window)
    for row, (n, w) in enumerate(asked):
        owner, flat, places = [], [], []
        for file_number, file in enumerate(texts[f"s{n}"]):
            for document_number, document in enumerate(file):
                for place, token in enumerate(document):
                    owner.append((f"s{n}-{file_number}", document_number))
                    flat.append(token)
                    places.append(place)
        here = slice(w * context, (w + 1) * context + 1)
        assert rows[row].tolist() == flat[here]
        owners = owner[here]
        order = list(dict.fromkeys(owners))
        assert documents[row].tolist() == [order.index(item) for item in owners]
        began = {item: owners.index(item) for item in order}
        assert positions[row].tolist() == [c - began[item] for c, item in enumerate(owners)]
        pieces = list(windows.texts[n].pieces(w * context, context + 1))
        assert [(p.file, p.document) for p in pieces] == order
        for piece in pieces:
            tokens = texts[f"s{n}"][int(piece.file.rpartition("-")[2])][piece.document]
            assert piece.length == len(tokens)
            part = tokens[piece.first : piece.stop]
            assert rows[row, piece.column : piece.column + len(part)].tolist() == part


def test_neighbouring_windows_share_one_token_so_each_token_is_predicted_once(tmp_path):
    folder = write(tmp_path / "t", {"ja": [[list(range(1, 34))]]}, 64)
    windows = data.Windows(folder, 8)
    targets = windows.rows(np.zeros(4, dtype=np.int64), np.arange(4))[:, 1:]
    assert targets.flatten().tolist() == list(range(2, 34))


def test_a_text_shorter_than_the_context_has_no_window_and_an_empty_shard_none(tmp_path):
    folder = write(tmp_path / "t", {"ja": [[[1, 2, 3]]], "en": [[]]}, 64)
    assert data.Windows(folder, 8).counts == {"ja": 0, "en": 0}


def test_opening_reads_no_tokens_and_maps_nothing(tmp_path):
    folder = write(tmp_path / "t", {f"s{n}": [[[1, 2, 3] * 9]] for n in range(40)}, 64)
    windows = data.Windows(folder, 8)
    assert not any(text._tokens or text._offsets for text in windows.texts)
    windows.rows(np.array([7]), np.array([1]))
    assert [n for n, text in enumerate(windows.texts) if text._tokens] == [7]


def test_more_files_than_the_system_lets_a_process_open_can_be_read(tmp_path):
    import resource

    folder = write(tmp_path / "t", {"s": [[[n % 60] * 9] for n in range(120)]}, 64)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
    try:
        windows = data.Windows(folder, 8)
        count = windows.counts["s"]
        rows = windows.rows(np.zeros(count, dtype=np.int64), np.arange(count))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert rows[:, 1:].flatten().tolist() == [n % 60 for n in range(120) for _ in range(9)][1:1073]


def test_shards_too_narrow_for_the_vocabulary_are_refused_by_name(tmp_path):
    folder = write(tmp_path / "t", {"ja": [[[1, 2, 3]]]}, 64)
    text = (folder / "mixture.yaml").read_text().replace("size: 64", "size: 70000")
    (folder / "mixture.yaml").write_text(text)
    with pytest.raises(UsageError, match=r"ja-0 holds 16-bit tokens, too narrow .* 70,000"):
        data.Windows(folder, 8)


def test_shards_of_another_recipe_are_refused(tmp_path):
    folder = write(tmp_path / "t", {"ja": [[[1, 2, 3]]]}, 64)
    other = write(tmp_path / "o", {"ja": [[[1, 2, 3, 4]]]}, 64)
    for end in (".bin", ".idx"):
        (other / f"ja-0{end}").rename(folder / f"ja-0{end}")
    with pytest.raises(Altered, match="gives 'ja' 3 tokens in 1 documents, its files hold 4 in 1"):
        data.Windows(folder, 8)


def test_a_shard_that_was_cut_is_refused_by_name(make, pieces, yoriai_job):
    def cut(folder):
        blob = (folder / "en.bin").read_bytes()
        (folder / "en.bin").write_bytes(blob[:-2])

    with pytest.raises(Altered, match=r"en\.bin has \d+ bytes, its index asks for"):
        yoriai_job("base", Pretrain(steps=1), [make.tokens(pieces, change=cut), pieces])


def test_shards_of_another_tokenizer_are_refused(make, pieces, shards, yoriai_job):
    other = make.tokenizer(template="other {{ messages }}")
    with pytest.raises(YoriaiError, match="written with another tokenizer than test/pieces@1"):
        yoriai_job("base", Pretrain(steps=1), [shards, other])


def test_a_training_beyond_a_cap_of_epochs_is_refused_before_it_starts(make, pieces, yoriai_job):
    phases = [{"name": "all", "weights": {"ja": 1}, "max_epochs": {"ja": 2}}]
    tokens = make.tokens(pieces, phases=phases)
    with pytest.raises(UsageError, match=r"'ja' to 2,048,000 tokens.* epochs, allowed 2"):
        yoriai_job("base", Pretrain(steps=1000), [tokens, pieces])


@pytest.mark.parametrize(
    ("size", "code", "wrong"), [(300, "<H", 300), (70_000, "<i", 70_000), (70_000, "<i", -1)]
)
def test_a_token_that_no_piece_has_is_named_with_its_file_and_place(tmp_path, size, code, wrong):
    folder = write(tmp_path / "t", {"ja": [[[1] * 20], [[2] * 20]]}, size)
    path = folder / "ja-1.bin"
    data_of = bytearray(path.read_bytes())
    struct.pack_into(code, data_of, 7 * struct.calcsize(code), wrong)
    path.write_bytes(data_of)
    samples = data.Samples(folder, 8, 1)
    with pytest.raises(Altered, match=rf"ja-1\.bin: token 7 is {wrong}, the vocabulary has"):
        samples.batch(range(8))


@pytest.mark.parametrize(
    ("place", "wrong"), [(34, 10**9), (34, -5), (34 + 2 * 4, 2**33), (34 + 2 * 12, 2**33)]
)
def test_an_index_that_is_false_about_a_document_is_refused(tmp_path, place, wrong):
    folder = write(tmp_path / "t", {"ja": [[[1] * 20, [2] * 20]]}, 64)
    path = folder / "ja-0.idx"
    false = bytearray(path.read_bytes())
    struct.pack_into("<i" if place == 34 else "<q", false, place, wrong)
    path.write_bytes(false)
    with pytest.raises(Altered, match=r"ja-0\.idx: (document 0|document 1|its documents)"):
        data.Windows(folder, 8)
