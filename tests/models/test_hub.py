"""Models of the hub, with the real client and a local hub."""

from __future__ import annotations

import json
from pathlib import Path

from tests.models.fake_hub import COMMIT, REPOSITORY, fake_hub, with_hub

FILES = {
    "config.json": b"{}",
    "model.safetensors": b"weights" * 1000,
    "pytorch_model.bin": b"a pickle",
    "tokenizer.json": b"{}",
    "modeling_own.py": b"import os",
    "onnx/model.onnx": b"onnx",
}


def fetch(folder: Path, commit: str | None) -> str:
    return f"""
from pathlib import Path
from review_scoring.models.hub import fetch_snapshot
print(fetch_snapshot({REPOSITORY!r}, {commit!r}, Path({str(folder)!r})))
"""


def run(tmp_path: Path, commit: str | None = None, **environment: str) -> tuple[str, str, list[str]]:
    """Download to a folder, and return the output, the last line of the error, and the files of the folder."""
    folder = tmp_path / "model"
    folder.mkdir()
    done = with_hub(fetch(folder, commit), tmp_path / "hub", **environment)
    error = done.stderr.strip().splitlines()[-1] if done.returncode else ""
    return done.stdout.strip(), error, sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_commit_is_fetched_without_its_pickles_and_code(tmp_path: Path) -> None:
    with fake_hub(FILES) as hub:
        printed, error, files = run(tmp_path, COMMIT, HF_ENDPOINT=f"http://127.0.0.1:{hub.port}")
    assert error == ""
    assert printed == COMMIT
    assert files == ["config.json", "model.safetensors", "tokenizer.json"]
    assert not any("pytorch_model" in path or ".py" in path for path in hub.asked)


def test_without_a_commit_the_newest_is_fetched_and_named(tmp_path: Path) -> None:
    with fake_hub(FILES) as hub:
        printed, _, _ = run(tmp_path, HF_ENDPOINT=f"http://127.0.0.1:{hub.port}")
    assert printed == COMMIT


def test_a_repository_without_safetensors_is_refused_and_not_downloaded(tmp_path: Path) -> None:
    with fake_hub({name: body for name, body in FILES.items() if name != "model.safetensors"}) as hub:
        _, error, files = run(tmp_path, HF_ENDPOINT=f"http://127.0.0.1:{hub.port}")
    assert "ModelError: owner/model has no model.safetensors at its newest commit" in error
    assert files == []


def shards() -> dict[str, bytes]:
    """Return a repository with sharded weights."""
    from numpy import zeros
    from safetensors.numpy import save

    files = {f"model-0000{n}-of-00002.safetensors": save({f"w{n}": zeros(n)}) for n in (1, 2)}
    index = {"weight_map": {f"w{n}": file for n, file in enumerate(files, 1)}}
    rest = {name: body for name, body in FILES.items() if name != "model.safetensors"}
    return {**rest, **files, "model.safetensors.index.json": json.dumps(index).encode()}


def test_weights_in_several_files_are_fetched_and_joined(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    with fake_hub(shards()) as hub:
        _, error, files = run(tmp_path, HF_ENDPOINT=f"http://127.0.0.1:{hub.port}")
    assert error == ""
    assert "model.safetensors" in files
    assert set(load_file(tmp_path / "model" / "model.safetensors")) == {"w1", "w2"}


def test_a_second_weight_file_with_another_checksum_is_refused(tmp_path: Path) -> None:
    with fake_hub(shards()) as hub:
        path = f"/{REPOSITORY}/resolve/{COMMIT}/model-00002-of-00002.safetensors"
        hub.answers[path].body = hub.answers[path].body[:-8] + b"tampered"
        _, error, _ = run(tmp_path, HF_ENDPOINT=f"http://127.0.0.1:{hub.port}")
    assert "DownloadRefusedError" in error
    assert "the checksum of model-00002-of-00002.safetensors is not that of the hub" in error


def test_weights_with_another_checksum_than_the_hubs_are_refused(tmp_path: Path) -> None:
    with fake_hub(FILES) as hub:
        path = f"/{REPOSITORY}/resolve/{COMMIT}/model.safetensors"
        hub.answers[path].body = b"another" * 1000
        _, error, _ = run(tmp_path, HF_ENDPOINT=f"http://127.0.0.1:{hub.port}")
    assert "DownloadRefusedError: owner/model: the checksum of model.safetensors is not that of the hub" in error


def test_a_missing_repository_is_reported(tmp_path: Path) -> None:
    with fake_hub(FILES) as hub:
        _, error, _ = run(tmp_path, "0" * 40, HF_ENDPOINT=f"http://127.0.0.1:{hub.port}")
    assert "owner/model" in error
    assert "review_scoring.errors" in error


def test_an_offline_worker_is_reported_with_the_remedy(tmp_path: Path) -> None:
    _, error, _ = run(tmp_path, HF_HUB_OFFLINE="1")
    assert "ConfigurationError: owner/model is on the Hugging Face Hub, and HF_HUB_OFFLINE is set" in error
    assert "or download it elsewhere and set the folder" in error


def test_a_hub_that_does_not_answer_is_a_transient_error(tmp_path: Path) -> None:
    _, error, _ = run(tmp_path, HF_ENDPOINT="http://127.0.0.1:1")
    assert "DownloadFailedError: owner/model cannot be downloaded from the Hugging Face Hub (ConnectError)" in error
