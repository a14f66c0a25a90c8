"""Records as somebody with bad intentions would write them."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

HEADINGS = ("Question", "What we did", "What happened", "What we learned",
            "What we would do differently")  # fmt: skip
IMAGE = "<img src=x onerror=alert('{}')>"
# What makes Markdown, or a browser, run something. {} is filled with the place it stands at.
STORIES = (
    IMAGE,
    "<script>alert('{}')</script>",
    "<svg onload=alert('{}')>",
    "text <b onmouseover=alert('{}')>bold</b>",
    "<details open ontoggle=alert('{}')><summary>x</summary></details>",
    "<iframe srcdoc='<script>parent.alert(`{}`)</script>'></iframe>",
    "<style>@import 'https://example.org/{}.css';</style>",
    "[click](javascript:alert('{}'))",
    "[click](&#106;avascript:alert('{}'))",
    "[click](java\tscript:alert('{}'))",
    "[click](<javascript:alert('{}')>)",
    "<javascript:alert('{}')>",
    "[a{}]: javascript:alert('{}')\n\n[a{}]",
    "[b{}]:\n  javascript:alert('{}')\n\n[b{}]",
    "![x](nothing.png){{: onerror=alert('{}') }}",
    "# heading {{: onclick=alert('{}') }}",
    "``` {{.py}}\n```\n" + IMAGE + "\n```\n",
    "  ```\n```\n" + IMAGE + "\n```\n",
    "> ```\n```\n" + IMAGE + "\n```\n",
    "a ` b\n` " + IMAGE + " `",
    "`a\n\n" + IMAGE + "`",
    '!!! note "' + IMAGE + '"\n    ' + IMAGE,
    "| a |\n|---|\n| " + IMAGE + " |",
    "<!-- --!>" + IMAGE + "<!-- -->",
    "<![CDATA[" + IMAGE + "]]>",
    "<?php " + IMAGE + " ?>",
    "![x](data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9YWxlcnQoMSk+)",
    "[click](data:text/html,<script>alert('{}')</script>)",
    "<meta http-equiv=refresh content='0;url=javascript:alert(1)'>",
    "<base href='https://example.org/'>",
    "<form action='https://example.org/'><button autofocus onfocus=alert('{}')>x</button></form>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=x "
    "onerror=alert(1)&gt;'>",
)
STRINGS = (*(s for s in STORIES if "\n" not in s), "\"'><img src=x onerror=alert('{}')>",
           "</textarea></script><script>alert('{}')</script>", "]]></title><svg/onload=alert(1)>",
           "| x |\n" + IMAGE, "\u202eexe.gpj", "\x1b]0;owned\x07")  # fmt: skip


def fill(text: str, place: str) -> str:
    return text.replace("{}", place).replace("{{", "{").replace("}}", "}")


def write_hostile_records(root: Path) -> int:
    """One record for every kind of attack, in every string that a record has; returns how many."""
    for number, attack in enumerate(STRINGS, 1):
        evil = fill(attack, f"string {number}")
        value = {
            "schema": 1, "id": f"{number:04d}", "title": {"en": evil, "ja": evil},
            "state": "ended", "opened": "2026-11-01", "ended": "2026-11-02", "tags": [evil],
            "package": evil, "hypothesis": evil,
            "predictions": [{"text": evil + " < 1", "measured": 2.0, "verdict": "failed"}],
            "execution": "failed", "verdict": "refuted",
            "failures": [{"cause": "unknown", "symptom": evil, "fix": evil, "prevention": evil}],
            "lessons": [{"text": {"en": evil, "ja": evil}}], "links": [evil],
        }  # fmt: skip
        _write(root, f"{number:04d}-string", value, "Words.")
    for number, attack in enumerate(STORIES, len(STRINGS) + 1):
        value = {
            "schema": 1, "id": f"{number:04d}", "title": {"en": f"Story {number}"},
            "state": "proposed", "opened": "2026-11-01",
        }  # fmt: skip
        _write(root, f"{number:04d}-story", value, fill(attack, f"story {number}"))
    return len(STRINGS) + len(STORIES)


def _write(root: Path, name: str, value: dict[str, object], story: str) -> None:
    folder = root / name
    (folder / "runs").mkdir(parents=True)
    # A control character must be written as an escape; YAML refuses it otherwise.
    (folder / "record.yaml").write_text(
        yaml.safe_dump(value, allow_unicode=False, sort_keys=False), encoding="utf-8"
    )
    parts = [f"# {name}", *(f"## {heading}\n\n{story}" for heading in HEADINGS)]
    (folder / "README.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    run = {"schema": 1, "id": name, "state": "completed", "steps": {}, "recipe": story}
    (folder / "runs" / f"{name}.json").write_text(json.dumps(run))
