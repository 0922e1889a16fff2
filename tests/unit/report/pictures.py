"""The pictures of docs/report.md: ``python -m tests.unit.report.pictures`` draws them again.

Needs a ``chromium`` (Debian: ``apt-get install --no-install-recommends chromium``). The reports
are of made-up traffic through the operator's own judgement, so they are the same every time.
"""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from modelhandoff.api.vocabulary import Outcome
from modelhandoff.report import compose, read, to_html
from tests.unit.report.exports import GOOD, at, attempt, changed, ended, untouched

IMAGES = Path(__file__).parents[3] / "docs" / "images"
_FRAME = (
    '<body style="margin:0;overflow:hidden;background:{back}"><iframe src="page.html" style="'
    'width:{width}px;height:9000px;border:0;display:block;margin:-{top}px auto 0"></iframe>'
)


def _candidate(version: str) -> dict[str, Any]:
    files = {"Model": "model.onnx", "Reference": "reference.json"}
    serving = "registry.example/serve@sha256:" + hashlib.sha256(b"serve").hexdigest()
    return {
        "model": {"version": version},
        "serving": {"image": serving},
        "artifacts": [
            {
                "role": role,
                "uri": f"https://models.example/{version}/{file}",
                "digest": "sha256:" + hashlib.sha256(f"{version} {file}".encode()).hexdigest(),
            }
            for role, file in files.items()
        ],
    }


def rolled_back() -> str:
    """A model whose scores drifted, with the attempt that had brought the version before."""
    first = attempt(
        untouched(Outcome.INITIAL, "Initial", "The first version.").but(promoted_at=at(-86400)),
        kind="Initial",
        ordinal=1,
        name="fraud-first",
        candidate=_candidate("1.3.2"),
    )
    traffic = {"errors": 0.004, "drift": 0.32, "median": 0.027}
    state = ended(traffic, Outcome.ROLLBACK, "HarmDetected")
    last = attempt(state, candidate=_candidate("1.4.0"))
    return to_html(compose(read([first, changed(last, ("status", "cursor"), "")])))


def promoted() -> str:
    """A model that is as good as the one before."""
    proofs = (
        "All proofs are current at look 40: errors, latency, scores (evidence for harm 0.43, "
        "rollback at 100)."
    )
    state = ended(GOOD, Outcome.PROMOTE, "ProofsComplete", message=proofs)
    return to_html(compose(read([attempt(state, candidate=_candidate("1.4.0"))])))


def draw(text: str, name: str, *, width: int, height: int, dark: bool, top: int = 0) -> Path:
    """One screenshot; chromium is never narrower than 500, so a phone stands in a frame."""
    out = IMAGES / f"{name}.png"
    with tempfile.TemporaryDirectory() as folder:
        page, frame = Path(folder, "page.html"), Path(folder, "frame.html")
        page.write_text(text, encoding="utf-8")
        back = "#2a2e35" if dark else "#fff"
        frame.write_text(_FRAME.format(width=width, top=top, back=back))
        subprocess.run(
            [
                "chromium",
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                "--allow-file-access-from-files",
                f"--user-data-dir={folder}/profile",
                f"--blink-settings=preferredColorScheme={0 if dark else 1}",
                f"--window-size={max(width, 500)},{height}",
                f"--screenshot={out}",
                frame.as_uri(),
            ],
            check=True,
            capture_output=True,
            timeout=120,
        )
    return out


if __name__ == "__main__":
    IMAGES.mkdir(parents=True, exist_ok=True)
    draw(rolled_back(), "report-rolled-back", width=1280, height=1290, dark=False)
    draw(rolled_back(), "report-evidence", width=1280, height=1460, dark=True, top=1640)
    draw(promoted(), "report-promoted-phone", width=390, height=1420, dark=True)
