"""The model store: a model is complete and unchanged, or does not exist."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from review_scoring.errors import ModelError
from review_scoring.models.folder import REQUIRED_FILES, content_hash
from review_scoring.models.manifest import MANIFEST
from review_scoring.models.store import ModelStore

IMPORT = """
import os, resource, signal, sys
from pathlib import Path
from review_scoring.models.store import ModelStore
from tests.models.test_store import written

store, content, mode, number = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
if mode == "kill":  # at this change of the disk, counted from the first
    seen = 0
    def count(event, arguments):
        global seen
        opened = event == "open" and arguments[2]
        if opened or event in {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"}:
            seen += str(arguments[0]).startswith(str(store))
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(count)
if mode == "full":  # no file may grow beyond this, as on a disk that is full
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (number, number))
ModelStore(store).put("m", lambda folder, scratch: written(folder, scratch, content))
"""


def written(folder: Path, scratch: Path, content: str) -> Mapping[str, Any]:
    """Write the files of a model, large enough to be written in several chunks."""
    (scratch / "archive.zip").write_bytes(b"x" * 100_000)
    for file in REQUIRED_FILES:
        (folder / file).write_text(f"{file} {content}\n" * 10_000)
    return {"kind": "test", "content": content}


def put(store: ModelStore, content: str = "a") -> Any:
    return store.put("m", lambda folder, scratch: written(folder, scratch, content))


def start(store: ModelStore, content: str, mode: str = "", number: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", IMPORT, str(store.root), content, mode, str(number)]
    return subprocess.Popen(command, text=True, stderr=subprocess.PIPE, cwd=Path(__file__).parents[2])


def left_over(store: ModelStore) -> list[str]:
    return [path.name for path in store.root.iterdir() if path.name not in {"m", ".lock"}]


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "store")


def test_a_model_that_was_put_is_found_at_its_content_hash(store: ModelStore) -> None:
    stored = put(store)
    assert stored.path == store.root / "m" / stored.revision
    assert stored.revision == content_hash(stored.path)
    assert stored.source == {"kind": "test", "content": "a"}
    assert store.find("m") == store.find("m", stored.revision[:7]) == stored
    assert left_over(store) == []


def test_a_store_that_is_empty_or_not_there_has_no_model(store: ModelStore) -> None:
    assert store.find("m") is None
    assert not store.root.exists()


def test_the_revision_that_was_imported_last_is_the_models(store: ModelStore) -> None:
    first, second = put(store, "a"), put(store, "b")
    assert store.find("m") == second
    assert store.find("m", first.revision) is not None
    again = put(store, "a")
    assert again.revision == first.revision
    assert store.find("m") == again


def test_a_worker_that_is_killed_at_any_change_of_the_disk_leaves_no_half_model(store: ModelStore) -> None:
    first = put(store, "a")
    for number in range(1, 200):
        process = start(store, "b", "kill", number)
        _, errors = process.communicate()
        found = store.find("m")
        assert found is not None
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, errors
        if found.source["content"] == "a":
            assert found == first
        else:  # it was killed behind the rename: the model is whole
            assert found.revision == content_hash(found.path)
    print(f"killed at each of {number - 1} changes of the disk")
    assert number > 20
    assert store.find("m", first.revision) == first
    put(store, "c")
    assert left_over(store) == []


def test_imports_at_once_make_one_whole_model(store: ModelStore) -> None:
    processes = [start(store, "a") for _ in range(4)]
    assert [(process.communicate()[1], process.returncode) for process in processes] == [("", 0)] * 4
    assert len(list((store.root / "m").iterdir())) == 1
    assert store.find("m") is not None
    assert left_over(store) == []


def test_a_full_disk_is_reported_and_leaves_the_store_unchanged(store: ModelStore) -> None:
    first = put(store, "a")
    for limit in (50_000, 150_000, 200_000):
        process = start(store, "b", "full", limit)
        _, errors = process.communicate()
        assert process.returncode == 1
        assert "make sure that the folder is writable and has free space" in errors
        assert store.find("m") == first
        assert left_over(store) == []


def test_what_making_a_model_raises_leaves_the_store_as_it_was(store: ModelStore) -> None:
    def fail(folder: Path, scratch: Path) -> Mapping[str, Any]:
        written(folder, scratch, "b")
        raise ModelError("no")

    first = put(store, "a")
    with pytest.raises(ModelError, match="no"):
        store.put("m", fail)
    assert store.find("m") == first
    assert left_over(store) == []


@pytest.mark.parametrize("file", REQUIRED_FILES)
def test_a_changed_file_is_reported_by_name(store: ModelStore, file: str) -> None:
    path = put(store).path / file
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match=f"was changed or damaged: {file} is not the imported file; import it again"):
        store.find("m")


def test_an_added_or_removed_file_is_reported(store: ModelStore) -> None:
    folder = put(store).path
    (folder / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(ModelError, match=r"model\.safetensors\.index\.json is either missing or not in its manifest"):
        store.find("m")
    (folder / "model.safetensors.index.json").unlink()
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match=r"config\.json is either missing or not in its manifest"):
        store.find("m")


def test_a_file_that_became_a_link_is_reported(store: ModelStore, tmp_path: Path) -> None:
    path = put(store).path / "config.json"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ModelError, match=r"config\.json is not a regular file"):
        store.find("m")


def test_a_manifest_that_was_adapted_to_changed_files_is_reported(store: ModelStore) -> None:
    first, second = put(store, "a").path, put(store, "b").path
    manifest = (second / MANIFEST).read_text().replace(second.name, first.name)
    for file in REQUIRED_FILES:
        (first / file).write_bytes((second / file).read_bytes())
    (first / MANIFEST).write_text(manifest)
    with pytest.raises(ModelError, match="its manifest is of another revision"):
        store.find("m", first.name)


def test_a_model_without_a_manifest_is_not_there(store: ModelStore) -> None:
    (put(store).path / MANIFEST).unlink()
    assert store.find("m") is None


def test_a_damaged_model_is_replaced_by_the_next_import(store: ModelStore) -> None:
    folder = put(store).path
    (folder / "config.json").write_text("{}")
    assert put(store) == store.find("m")
    (folder / MANIFEST).write_text("{")
    with pytest.raises(ModelError, match=r"its manifest\.json cannot be used"):
        store.find("m")
    assert put(store) == store.find("m")
    assert left_over(store) == []


def test_an_ambiguous_prefix_of_revisions_is_reported(store: ModelStore) -> None:
    for content in range(20):
        put(store, str(content))
    digits = [path.name[0] for path in (store.root / "m").iterdir()]
    (shared, *_) = {digit for digit in digits if digits.count(digit) > 1}
    with pytest.raises(ModelError, match=f"several revisions that begin with {shared}"):
        store.find("m", shared)


def test_a_revision_that_is_still_being_copied_leaves_the_one_before_it_in_use(tmp_path: Path) -> None:
    store, whole, copied = two_revisions(tmp_path)
    weights = tmp_path / "m" / copied / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    found = store.find("m")
    assert found is not None
    assert found.revision == whole


def test_a_damaged_manifest_hides_its_own_revision_only(tmp_path: Path) -> None:
    store, whole, damaged = two_revisions(tmp_path)
    (tmp_path / "m" / damaged / "manifest.json").write_text("{")
    for revision in ("", whole[:8]):
        found = store.find("m", revision)
        assert found is not None
        assert found.revision == whole
    with pytest.raises(ModelError, match="manifest.json cannot be used"):
        store.find("m", damaged)


def two_revisions(root: Path) -> tuple[ModelStore, str, str]:
    """Return a store with two revisions of the model `m`, and the revisions from old to new."""
    store = ModelStore(root)
    one, two = (store.put("m", partial(written, content=content)).revision for content in ("one", "two"))
    return store, one, two
