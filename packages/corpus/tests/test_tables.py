"""Tables of a corpus that somebody else sealed: a digest does not make a table of a file."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from yoriai import Altered
from yoriai_corpus.tables import DOCUMENTS, read_rows


@pytest.mark.parametrize("columns", [None, ["source", "id"]])
def test_a_file_without_the_columns_of_its_folder_is_refused(
    tmp_path: Path, columns: list[str] | None
) -> None:
    path = tmp_path / "documents" / "00000.parquet"
    path.parent.mkdir()
    pq.write_table(pa.table({"zzz": [1, 2]}), path)
    with pytest.raises(Altered, match="no table of documents: no column 'source'"):
        list(read_rows(path, columns))


@pytest.mark.parametrize("name", ["source", "id", "text"])
def test_rows_without_source_id_or_text_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "documents" / "00000.parquet"
    path.parent.mkdir()
    rows = {column: [None if column == name else "a"] for column in DOCUMENTS.names}
    pq.write_table(pa.table(rows, schema=DOCUMENTS), path)
    with pytest.raises(Altered, match=f"rows without a {name}"):
        list(read_rows(path))
