"""Benchmark sets from files, tables and a hub: the same content is the same set, and problems are reported."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import Engine, text

from review_scoring.errors import BenchmarkError
from review_scoring.evaluation import labelled_set as datasets
from review_scoring.evaluation.benchmark_sets import DEFAULT_SET, benchmark_sets, find_set
from review_scoring.evaluation.labelled_set import LabelledSet, content_hash, read_set
from review_scoring.evaluation.load_set import load_set
from review_scoring.warehouse.engine import writing
from review_scoring.warehouse.evaluations.records import LabelledReview, StoredSet
from tests.evaluation.synthetic import Bench
from tests.models.fake_hub import COMMIT, with_hub
from tests.models.web_server import Answer, web_server

ROWS = [(1, "Une merveille, à voir.", "1"), (2, "NA", "0"), (3, "", "1"), (10, "Raté « de A à Z »,\nhélas", "0")]
"""Ids with another order as text than as numbers, a text that pandas reads as missing, and an empty one."""

SET = """
[films]
title = "Films"
kind = "{kind}"
id_column = "id"
text_column = "body"
label_column = "stars"
labels = {{ 0 = "neg", 1 = "pos" }}
{more}
"""


def no_engine(conn_id: str) -> Engine:
    raise AssertionError(conn_id)


def own_set(folder: Path, kind: str, *more: str) -> Path:
    """Write a catalogue with one set."""
    path = folder / "sets.toml"
    path.write_text(SET.format(kind=kind, more="\n".join(more)), encoding="utf-8")
    return path


def from_file(folder: Path, rows: list[tuple[object, object, object]], suffix: str = ".csv") -> LabelledSet:
    """Write rows to a file, and read them as a set."""
    frame = pd.DataFrame(rows, columns=["id", "body", "stars"], dtype=object)
    path = folder / f"films{suffix}"
    if suffix == ".csv":
        frame.to_csv(path, index=False)
    elif suffix == ".jsonl":
        frame.to_json(path, orient="records", lines=True, force_ascii=False)
    else:
        frame.to_parquet(path)
    return read_set(find_set("films", own_set(folder, "file", f'path = "{path.name}"')), no_engine)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_the_same_reviews_are_the_same_set_from_whatever_file(tmp_path: Path, suffix: str) -> None:
    found = from_file(tmp_path, list(ROWS), suffix)
    assert found.reviews == [
        LabelledReview("1", "Une merveille, à voir.", "pos"),
        LabelledReview("10", "Raté « de A à Z »,\nhélas", "neg"),
        LabelledReview("2", "NA", "neg"),
        LabelledReview("3", "", "pos"),
    ]
    assert found.content_hash == content_hash(found.reviews)
    assert found.source == f"films{suffix}"


def test_a_table_is_the_same_set_as_a_file(tmp_path: Path, engine: Engine) -> None:
    with writing(engine).begin() as connection:
        connection.execute(text("CREATE TABLE labelled (id INTEGER PRIMARY KEY, body TEXT, stars INTEGER)"))
        rows = [{"id": i, "body": body, "stars": int(stars)} for i, body, stars in reversed(ROWS)]
        connection.execute(text("INSERT INTO labelled VALUES (:id, :body, :stars)"), rows)
    entry = find_set("films", own_set(tmp_path, "table", 'conn_id = "reviews"', 'table = "labelled"'))
    found = read_set(entry, lambda conn_id: engine)
    assert found.content_hash == from_file(tmp_path, list(ROWS)).content_hash
    assert found.source == "connection reviews, labelled (id)"


def test_a_missing_table_or_column_is_reported_with_the_existing_ones(tmp_path: Path, engine: Engine) -> None:
    entry = find_set("films", own_set(tmp_path, "table", 'conn_id = "reviews"', 'table = "labelled"'))
    with pytest.raises(BenchmarkError, match="table 'labelled' of connection 'reviews' does not exist"):
        read_set(entry, lambda conn_id: engine)
    with writing(engine).begin() as connection:
        connection.execute(text("CREATE TABLE labelled (id INTEGER, body TEXT)"))
    with pytest.raises(BenchmarkError, match="has no column stars; it has id, body"):
        read_set(entry, lambda conn_id: engine)


def test_a_data_set_of_the_hub_is_fetched_at_its_commit_and_recorded(tmp_path: Path) -> None:
    pd.DataFrame(ROWS, columns=["id", "body", "stars"]).to_parquet(tmp_path / "test.parquet")
    body = (tmp_path / "test.parquet").read_bytes()
    own = own_set(tmp_path, "hub", 'repository = "owner/data"', f'commit = "{COMMIT}"', 'path = "films/test.parquet"')
    code = f"""
