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
        "warehouse/ledger/writing.py",
        "    _write_scores(connection, job, lease, chunk, now)\n",
        "    _write_scores(connection, job, lease, chunk, now)\n    connection.commit()\n",
        "tests/warehouse/ledger/test_ledger.py::test_a_commit_that_fails_half_way_leaves_nothing",
    ),
    Bug(
        "the fencing token not checked",
        "warehouse/ledger/held_lease.py",
        "row.fencing_token == lease.fencing_token and ",
        "",
        "tests/warehouse/ledger/test_ledger.py::test_a_run_that_was_taken_over_cannot_write",
    ),
    Bug(
        "the upsert turned into an insert",
        "warehouse/dialects/sqlite.py",
        "connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changes), list(rows))",
        "connection.execute(statement, list(rows))",
        "tests/run/test_loop.py::test_changed_texts_are_scored_again_only_when_rescore_says_so",
    ),
    Bug(
        "an offset instead of a key",
        "warehouse/source/row_reader.py",
        ".where(*where).order_by(*stretch.order(self._table)).limit(rows)",
        ".where(where[0]).order_by(*stretch.order(self._table)).limit(rows)"
        ".offset(self.__dict__.setdefault('n', [0]).append(0) or (len(self.__dict__['n']) - 2) * (rows or 0))",
        "tests/warehouse/source/test_review_source.py::test_rows_inserted_updated_and_deleted_between_pages_never_hide_another_row",
    ),
    Bug(
        "a commit whose answer was lost not recognised",
        "warehouse/ledger/held_lease.py",
        "    if done == after.chunks:\n        return False\n",
        "",
        "tests/warehouse/ledger/test_ledger.py::test_a_commit_whose_answer_was_lost_is_neither_lost_nor_doubled",
    ),
    Bug(
        "a run's progress read before the last commit of its killed client is through",
        "warehouse/ledger/leases.py",
        "connection.execute(dialect_of(connection).locked(mine))",
        "connection.execute(mine)",
        "tests/warehouse/ledger/test_ledger.py::test_the_last_commit_of_a_killed_client_is_waited_for_and_counted",
    ),
    Bug(
        "the lease of a living run not respected",
        "warehouse/ledger/leases.py",
        "    if other.lease_until > now:\n",
        "    if other.lease_until is None:\n",
        "tests/exactly_once/test_kills.py::test_two_runs_at_the_same_time_classify_each_review_once",
    ),
    Bug(
        "overlapping ranges taken for separate ones",
        "warehouse/source/ranges.py",
        "    return _may_precede(source, one.after, other.upto) and _may_precede(source, other.after, one.upto)\n",
        "    return one == other\n",
        "tests/exactly_once/test_kills.py::test_two_runs_over_overlapping_ranges_classify_each_review_once",
    ),
    Bug(
        "a task that continues after a stop signal",
        "airflow/operators/base.py",
        "        self._stop.set()\n",
        "        pass\n",
        "tests/airflow/test_signals.py::test_sigterm_ends_the_task_as_failed_in_time_and_with_nothing_half_done",
    ),
    Bug(
        "a lost connection taken for a lasting error",
        "warehouse/errors.py",
        "    if error.connection_invalidated:\n        return Fault.AWAY\n",
        "",
        "tests/run/test_loop.py::test_a_passing_failure_of_the_database_does_not_repeat_the_devices_work",
    ),
    Bug(
        "rows at a page's end lost where ids repeat",
        "warehouse/source/review_source.py",
        "            if page.is_full and not self.id_is_unique:\n",
        "            if page.is_full and rows == 0:\n",
        "tests/warehouse/source/test_review_source.py::test_ids_that_a_caseless_column_takes_for_equal_are_not_lost_at_a_page_end",
    ),
    Bug(
        "the first row that the database happens to give taken of a repeated id",
        "warehouse/selection/candidates.py",
        "if before is None or text_hash(review.text) < text_hash(before.text):",
        "if before is None:",
        "tests/run/test_loop.py::test_which_of_two_rows_with_one_id_is_scored_does_not_depend_on_their_order",
    ),
    Bug(
        "review ids compared without regard to case",
        "warehouse/column_types.py",
        "        return dialect.type_descriptor(String(self.length))\n",
        '        return dialect.type_descriptor(String(self.length, collation="NOCASE"))\n',
        "tests/run/test_loop.py::test_ids_that_differ_by_case_or_trailing_blanks_are_different_reviews",
    ),
    Bug(
        "rows without an id counted at every try",
        "warehouse/ledger/leases.py",
        "counts if reads_nothing(counts) else counts.before_another_try()",
        "counts",
        "tests/run/test_loop.py::test_a_retry_of_a_task_does_not_count_rows_without_an_id_twice",
    ),
    Bug(
        "shards that end where the planning saw the last id",
        "warehouse/selection/shards.py",
        "[None, *_ends(waiting, parts), waiting.end]",
        "[None, *_ends(waiting, parts), waiting.end or waiting.places[-1]]",
        "tests/warehouse/selection/test_shards.py::test_a_row_that_is_committed_after_the_planning_has_a_shard_wherever_its_id_falls",
    ),
    Bug(
        "each shard given the limit of the whole run",
        "warehouse/selection/shards.py",
        "limit + done.get(index, 0)",
        "candidates.limit",
        "tests/warehouse/selection/test_shards.py::test_a_limit_holds_for_the_whole_run_whatever_comes_late_and_however_often_it_is_tried",
    ),
    Bug(
        "an id that no key can hold taken for an open end",
        "warehouse/selection/shards.py",
        " and canonical_id(place.position.id) is not None",
        "",
        "tests/warehouse/selection/test_shards.py::test_an_id_that_no_key_can_hold_is_no_shards_end",
    ),
    Bug(
        "rows with the same value of the cursor left out behind the end of a page",
        "warehouse/source/stretches.py",
        "[cursor <= value, or_(cursor < value, beyond)]",
        "[cursor < value]",
        "tests/run/test_reading_order.py::test_the_newest_are_scored_first_and_the_nights_after_take_the_rest"
        "[sqlite-True-INTEGER PRIMARY KEY]",
    ),
    Bug(
        "the backlog of a job forgotten",
        "run/finishing.py",
        "backlog=after.backlog",
        "backlog=None",
        "tests/run/test_reading_order.py::test_new_reviews_come_before_the_backlog_which_goes_on_where_it_stopped",
    ),
    Bug(
        "changes taken for compared that a budget did not reach",
        "warehouse/selection/scan.py",
        "        elif not any(each.changed for each in before):\n",
        "        elif before and not before:\n",
        "tests/run/test_changes.py::test_a_budget_that_ends_before_the_changes_does_not_forget_them",
    ),
    Bug(
        "corrected rejects searched for in the source",
        "run/planning.py",
        "        stretches = (Stretch(of_rejects=True),)\n",
        "        pass\n",
        "tests/warehouse/selection/test_rescore.py::test_a_thousand_corrected_rejects_are_scored_without_a_search_of_the_source",
    ),
    Bug(
        "recent rows taken for the backlog by a run oldest first",
        "warehouse/selection/scan.py",
        "        if stretch.until != value_of(self.highest):",
        "        if before and self.backlog is not None:",
        "tests/run/test_minutes.py::test_a_run_oldest_first_that_ran_out_of_time_among_recent_rows_keeps_them_beside_an_old_backlog",
    ),
    Bug(
        "a review scored twice whose cursor changed while it was on its way",
        "run/reader.py",
        "if review.id not in self._met]",
        "]",
        "tests/run/test_reading_order.py::test_a_row_whose_cursor_changes_while_it_is_on_its_way_is_scored_once",
    ),
    Bug(
        "a backlog overwritten by a run that was planned before it",
        "warehouse/ledger/cursor_state.py",
        "update(jobs).where(jobs.c.id == self.job.id, *unmoved)",
        "update(jobs).where(jobs.c.id == self.job.id)",
        "tests/run/test_budget.py::test_a_run_that_finishes_after_another_leaves_that_ones_backlog",
    ),
    Bug(
        "a cursor moved past shards that ran out of time",
        "run/finishing.py",
        "    if ended_early is not None:\n",
        "    if ended_early is None and ended_early:\n",
        "tests/run/test_minutes.py::test_shards_that_ran_out_of_time_leave_the_cursor_at_the_first_of_them",
    ),
    Bug(
        "a chunk of which the limit left a part taken for read",
        "run/reader.py",
        "reviews=chunk.reviews[:taken], read_to=None)",
        "reviews=chunk.reviews[:taken])",
        "tests/run/test_ending_early.py::test_a_chunk_that_the_limit_has_cut_does_not_count_as_read",
    ),
    Bug(
        "a place of an earlier plan taken for one of the new plan",
        "warehouse/ledger/shards.py",
        'changes: dict[str, Any] = {"read_to": None, "lease_until": now}',
        'changes: dict[str, Any] = {"lease_until": now}',
        "tests/run/test_ending_early.py::test_a_run_that_is_planned_again_forgets_how_far_its_earlier_plan_came",
    ),
    Bug(
        "a run's sum not held against the tables",
        "run/finishing.py",
        "    if wrong or replaced > ledger.shards.done_by_others(found):\n",
        "    if wrong and not wrong:\n",
        "tests/warehouse/selection/test_shards.py::test_a_sum_that_the_tables_do_not_bear_out_is_told_loudly",
    ),
    Bug(
        "the cursor moved by the first shard that is done",
        "run/loop.py",
        "        counts = commits.lease.counts\n",
        "        counts = commits.lease.counts\n"
        "        shard.scan.highest and ledger.cursor.advance(shard.scan.highest, is_full_pass=True)\n",
        "tests/warehouse/selection/test_shards.py::test_the_cursor_moves_when_all_shards_are_done_and_not_before",
    ),
    Bug(
        "a rescore that never yields",
        "run/loop.py",
        "if self.request.yields and self.ledger.preemption.is_requested():",
        "if False:",
        "tests/exactly_once/test_yielding.py::test_a_rescore_goes_on_after_a_night_that_was_killed_when_its_wish_has_run_out",
    ),
    Bug(
        "a rescore that starts between the shards of a nightly run",
        "warehouse/ledger/leases.py",
        "    if request.yields and preemption.holds(row, now):\n",
        "    if request.yields and row is None:\n",
        "tests/warehouse/selection/test_rescore.py::test_a_rescore_gives_way_between_two_chunks_and_goes_on_later",
    ),
    Bug(
        "a request for the job that expires while its run is in progress",
        "warehouse/ledger/leases.py",
        "        if lease.requested_by is not None:\n",
        "        if lease.requested_by is None:\n",
        "tests/warehouse/selection/test_rescore.py::test_a_night_whose_shard_takes_longer_than_its_wish_still_wants_the_job",
    ),
    Bug(
        "a MySQL migration that cannot be done again",
        "warehouse/migrations/env.py",
        "DONE_BEFORE = frozenset({1050, 1051, 1060, 1061, 1091, 4092})",
        "DONE_BEFORE = frozenset({1060})",
        "tests/warehouse/test_mariadb.py::test_a_migration_that_dies_after_any_statement_is_finished_by_the_next",
    ),
    Bug(
        "MySQL's lock wait judged by its SQLSTATE",
        "warehouse/errors.py",
        "    if isinstance(first, int):\n",
        "    if isinstance(first, bytes):\n",
        "tests/warehouse/test_mariadb.py::test_a_lock_that_another_holds_too_long_is_a_passing_error",
    ),
    Bug(
        "a commit whose failure nobody waits for",
        "run/commits.py",
        "        self.flush()\n        self._pending = self._thread.submit",
        "        self._pending = self._thread.submit",
        "tests/run/test_loop.py::test_a_commit_that_fails_for_good_fails_the_run_and_the_next_one_does_the_rest[sqlite-1]",
    ),
    Bug(
        "the last commit's failure passed over",
        "run/commits.py",
        "        self.flush()\n        self._stop.check()\n",
        "        self._stop.check()\n",
        "tests/run/test_loop.py::test_a_commit_that_fails_for_good_fails_the_run_and_the_next_one_does_the_rest[sqlite-3]",
    ),
    Bug(
        "a pass over a part taken for a full one",
        "warehouse/ledger/cursor_state.py",
        "            if is_full_pass:\n",
        "            if seen:\n",
        "tests/warehouse/selection/test_cursor.py::test_a_pass_over_a_part_is_not_taken_for_a_full_one[sqlite]",
    ),
    Bug(
        "ids compared on MariaDB without regard to case",
        "warehouse/dialects/mysql.py",
        '_bytewise = "utf8mb4_nopad_bin"',
        '_bytewise = "utf8mb4_general_ci"',
        "tests/warehouse/test_sessions.py::test_ids_that_are_equal_in_the_sources_collation_are_lost_by_no_plan",
    ),
    Bug(
        "MariaDB's cache of subqueries left on where plans go along keys",
        "warehouse/dialects/mysql.py",
        ",subquery_cache=off",
        ",subquery_cache=on",
        "tests/warehouse/test_sessions.py::test_ids_that_are_equal_in_the_sources_collation_are_lost_by_no_plan",
    ),
    Bug(
        "a deadlock taken for a lasting error",
        "warehouse/errors.py",
        '"40001", "40P01", ',
        '"40001", ',
        "tests/warehouse/test_faults.py::test_a_deadlock_on_postgresql_is_a_passing_error",
    ),
    Bug(
        "a long text's rest not looked at",
        "reviews.py",
        "hashlib.sha256(text.encode(",
        "hashlib.sha256(text[:4096].encode(",
        "tests/run/test_loop.py::test_a_change_at_the_end_of_a_long_text_is_found[sqlite]",
    ),
    Bug(
        "unchanged reviews counted by every try that meets them",
        "warehouse/ledger/counts.py",
        "unchanged=self.unchanged - self.met_again",
        "unchanged=self.unchanged, scored=self.scored - self.met_again",
        "tests/warehouse/ledger/test_retried_counts.py::"
        "test_a_row_without_a_time_is_counted_once_by_a_rescore_that_is_tried_again[sqlite]",
    ),
    Bug(
        "a wrong cursor value believed",
        "warehouse/selection/cursor_values.py",
        "        if value - highest > max(highest - lowest, SMALLEST_JUMP):\n",
        "        if False:\n",
        "tests/warehouse/selection/test_cursor.py::test_one_wrong_integer_hides_no_later_row_and_is_told[sqlite]",
    ),
    Bug(
        "a driver's words left in its error",
        "warehouse/engine.py",
        "        without_words(context.sqlalchemy_exception)\n",
        "        pass\n",
        "tests/warehouse/source/test_unreadable.py::"
        "test_no_word_of_the_driver_about_a_row_is_in_an_error_or_its_causes[postgresql]",
    ),
    Bug(
        "prepared statements behind a pooler",
        "warehouse/dialects/postgresql.py",
        '"prepare_threshold": None',
        '"prepare_threshold": 0',
        "tests/warehouse/test_pgbouncer.py::test_night_after_night_goes_through",
    ),
    Bug(
        "scores read whole for each page of a view",
        "warehouse/dialects/postgresql.py",
        'return statement.offset(literal_column("0"))',
        "return statement",
        "tests/warehouse/test_plans.py::"
        "test_no_page_of_a_view_or_a_partitioned_table_reads_the_scores_whole[create_view-text]",
    ),
    Bug(
        "review texts in error messages",
        "warehouse/engine.py",
        "engine.hide_parameters = True",
        "engine.hide_parameters = False",
        "tests/warehouse/test_retry.py::test_errors_never_show_bound_values",
    ),
    Bug(
        "results in the order of the batches",
        "inference/classifier.py",
        "found[window.text].append((",
        "found[sum(map(bool, found))].append((",
        "tests/inference/test_classifier.py::test_results_come_in_the_order_of_the_texts",
    ),
    Bug(
        "padding that is not masked",
        "inference/plain.py",
        "            mask[n, : len(row)] = 1\n",
        "            mask[n, :] = 1\n",
        "tests/inference/test_batches.py::test_a_score_does_not_depend_on_batch_order_or_neighbours",
    ),
    Bug(
        "packed reviews that attend to each other",
        "inference/attention.py",
        "groupby(zip(q_rows.lengths, k_rows.lengths, strict=True))",
        "groupby([(len(q), len(k))])",
        "tests/inference/test_batches.py::test_an_encoder_gives_the_logits_of_transformers_for_the_tokenizers_inputs[camembert]",
    ),
    Bug(
        "a neighbour's keys not masked",
        "inference/attention.py",
        "mask[..., length:] = -torch.inf",
        "mask[..., length:] = 0",
        "tests/inference/test_batches.py::test_a_score_does_not_depend_on_batch_order_or_neighbours",
    ),
    Bug(
        "a NaN from another review of the batch treated as the review's own",
        "inference/classifier.py",
        "row if is_finite(row) else narrowing.alone(window) for",
        "row for",
        "tests/inference/test_batches.py::test_a_review_with_a_non_finite_output_does_not_reject_the_others_of_its_batch",
    ),
    Bug(
        "positions that continue from one review to the next",
        "inference/packed.py",
        "[self._positions(review) for review in each]",
        "[self._positions(torch.cat(each)).clamp(max=511)]",
        "tests/inference/test_batches.py::test_an_encoder_gives_the_logits_of_transformers_for_the_tokenizers_inputs[camembert]",
    ),
    Bug(
        "RoBERTa's positions starting at zero",
        "inference/packed.py",
        "model.config.pad_token_id if kind in ROBERTAS else None",
        "None",
        "tests/inference/test_batches.py::test_an_encoder_gives_the_logits_of_transformers_for_the_tokenizers_inputs[camembert]",
    ),
    Bug(
        "the last token of each review used as its first",
        "inference/packed.py",
        "rows.ends[:-1]",
        "rows.ends[1:] - 1",
        "tests/inference/test_batches.py::test_an_encoder_gives_the_logits_of_transformers_for_the_tokenizers_inputs[camembert]",
    ),
    Bug(
        "a batch that did not fit retried with the same size",
        "inference/batching.py",
        "self._largest = self.tokens = max(tokens // 2, 1)",
        "self._largest = self.tokens = max(tokens - 1, 1)",
        "tests/inference/test_out_of_memory.py::test_batches_that_do_not_fit_are_halved_and_the_smaller_budget_is_kept",
    ),
    Bug(
        "failures of a broken device treated as rejects",
        "inference/failed_batches.py",
        "        if isinstance(self._attempted([self._probe()]), Exception):\n            raise failure\n",
        "",
        "tests/inference/test_failed_batches.py::test_a_broken_device_ends_the_run_with_its_error_and_rejects_nothing",
    ),
    Bug(
        "a token without an embedding sent to the device",
        "inference/classifier.py",
        "if max(ids) < self.vocabulary:",
        "if True:",
        "tests/inference/test_failed_batches.py::test_a_token_without_an_embedding_never_reaches_the_device",
    ),
    Bug(
        "the maximum length not reduced by the padding's positions",
        "inference/limits.py",
        " - int(padding) - 1",
        "",
        "tests/inference/test_failed_batches.py::"
        "test_a_text_of_maximum_length_is_scored_by_models_whose_positions_start_after_the_padding",
    ),
    Bug(
        "a default assumed for a tokenizer's case",
        "inference/tokenizer_files.py",
        '("do_lower_case",)',
        "()",
        "tests/inference/test_tokenizer_files.py::test_a_wordpiece_vocabulary_without_a_case_setting_is_refused",
    ),
    Bug(
        "special tokens added to a vocabulary that lacks them",
        "inference/tokenizer_files.py",
        "if named is not None and (other := dict(built.get_vocab(with_added_tokens=True).items() ^ named.items())):",
        "if named is not None and (other := dict[str, int]()):",
        "tests/inference/test_tokenizer_files.py::test_a_wordpiece_vocabulary_without_a_special_token_is_refused",
    ),
    Bug(
        "a model tried with single texts only",
        "inference/import_trial.py",
        "together = classifier.forward(windows).tolist()",
        "together = alone",
        "tests/inference/test_import_trial.py::test_a_model_whose_scores_depend_on_the_batch_is_refused",
    ),
    Bug(
        "several outputs that do not exclude each other taken for classes",
        "models/folder.py",
        'if problem == "multi_label_classification":',
        "if False:",
        "tests/models/test_source_folder.py::test_outputs_that_are_no_classes_of_which_one_holds_are_refused",
    ),
    Bug(
        "weights of a second file read from the start of the first",
        "models/joined_weights.py",
        "end += shard.stat().st_size - start",
        "end += 0",
        "tests/models/test_source_folder.py::test_weights_in_several_files_become_the_same_weights_in_one",
    ),
    Bug(
        "a row of a benchmark file cut to the header's length",
        "evaluation/labelled_files.py",
        "if len(row) != len(header):",
        "if len(row) < len(header):",
        "tests/evaluation/test_labelled_files.py::test_a_comma_too_many_in_every_row_shifts_no_column",
    ),
    Bug(
        "a model worse than chance let pass",
        "evaluation/gate.py",
        " and not below_chance",
        "",
        "tests/evaluation/test_verdicts.py::test_the_gate_lets_pass_all_but_below_and_worse",
    ),
    Bug(
        "the windows of a long text averaged without weights",
        "inference/results.py",
        "return [sum(length * row[n] for length, row in rows) / total for n in range(len(rows[0][1]))]",
        "return [sum(row[n] for _, row in rows) / len(rows) for n in range(len(rows[0][1]))]",
        "tests/inference/test_long_texts.py::test_the_probabilities_of_windows_are_averaged_by_their_tokens",
    ),
    Bug(
        "an evaluation compared with the last one, even if that had failed",
        "warehouse/evaluations/past_evaluations.py",
        "order_by(runs.c.passed.desc(), same_revision.desc(), same_content.desc())",
        "order_by(runs.c.id.desc())",
        "tests/evaluation/test_evaluate.py::"
        "test_the_same_model_twice_is_unchanged_a_better_one_better_and_a_worse_one_is_stopped",
    ),
    Bug(
        "reviews that a model rejects left out of its figures",
        "evaluation/predictions.py",
        "        wrong = POS if review.label == NEG else NEG\n",
        "        wrong = review.label\n",
        "tests/evaluation/test_evaluate.py::"
        "test_texts_that_no_model_can_score_are_left_out_and_a_models_own_rejects_count_as_wrong",
    ),
    Bug(
        "each of several published figures tested at more than its share of the level",
        "evaluation/verdicts.py",
        "    level = LEVEL / len(references)\n",
        "    level = LEVEL * len(references)\n",
        "tests/evaluation/test_verdicts.py::test_comparing_each_class_as_well_does_not_raise_more_alarms_than_the_level",
    ),
    Bug(
        "a published figure taken for exact",
        "evaluation/verdicts.py",
        "    drawn = (reviews + reference.reviews, right + reference.lowest, reviews)\n",
        "    drawn = (reviews + 1000 * reference.reviews, right + 1000 * reference.lowest, reviews)\n",
        "tests/evaluation/test_verdicts.py::"
        "test_in_a_thousand_evaluations_of_a_model_as_good_as_published_alarms_are_as_rare_as_the_level[20000]",
    ),
    Bug(
        "the verdict matches on a handful of reviews",
        "evaluation/verdicts.py",
        "    if noticed < POWER:\n",
        "    if noticed > 1:\n",
        "tests/evaluation/test_verdicts.py::test_a_sample_of_1367_cannot_contradict_a_published_figure_by_half_a_point",
    ),
    Bug(
        "a card's printed digits read without its other figures",
        "evaluation/published.py",
        "            fits &= _prints(values[label], printed.get((metric, label)))\n",
        "            pass\n",
        "tests/evaluation/test_verdicts.py::"
        "test_a_figure_printed_with_two_digits_is_contradicted_only_by_what_no_rounding_explains",
    ),
    Bug(
        "a limited evaluation that approves a model",
        "warehouse/evaluations/past_evaluations.py",
        ", runs.c.row_limit.is_(None))",
        ")",
        "tests/evaluation/test_champion.py::test_a_limited_evaluation_approves_nothing",
    ),
    Bug(
        "a pass on one set that hides a failure on another",
        "evaluation/champion.py",
        "    if failed := [row for row in relevant if not row.passed]:\n",
        "    if failed := [row for row in relevant[:1] if not row.passed]:\n",
        "tests/evaluation/test_champion.py::test_passing_on_one_set_does_not_hide_failing_on_another",
    ),
    Bug(
        "the first promotion taken for the last",
        "warehouse/evaluations/promotions.py",
        ".order_by(promotions.c.id.desc())\n        .limit(1)",
        ".order_by(promotions.c.id)\n        .limit(1)",
        "tests/evaluation/test_champion.py::test_the_last_promotion_counts_and_each_job_has_its_own",
    ),
    Bug(
        "a check that is to fail a run only warns",
        "checks/judge.py",
        "FAILED if level == FAIL else WARNED",
        "WARNED",
        "tests/checks/test_judge.py::test_a_night_of_one_label_fails_after_ordinary_nights",
    ),
    Bug(
        "a run that failed a check taken for usual",
        "checks/charted.py",
        " if not each.has_failed",
        "",
        "tests/checks/test_judge.py::test_a_night_that_failed_is_no_part_of_later_comparisons_until_it_is_judged_again",
    ),
    Bug(
        "rows without an id counted as new rejects every night",
        "checks/rejects.py",
        "min(sum(run.counts.unkeyed.values()), met_before)",
        "0",
        "tests/checks/test_judge.py::test_rows_without_an_id_fail_the_night_that_finds_them_and_no_later_one",
    ),
    Bug(
        "verdicts kept while the run is scored again",
        "warehouse/ledger/runs.py",
        '"checks": None, ',
        "",
        "tests/warehouse/history/test_run_figures.py::"
        "test_verdicts_and_figures_are_kept_until_the_run_is_scored_again[sqlite]",
    ),
    Bug(
        "erased reviews missing in the sum of an old run",
        "warehouse/ledger/shards.py",
        "count(self.job.tables.scores) + count(erasures, erasures.c.erased_from == SCORE)",
        "count(self.job.tables.scores)",
        "tests/run/test_reconciling.py::test_an_old_run_that_is_cleared_after_an_erasure_still_adds_up[sqlite]",
    ),
    Bug(
        "a share above the limit erased",
        "run/reconciling.py",
        "    if before + report.deleted > limit:\n",
        "    if report.deleted > report.recorded:\n",
        "tests/run/test_reconciling.py::test_more_than_the_limit_is_refused_with_the_share_and_the_limit[sqlite]",
    ),
    Bug(
        "an emptied source taken for deleted reviews",
        "run/reconciling.py",
        "    if recorded.source.is_empty():\n",
        "    if False:\n",
        "tests/run/test_reconciling.py::test_an_emptied_source_is_refused_whatever_the_limit[sqlite]",
    ),
    Bug(
        "ids compared as the source's collation compares them",
        "warehouse/source/review_source.py",
        "return frozenset(review_id for review_id in ids if review_id in found)",
        "return frozenset(i for i in ids if i.strip().lower() in {f.strip().lower() for f in found if f})",
        "tests/run/test_reconciling.py::test_ids_of_every_type_are_compared_as_they_are[sqlite-texts]",
    ),
    Bug(
        "texts not written again with the earlier content of a set",
        "warehouse/evaluations/stored_sets.py",
        "        _restore_texts(connection, tables, set_id, reviews)\n",
        "",
        "tests/run/test_reconciling.py::"
        "test_texts_that_only_an_earlier_content_of_a_set_has_are_erased_and_written_again_with_it[sqlite]",
    ),
    Bug(
        "reviews forgotten that the source still has",
        "run/forgetting.py",
        "if existing and not even_if_in_source",
        "if existing and even_if_in_source",
        "tests/run/test_forgetting.py::test_a_review_that_is_still_in_the_source_is_refused[sqlite]",
    ),
    Bug(
        "the number of a removed shard given again",
        "warehouse/ledger/old_runs.py",
        "    kept += [max(runs, key=lambda run: (run.newest_shard, run.id))] if runs else []\n",
        "",
        "tests/run/test_retention.py::test_the_number_of_a_removed_shard_is_not_given_again[sqlite]",
    ),
    Bug(
        "the reviews of removed runs forgotten",
        "warehouse/ledger/old_runs.py",
        "jobs.c.uncounted_reviews + sum(run.recorded for run in old)",
        "jobs.c.uncounted_reviews + 0",
        "tests/run/test_retention.py::test_about_how_many_reviews_are_recorded_does_not_change[sqlite]",
    ),
    Bug(
        "predictions removed that a model's next content would be compared with",
        "warehouse/evaluations/old_predictions.py",
        "(row.set_id, row.row_limit, row.model, row.revision, row.passed)",
        "(row.row_limit, row.model, row.revision, row.passed)",
        "tests/evaluation/test_old_predictions.py::"
        "test_whatever_a_new_evaluation_is_compared_with_keeps_its_predictions[0]",
    ),
    Bug(
        "a forgotten review written by a run that had read it",
        "warehouse/ledger/writing.py",
        "            mine = chunk.without(self._erased(connection, lease, ids))\n",
        "            mine = chunk\n",
        "tests/run/test_forgetting.py::"
        "test_a_run_that_has_read_a_review_before_it_was_forgotten_does_not_write_it[sqlite-nothing]",
    ),
    Bug(
        "the text of a living review erased",
        "warehouse/evaluations/erasable_texts.py",
        "            if row.review_id not in erased:\n",
        "            if False:\n",
        "tests/run/test_forgetting.py::test_the_text_of_another_review_in_a_set_from_the_same_table_stays[sqlite]",
    ),
    Bug(
        "rows published that their own run still writes, and not again",
        "warehouse/publishing/changes.py",
        "        left = {*excluded, *(row.id for row in shards if row.is_running)}\n",
        "        left = {*excluded}\n",
        "tests/run/test_publishing.py::test_the_rows_of_a_running_shard_are_left_to_its_own_run[duckdb]",
    ),
    Bug(
        "implausible scores published",
        "warehouse/publishing/changes.py",
        "        has_failed = ~no_check_failed(runs.c.checks)\n",
        "        has_failed = shards.c.id.is_(None)\n",
        "tests/run/test_publishing.py::test_a_run_whose_checks_failed_is_left_out_until_somebody_publishes_it[duckdb]",
    ),
    Bug(
        "erased reviews left in a published table",
        "warehouse/publishing/changes.py",
        "[bytes(row.review_hash) for row in erased if row.erased_from is not None] if published else []",
        "[]",
        "tests/run/test_publishing.py::test_relabelled_rejected_and_erased_reviews_are_published[duckdb]",
    ),
    Bug(
        "an erasure published over a newer score",
        "warehouse/publishing/destinations/base.py",
        "order_by=staging.c.position.desc()",
        "order_by=staging.c.position",
        "tests/run/test_publishing.py::test_a_review_that_is_erased_and_scored_again_stays[duckdb]",
    ),
    Bug(
        "a publication recorded before it is written",
        "run/publishing.py",
        "                changes = self._changes(attempt.published, is_full=why_full is not None, resync=resync)\n",
        "                changes = self._changes(attempt.published, is_full=why_full is not None, resync=resync)\n"
        "                early = Published(changes.token, changes.erasure, changes.left, None, attempt.began)\n"
        "                self._publications.end(attempt, early, self.holder.dag_run)\n",
        "tests/run/test_killed_publications.py::"
        "test_the_next_publication_completes_one_that_was_killed_at_any_statement[duckdb]",
    ),
    Bug(
        "a table that lost rows not noticed",
        "run/publishing.py",
        "if published.rows is not None and found != published.rows:",
        "if False:",
        "tests/run/test_publishing.py::test_everything_is_published_again_if_the_table_lost_rows[duckdb]",
    ),
    Bug(
        "old rows kept by a full publication",
        "run/publishing.py",
        "        if changes.is_full:\n            self._destination.remove_others(staging)\n",
        "",
        "tests/run/test_publishing.py::test_a_full_publication_removes_what_the_ledger_does_not_have[duckdb]",
    ),
)
names = [bug.name for bug in BUGS]


@pytest.mark.parametrize("bug", BUGS, ids=names)
def test_each_bug_can_still_be_planted(bug: Bug) -> None:
    assert (PACKAGE / bug.file).read_text().count(bug.line) == 1
    file, test = bug.noticed_by.split("::")
    assert f"def {test.partition('[')[0]}(" in (ROOT / file).read_text()


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
