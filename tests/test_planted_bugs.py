"""A test that cannot fail proves nothing: each bug below, planted into a copy of the package, turns a test red.

In the short form it is only checked that each bug can still be planted: that its line is there, once.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ROOT, long_form

PACKAGE = ROOT / "include" / "review_scoring"


@dataclass(frozen=True)
class Bug:
    """A line of the package, what is planted in its place, and the test that must notice."""

    name: str
    file: str
    line: str
    planted: str
    noticed_by: str


BUGS = (
    Bug(
        "a commit moved in front of the progress it belongs to",
        "warehouse/ledger.py",
        "                self._write_scores(connection, lease, chunk, now)\n",
        "                self._write_scores(connection, lease, chunk, now)\n                connection.commit()\n",
        "tests/warehouse/test_ledger.py::test_a_commit_that_fails_half_way_leaves_nothing",
    ),
    Bug(
        "the fencing token not checked",
        "warehouse/runs.py",
        "row.fencing_token != lease.fencing_token or ",
        "",
        "tests/warehouse/test_ledger.py::test_a_run_that_was_taken_over_cannot_write",
    ),
    Bug(
        "the upsert turned into an insert",
        "warehouse/dialects.py",
        "connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changes), list(rows))",
        "connection.execute(statement, list(rows))",
        "tests/test_scoring.py::test_changed_texts_are_scored_again_only_when_rescore_says_so",
    ),
    Bug(
        "an offset instead of a key",
        "warehouse/source.py",
        "            page = self._fetch(columns.where(*within).order_by(self.id).limit(rows))\n",
        "            self.__dict__['n'] = self.__dict__.get('n', -rows) + rows\n"
        "            page = self._fetch(columns.order_by(self.id).limit(rows).offset(self.__dict__['n']))\n",
        "tests/warehouse/test_source.py::test_rows_inserted_updated_and_deleted_between_pages_never_hide_another_row",
    ),
    Bug(
        "a commit whose answer was lost not recognised",
        "warehouse/runs.py",
        "    if done == after.chunks:\n        return False\n",
        "",
        "tests/warehouse/test_ledger.py::test_a_commit_whose_answer_was_lost_is_neither_lost_nor_doubled",
    ),
    Bug(
        "a run's progress read before the last commit of its killed client is through",
        "warehouse/runs.py",
        "select(runs).where(mine).with_for_update()",
        "select(runs).where(mine)",
        "tests/warehouse/test_ledger.py::test_the_last_commit_of_a_killed_client_is_waited_for_and_counted",
    ),
    Bug(
        "the lease of a living run not respected",
        "warehouse/runs.py",
        "        if other.lease_until > now:\n",
        "        if other.lease_until is None:\n",
        "tests/exactly_once/test_kills.py::test_two_runs_at_the_same_time_classify_each_review_once",
    ),
    Bug(
        "overlapping ranges taken for separate ones",
        "warehouse/source.py",
        "        return self._may_precede(one.after, other.upto) and self._may_precede(other.after, one.upto)\n",
        "        return one == other\n",
        "tests/exactly_once/test_kills.py::test_two_runs_over_overlapping_ranges_classify_each_review_once",
    ),
    Bug(
        "a run that is told to stop ends as success",
        "scoring.py",
        'give a sign of life."""\n        self._stop.check()\n',
        'give a sign of life."""\n',
        "tests/airflow/test_signals.py::test_sigterm_ends_the_task_as_failed_in_time_and_with_nothing_half_done",
    ),
    Bug(
        "a lost connection taken for a lasting error",
        "warehouse/retry.py",
        "    if error.connection_invalidated:\n        return True\n",
        "",
        "tests/test_scoring.py::test_a_passing_failure_of_the_database_does_not_repeat_the_devices_work",
    ),
    Bug(
        "rows at a page's end lost where ids repeat",
        "warehouse/source.py",
        "            if full and not self.id_is_unique:\n",
        "            if full and rows == 0:\n",
        "tests/warehouse/test_source.py::test_ids_that_a_caseless_column_takes_for_equal_are_not_lost_at_a_page_end",
    ),
    Bug(
        "the first row that the database happens to give taken of a repeated id",
        "warehouse/candidates.py",
        "if before is None or text_hash(row.text) < text_hash(before.text):",
        "if before is None:",
        "tests/test_scoring.py::test_which_of_two_rows_with_one_id_is_scored_does_not_depend_on_their_order",
    ),
    Bug(
        "review ids compared without regard to case",
        "warehouse/migrations/versions/0001_scoring.py",
        "        sa.String(length)\n",
        '        sa.String(length, collation="NOCASE")\n',
        "tests/test_scoring.py::test_ids_that_differ_by_case_or_trailing_blanks_are_different_reviews",
    ),
    Bug(
        "rows without an id counted at every try",
        "warehouse/runs.py",
        "    counts = Counts.from_row(earlier).without_unrecordable()\n",
        "    counts = Counts.from_row(earlier)\n",
        "tests/test_scoring.py::test_a_retry_of_a_task_does_not_count_rows_without_an_id_twice",
    ),
    Bug(
        "review texts in error messages",
        "warehouse/engine.py",
        "hide_parameters=True",
        "hide_parameters=False",
        "tests/warehouse/test_retry.py::test_errors_never_show_bound_values",
    ),
    Bug(
        "results in the order of the batches",
        "inference/classifier.py",
        "        return [results[n] for n in range(len(texts))]\n",
        "        return list(results.values())\n",
        "tests/inference/test_classifier.py::test_results_come_in_the_order_of_the_texts",
    ),
    Bug(
        "padding that the model reads",
        "inference/classifier.py",
        "            mask[n, : len(row)] = 1\n",
        "            mask[n, :] = 1\n",
        "tests/inference/test_classifier.py::test_a_score_does_not_depend_on_the_neighbours",
    ),
)
names = [bug.name for bug in BUGS]


@pytest.mark.parametrize("bug", BUGS, ids=names)
def test_each_bug_can_still_be_planted(bug: Bug) -> None:
    assert (PACKAGE / bug.file).read_text().count(bug.line) == 1


@long_form
@pytest.mark.parametrize("bug", BUGS, ids=names)
def test_each_planted_bug_turns_its_test_red(bug: Bug, tmp_path: Path) -> None:
    copy = tmp_path / "review_scoring"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("bundled", "__pycache__"))
    (copy / "models" / "bundled").symlink_to(PACKAGE / "models" / "bundled")
    file = copy / bug.file
    file.write_text(file.read_text().replace(bug.line, bug.planted))
    environment = {key: value for key, value in os.environ.items() if key != "REVIEW_SCORING_PROVE"}
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--timeout", "150", bug.noticed_by],
        cwd=ROOT,
        env={**environment, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    print(f"{bug.name}: {'noticed' if run.returncode == 1 else run.stdout[-500:]}")
    assert run.returncode == 1, f"{bug.name}: nobody noticed\n{run.stdout}{run.stderr}"
    assert "1 failed" in run.stdout
