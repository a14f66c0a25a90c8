"""What a training says of itself besides its loss."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from yoriai_train.settings import spec as specs
from yoriai_train.steps.made import told_by


def test_a_folder_that_was_not_compared_with_its_model_is_said_to_be(tmp_path: Path) -> None:
    job = cast(Any, SimpleNamespace(scratch=tmp_path, out=tmp_path))
    assert "too large" in told_by(job)["gate_not_asked"]
    (tmp_path / specs.PARITY).write_text('{"logits": {"found": 0.0}}')
    told = told_by(job)
    assert told["gate"] == {"logits": {"found": 0.0}}
    assert "gate_not_asked" not in told
