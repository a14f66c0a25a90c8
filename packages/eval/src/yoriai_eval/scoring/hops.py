"""From a row of scores to its prompt, its answer and its model, for ``yoriai explain``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from yoriai import Artifact, NotFound, Sample, files
from yoriai.explaining import Hop, Point, checked, corpora_of, find_index, parents
from yoriai_eval.scoring import rescoring
from yoriai_eval.scoring.protocol import Exam
from yoriai_eval.scoring.rows import SAMPLES, rows_of

SHOWN = 300  # characters of a prompt or an answer


def hops(point: Point) -> Iterator[Hop]:
    """The score, the prompt, the answer and the model of a sample; nothing for other points.

    Raises :class:`yoriai.NotFound` for a sample that is not there, and
    :class:`yoriai.Altered` where the rows are not those that were sealed.
    """
    if point.kind != "sample":
        return
    scores = point.artifact
    row = _row(point)
    sealed = scores.manifest["files"][SAMPLES]["sha256"]
    by = f"{SAMPLES} of {scores.name} is that of sha256 {sealed[:12]}"
    told = row.get("score", f"{row.get('bits', 0):.1f} bits of {row.get('bytes', 0)} bytes")
    reason = f", {row['reason']}" if "reason" in row else ""
    says = f"{row['model']} on {row['task']}, sample {row['id']}: {told}{reason}"
    kept = {k: v for k, v in row.items() if k != "output"}
    yield Hop(kind="score", says=says, state="checked", by=by, facts=kept)
    exam, sample, problem = _question(point, row)
    yield _prompt(exam, sample, row, problem)
    model = _model(scores, row["model"])
    answer, text = _answer(sample, row)
    yield Hop(kind="answer", says=answer[:SHOWN] or "(nothing)", state="checked", by=by,
              leads_to=_texts(scores, model, text))  # fmt: skip
    if text and not _texts(scores, model, text):
        why = "no index of the model's corpus lies beside the scores: add a corpus/index step"
        says = "what of the answer stands in the corpus"
        yield Hop(kind="spans", says=says, state="broken", by=why)
    if model is None:
        yield Hop(kind="model", says=row["model"], state="broken", by=_gone(scores, row["model"]))
        return
    state, why = checked(model)
    yield Hop(kind="model", says=f"{model.name} ({model.digest[:12]})", state=state, by=why,
              leads_to=[Point(kind="model", artifact=model)])  # fmt: skip


def _row(point: Point) -> dict[str, Any]:
    found = None
    names: list[str] = []
    for row in rows_of(point.artifact):  # to the end, so that all bytes are compared
        wanted = (
            row["id"] == point.name
            and (not point.model or row["model"] == point.model)
            and (not point.task or point.task in (row["task"], row["task"].rpartition("/")[2]))
        )
        if wanted and (found is None or ("output" in row and "output" not in found)):
            found = row if found is None or found["model"] == row["model"] else found
        if len(names) < 3 and row["id"] not in names:
            names.append(row["id"])
    if found is None:
        raise NotFound(
            f"{point.artifact.name} has no sample {point.name!r} of this model and task",
            hint=f"its samples are called {', '.join(names)} …: yoriai eval samples "
            f"{point.artifact.path}",
        )
    return found


def _question(point: Point, row: dict[str, Any]) -> tuple[Exam | None, Sample | None, str]:
    if point.registry is None:
        return None, None, "no registry to build the question with"
    try:
        asked = rescoring.questions(point.artifact, point.registry)
        exam = asked.exam(row["task"], row.get("form", "bits-per-byte"))
        if exam is None:
            return None, None, "the run had no such exam"
        for sample in asked.samples(exam):
            if sample.id == row["id"]:
                return exam, sample, ""
    except NotFound as error:
        return None, None, error.message
    return exam, None, "the data has no such sample any more"


def _prompt(exam: Exam | None, sample: Sample | None, row: dict[str, Any], problem: str) -> Hop:
    if exam is None or sample is None:
        return Hop(kind="prompt", says="the question", state="broken", by=problem)
    if "prompt_sha256" not in row:
        return Hop(kind="prompt", says=sample.text[:SHOWN], state="unchecked",
                   by="a text that was read has no prompt")  # fmt: skip
    text = rescoring.prompt(exam, sample, row.get("shots"))
    if text is None:
        why = "the model's own template made the prompt, which is not rendered here"
        return Hop(kind="prompt", says=sample.text[:SHOWN], state="unchecked", by=why)
    here = files.digest_bytes(text.encode("utf-8", "surrogatepass"))
    same = here == row["prompt_sha256"]
    return Hop(
        kind="prompt", says=text[-SHOWN:], state="checked" if same else "broken",
        by=f"its sha256 {here[:12]} is that of the row" if same
        else f"built again it is {here[:12]}, the row has {row['prompt_sha256'][:12]}: the data or "
        "the protocol is another",
    )  # fmt: skip


def _answer(sample: Sample | None, row: dict[str, Any]) -> tuple[str, str]:
    """The answer in words, and the text whose spans are looked for."""
    if "output" in row:
        return row["output"], row["output"]
    picked = row.get("picked")
    if sample is not None and isinstance(picked, int) and picked < len(sample.choices):
        return sample.choices[picked], sample.text + sample.choices[picked]
    return (sample.text, sample.text) if sample is not None else ("", "")


def _model(scores: Artifact, name: str) -> Artifact | None:
    found = [a for _, _, a, _ in parents(scores) if a is not None and a.kind == "model"]
    return next((a for a in found if a.step == name), None)


def _gone(scores: Artifact, name: str) -> str:
    told = [f"{n}: {problem}" for n, _, a, problem in parents(scores) if a is None]
    return "; ".join(told) or f"{name} is no sealed model: it was named under 'models'"


def _texts(scores: Artifact, model: Artifact | None, text: str) -> Sequence[Point]:
    index = find_index(scores, corpora_of(model) if model else set())
    if index is None or not text:
        return ()
    return [Point(kind="text", artifact=index, text=text, of=model)]
