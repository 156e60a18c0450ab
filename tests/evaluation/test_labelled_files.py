"""Files of labelled reviews: every row is read exactly, or the file is refused with the line at fault."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from review_scoring.errors import BenchmarkError
from review_scoring.evaluation.benchmark_sets import find_set
from review_scoring.evaluation.labelled_files import read_columns
from review_scoring.evaluation.labelled_set import LabelledSet, read_set
from tests.evaluation.test_labelled_set import no_engine, own_set

WANTED = ("id", "body", "stars")
EXPECTED = {"id": ["1", "2"], "body": ["Été, à Paris", "Raté ; vide"], "stars": ["1", "0"]}
CSV = 'id,body,stars\n1,"Été, à Paris",1\n2,Raté ; vide,0\n'


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    ("name", "content", "encoding"),
    [
        ("a.csv", CSV, None),
        ("A.CSV", CSV, None),
        ("a.csv", b"\xef\xbb\xbf" + CSV.encode(), None),
        ("a.csv", b"\xef\xbb\xbf" + CSV.encode(), "utf-8"),
        ("a.csv", CSV.encode("cp1252"), "cp1252"),
        ("a.csv", CSV.encode("utf-16"), "utf-16"),
        ("a.csv", CSV.replace("\n", "\r\n"), None),
        ("a.csv", 'id;body;stars\n1;Été, à Paris;1\n2;"Raté ; vide";0\n', None),
        ("a.csv", "id\tbody\tstars\n1\tÉté, à Paris\t1\n2\tRaté ; vide\t0\n", None),
        ("a.tsv", "id\tbody\tstars\n1\tÉté, à Paris\t1\n\n2\tRaté ; vide\t0\n", None),
        ("a.csv.gz", gzip.compress(CSV.encode(), mtime=0), None),
        ("a.csv.gz", gzip.compress(CSV.encode("cp1252"), mtime=0), "cp1252"),
        (
            "a.jsonl",
            '\ufeff{"id": "1", "body": "Été, à Paris", "stars": "1"}\n\n'
            '{"id": "2", "stars": "0", "body": "Raté ; vide"}\n',
            None,
        ),
        (
            "a.jsonl.gz",
            gzip.compress(
                b'{"id": "1", "body": "\\u00c9t\\u00e9, \\u00e0 Paris", "stars": "1"}\r\n'
                b'{"id": "2", "body": "Rat\\u00e9 ; vide", "stars": "0"}',
                mtime=0,
            ),
            None,
        ),
    ],
)
def test_common_file_formats_are_read(tmp_path: Path, name: str, content: str | bytes, encoding: str | None) -> None:
    assert read_columns(written(tmp_path, name, content), WANTED, encoding) == EXPECTED


@pytest.mark.parametrize("comma", [",", ",x"])
def test_a_comma_too_many_in_every_row_shifts_no_column(tmp_path: Path, comma: str) -> None:
    path = written(tmp_path, "a.csv", f"id,body,stars\n1,secret,1{comma}\n2,secret,0{comma}\n")
    with pytest.raises(BenchmarkError, match=r"a\.csv, line 2: it has 4 fields and the header has 3") as told:
        read_columns(path, WANTED, None)
    assert "secret" not in str(told.value)


def test_a_row_that_lacks_a_field_is_reported_with_its_line(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", 'id,body,stars\n1,"two\nlines",1\n2,0\n')
    with pytest.raises(BenchmarkError, match="line 4: it has 2 fields and the header has 3"):
        read_columns(path, WANTED, None)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.csv", CSV.encode("cp1252"), 'is not UTF-8; set its encoding in its entry, such as encoding = "cp1252"'),
        ("a.jsonl", b'{"body": "\xe9"}', "is not UTF-8"),
        ("a.csv", 'id,body,stars\n1,"un ""secret",1\n2,"sans fin,0\n', r"line 3: unexpected end of data"),
        ("a.csv", 'id,body,stars\n1,"un \\"secret\\"",1\n', "line 2: .*double each quote inside a text"),
        ("a.csv", "id,body,body,stars\n1,a,b,1\n", "has two columns 'body'"),
        ("a.jsonl", '{"id": 1}\n{"id": secret}\n', "line 2: Expecting value at character 8"),
        ("a.jsonl", '["secret"]\n', "line 1: it is a list, not an object"),
        ("a.csv.gz", CSV, r"cannot be read as \.csv \(BadGzipFile\)"),
        ("a.csv.gz", gzip.compress(CSV.encode() * 99, mtime=0)[:-20], r"cannot be read as \.csv \((EOFError|error)\)"),
        ("a.csv", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a Git LFS pointer"),
    ],
)
def test_a_file_that_cannot_be_read_exactly_is_reported_without_its_text(
    tmp_path: Path, name: str, content: str | bytes, told: str
) -> None:
    with pytest.raises(BenchmarkError, match=told) as error:
        read_columns(written(tmp_path, name, content), WANTED, None)
    assert "secret" not in str(error.value)


def test_what_a_line_does_not_name_or_calls_nan_is_missing(tmp_path: Path) -> None:
    path = written(tmp_path, "a.jsonl", '{"id": 9007199254740993, "body": NaN}\n{"id": 2, "stars": 1}\n')
    found: Any = read_columns(path, WANTED, None)
    assert found == {"id": [9007199254740993, 2], "body": [None, None], "stars": [None, 1]}


def test_a_text_of_a_million_characters_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", f"id,body,stars\n1,{'mot ' * 300_000},1\n")
    assert len(read_columns(path, WANTED, None)["body"][0]) == 1_200_000


def stars(tmp_path: Path, *more: str) -> LabelledSet:
    """Read reviews of one to five stars with a set that maps one and five."""
    written(tmp_path, "films.csv", "id,body,stars\n" + "".join(f"{n},text {n},{n % 5 + 1}\n" for n in range(25)))
    own = own_set(tmp_path, "file", 'path = "films.csv"', *more)
    own.write_text(own.read_text().replace('{ 0 = "neg", 1 = "pos" }', '{ 1 = "neg", 5 = "pos" }'))
    return read_set(find_set("films", own), no_engine)


def test_reviews_with_excluded_labels_are_left_out(tmp_path: Path) -> None:
    assert stars(tmp_path, 'excluded_labels = [2, "3", 4]').counts == {"neg": 5, "pos": 5}


def test_an_unknown_label_is_reported_with_the_key_that_excludes_it(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="unknown labels in column 'stars': '3'; .*or to `excluded_labels`"):
        stars(tmp_path, "excluded_labels = [2, 4]")