from pathlib import Path
from review_scoring.evaluation.labelled_set import read_set
from review_scoring.evaluation.benchmark_sets import find_set
found = read_set(find_set("films", Path({str(own)!r})), None)
print(found.content_hash, found.source)
"""
    info = json.dumps({"id": "owner/data", "sha": COMMIT, "siblings": []}).encode()
    answers = {
        f"/api/datasets/owner/data/revision/{COMMIT}": Answer(info, headers={"Content-Type": "application/json"}),
        f"/datasets/owner/data/resolve/{COMMIT}/films/test.parquet": Answer(
            body, headers={"ETag": '"e"', "X-Repo-Commit": COMMIT}
        ),
    }
    with web_server(answers) as hub:
        done = with_hub(code, tmp_path / "hub", HF_ENDPOINT=f"http://127.0.0.1:{hub.port}")
        assert done.returncode == 0, done.stderr
        expected = from_file(tmp_path, list(ROWS)).content_hash
        source = f"owner/data@{COMMIT}, films/test.parquet (id, body, stars; 0 = neg, 1 = pos)"
        assert done.stdout.strip() == f"{expected} {source}"
        answers[f"/datasets/owner/data/resolve/{COMMIT}/films/test.parquet"] = Answer(
            status=404, headers={"X-Error-Code": "EntryNotFound"}
        )
        own_set(tmp_path, "hub", 'repository = "owner/data"', f'commit = "{COMMIT}"', 'path = "films/test.parquet"')
        gone = with_hub(code, tmp_path / "hub", HF_ENDPOINT=f"http://127.0.0.1:{hub.port}")
    assert gone.stderr.strip().splitlines()[-1].startswith("review_scoring.errors.ModelError: the Hugging Face Hub has")


def test_a_pinned_commit_of_a_hub_is_fetched_once(
    tmp_path: Path, sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Bench.on(sqlite_engine).store
    fetched: list[str] = []

    def fetch(repository: str, commit: str | None, path: str, into: Path) -> tuple[str, Path]:
        fetched.append(path)
        pd.DataFrame(ROWS, columns=["id", "body", "stars"]).to_parquet(into / "test.parquet")
        return COMMIT, into / "test.parquet"

    monkeypatch.setattr(datasets, "fetch_data_file", fetch)

    def load(*commit: str) -> StoredSet:
        where = own_set(tmp_path, "hub", 'repository = "owner/data"', 'path = "test.parquet"', *commit)
        return load_set(find_set("films", where), store, no_engine)

    pinned = f'commit = "{COMMIT}"'
    first, again = load(pinned), load(pinned)
    assert (first.is_new, again.is_new, again.changed) == (True, False, False)
    assert (again.id, again.content_hash, again.reviews) == (first.id, first.content_hash, 4)
    assert len(fetched) == 1
    load()
    assert len(fetched) == 2, "what is not pinned may have changed"


def test_a_bad_file_of_a_hub_is_named_as_the_hub_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(repository: str, commit: str | None, path: str, into: Path) -> tuple[str, Path]:
        (into / "films.csv").write_text("id,body,stars\n1,a,1,\n")
        return COMMIT, into / "films.csv"

    monkeypatch.setattr(datasets, "fetch_data_file", fetch)
    own = own_set(tmp_path, "hub", 'repository = "owner/data"', 'path = "films.csv"')
    with pytest.raises(BenchmarkError, match=r"'films': films\.csv of owner/data, line 2: it has 4 fields"):
        read_set(find_set("films", own), no_engine)


def test_a_catalogue_of_sets_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    own = own_set(tmp_path, "file", 'path = "films.csv"')
    own.write_text("\ufeff" + own.read_text())
    assert "films" in benchmark_sets(own)


BAD: dict[str, tuple[list[tuple[object, object, object]], str]] = {
    "unknown labels": (
        [(1, "a", "1"), (2, "b", "0"), (3, "c", "5")],
        "unknown labels in column 'stars': '5'; .* '0', '1'",
    ),
    "empty": ([], "benchmark set 'films' is empty"),
    "duplicate ids": ([(1, "a", "1"), (1, "b", "0"), (2, "c", "0")], "1 ids occur more than once: '1'"),
    "one class only": ([(1, "a", "1"), (2, "b", "1")], "all 2 reviews are 'pos'; an evaluation needs both neg and pos"),
    "no id": ([(1, "a", "1"), (None, "b", "0")], "1 of 2 rows have no valid id"),
    "NUL": ([(1, "a\0b", "1"), (2, "b", "0")], "1 reviews have a value in 'body' that is not text.*: '1'"),
}


@pytest.mark.parametrize("case", BAD)
def test_rows_that_no_evaluation_can_use_are_refused(tmp_path: Path, case: str) -> None:
    rows, message = BAD[case]
    with pytest.raises(BenchmarkError, match=message):
        from_file(tmp_path, rows, ".jsonl" if case in {"no id", "empty"} else ".parquet")


def test_all_problems_of_rows_are_reported_at_once_without_their_texts(tmp_path: Path) -> None:
    rows: list[tuple[object, object, object]] = [(1, "secret words", "1"), (1, "secret words", "7")]
    with pytest.raises(BenchmarkError) as caught:
        from_file(tmp_path, rows)
    assert "more than once" in str(caught.value)
    assert "unknown labels" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_columns_that_were_mixed_up_bring_no_review_into_an_error(tmp_path: Path) -> None:
    bad = "secret words, " * 5
    for rows in (
        [(1, "1", bad), (2, "0", "court")],  # text and label
        [(bad, 1, "1"), (bad, 2, "0")],  # text and id
    ):
        with pytest.raises(BenchmarkError) as caught:
            from_file(tmp_path, list(rows))
        assert "secret" not in str(caught.value)
    many = [(n, "1", f"secret {n}") for n in range(50)]
    with pytest.raises(BenchmarkError, match=r"'stars': 50 different values; is this the label column\?"):
        from_file(tmp_path, list(many))


def test_a_file_that_is_missing_or_in_another_format_is_refused(tmp_path: Path) -> None:
    entry = find_set("films", own_set(tmp_path, "file", 'path = "films.parquet"'))
    with pytest.raises(BenchmarkError, match=r"the file .*films\.parquet of its entry does not exist"):
        read_set(entry, no_engine)
    (tmp_path / "films.parquet").write_text("id,body,stars")
    with pytest.raises(BenchmarkError, match=r"cannot be read as \.parquet"):
        read_set(entry, no_engine)


def test_rows_without_an_id_column_are_known_by_their_number(tmp_path: Path) -> None:
    (tmp_path / "films.csv").write_text("body,stars\nbien,1\nmal,0\n")
    own = own_set(tmp_path, "file", 'path = "films.csv"')
    own.write_text(own.read_text().replace('id_column = "id"\n', ""))
    assert [review.id for review in read_set(find_set("films", own), no_engine).reviews] == ["1", "2"]


def test_the_default_set_is_the_sample_that_comes_with_the_package() -> None:
    found = read_set(find_set(DEFAULT_SET), no_engine)
    assert found.counts == {"neg": 208, "pos": 208}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('colour = "red"', "key 'colour': there is no such key"),
        ('path = "films.csv"\nconn_id = "x"', "key 'conn_id': it is not for sets of the kind 'file'"),
        ('commit = "main"', "key 'commit': it must be a commit"),
        ('path = "films.xlsx"', r"key 'path': the file's name must end in \.csv, \.tsv, \.jsonl, .*\.parquet"),
        ('path = "films.csv"\nencoding = "latin-99"', "key 'encoding': it must be an encoding that Python knows"),
        ('path = "films.csv"\nencoding = "base64"', "key 'encoding': it must be an encoding that Python knows"),
        ('path = "films.parquet"\nencoding = "cp1252"', "key 'encoding': it is for text files"),
        ('path = "films.csv"\nexcluded_labels = "3"', "key 'excluded_labels': it must be a list"),
        ('path = "films.csv"\nexcluded_labels = [0]', "key 'excluded_labels': '0' is among the labels as well"),
        ("", "key 'path': it is missing; a set of the kind 'file' needs it"),
        ('path = "films.csv"\nsample_of = ""', "key 'sample_of': it must be the name of a benchmark set, not ''"),
    ],
)
def test_an_invalid_set_is_reported_by_file_set_and_key(tmp_path: Path, line: str, message: str) -> None:
    own = own_set(tmp_path, "file", line)
    with pytest.raises(BenchmarkError, match=rf"sets\.toml, \[films\], {message}"):
        benchmark_sets(own)


def test_labels_have_to_name_both_classes_and_no_others(tmp_path: Path) -> None:
    own = own_set(tmp_path, "file", 'path = "films.csv"')
    for labels in ('{ 0 = "neg" }', '{ 0 = "neg", 1 = "pos", 2 = "neu" }'):
        own.write_text(own.read_text().replace('{ 0 = "neg", 1 = "pos" }', labels))
        with pytest.raises(BenchmarkError, match="key 'labels': it must be a table"):
            benchmark_sets(own)


def test_the_projects_sets_cannot_be_replaced(tmp_path: Path) -> None:
    own = own_set(tmp_path, "file", 'path = "films.csv"')
    own.write_text(own.read_text().replace("[films]", "[allocine]"))
    with pytest.raises(BenchmarkError, match=r"\[allocine\]: the project has a set of this name"):
        benchmark_sets(own)
    with pytest.raises(BenchmarkError, match="no benchmark set 'nowhere'; there are sample, allocine"):
        find_set("nowhere")
