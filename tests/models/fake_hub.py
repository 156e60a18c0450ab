"""A local hub with one repository, for the real client."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.models.web_server import Answer, WebServer, web_server
from tests.requirements import require

COMMIT = "c0ffee" * 6 + "c0de"
REPOSITORY = "owner/model"


@contextmanager
def fake_hub(files: Mapping[str, bytes]) -> Iterator[WebServer]:
    """Serve the files of a repository at one commit."""
    json_type = {"Content-Type": "application/json"}
    siblings = [
        {"rfilename": name, "size": len(body), "blobId": "b" * 40, **_lfs(name, body)} for name, body in files.items()
    ]
    info = Answer(json.dumps({"id": REPOSITORY, "sha": COMMIT, "siblings": siblings}).encode(), headers=json_type)
    tree = [{"type": "file", "path": name, "size": len(body), "oid": "b" * 40} for name, body in files.items()]
    answers = {
        f"/api/models/{REPOSITORY}": info,
        f"/api/models/{REPOSITORY}/revision/{COMMIT}": info,
        f"/api/models/{REPOSITORY}/tree/{COMMIT}": Answer(json.dumps(tree).encode(), headers=json_type),
    }
    for name, body in files.items():
        headers = {"ETag": f'"{hashlib.sha256(body).hexdigest()}"', "X-Repo-Commit": COMMIT}
        answers[f"/{REPOSITORY}/resolve/{COMMIT}/{name}"] = Answer(body, headers=headers)
    with web_server(answers) as server:
        yield server


def _lfs(name: str, body: bytes) -> dict[str, object]:
    if not name.endswith(".safetensors"):
        return {}
    return {"lfs": {"sha256": hashlib.sha256(body).hexdigest(), "size": len(body), "pointerSize": 1}}


def with_hub(code: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a new process, since the client of the hub reads its settings at import."""
    require("huggingface_hub")
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1", **environment},
        text=True,
        capture_output=True,
        check=False,
    )
