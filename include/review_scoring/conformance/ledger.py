"""What a database does as a ledger: each review is scored exactly once, whatever is interrupted or runs at once."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import count

from review_scoring.conformance.source import (
    a_changed_text_is_scored_again,
    a_deleted_review_is_found_and_erased,
    each_review_is_scored_once,
    several_shards_read_each_review_once,
    text_ids_are_kept_exactly,
    texts_without_a_word_are_rejected,
)
from review_scoring.conformance.trial import BrokenPromiseError, NotApplicableError, Scratch, Trial, require
from review_scoring.errors import JobBusyError, LeaseLostError, ReviewScoringError
from review_scoring.warehouse.scratch.statements import interrupted

STEP = 17
"""Every which moment of a run is interrupted: before a statement, and next time after one."""


def a_run_may_be_interrupted_at_any_statement(scratch: Scratch) -> None:
    """And is completed by its next try, without a review lost or scored twice."""
    for moment in count(0, STEP):
        with scratch.trial() as trial:
            _fill(trial)
            with interrupted(trial.ledger.engine, moment) as interruption, suppress(ReviewScoringError):
                trial.score("1")
            counts = trial.score("1").counts
            require(counts.scored, len(trial.texts), "reviews that the run counts")
            trial.require_scores()
            if not interruption.happened:
                return


def two_runs_of_a_job_take_turns(scratch: Scratch) -> None:
    """A second run is refused while the first one holds its lease."""
    with scratch.trial() as trial:
        others: list[str] = []

        def begin_another(texts: Sequence[str]) -> None:
            del texts
            try:
                _beside(trial).score("2")
                others.append("let in")
            except JobBusyError:
                others.append("refused")

        _fill(trial)
        trial.score("1", before_batch=begin_another)
        require(set(others), {"refused"}, "another run meanwhile")
        trial.require_scores()


def a_run_that_was_given_up_for_dead_writes_nothing_more(scratch: Scratch) -> None:
    """Its lease expires, another run scores its reviews, and its next commit is refused."""
    with scratch.trial() as trial:
        overtaken: list[bool] = []

        def overtake(texts: Sequence[str]) -> None:
            del texts
            if not overtaken:
                overtaken.append(True)
                trial.ledger.expire_leases()
                require(_beside(trial).score("2").counts.scored, len(trial.texts), "reviews that the other run scored")

        _fill(trial)
        try:
            trial.score("1", before_batch=overtake)
        except LeaseLostError:
            trial.require_scores()
            return
        raise BrokenPromiseError("it could commit after another run had taken over")


def a_second_score_of_a_review_is_refused(scratch: Scratch) -> None:
    """By the primary key, which the database enforces."""
    with scratch.trial() as trial:
        _fill(trial)
        trial.score("1")
        require(trial.ledger.refuses_a_second_score(), True, "a copy of a row is refused")


def what_is_rolled_back_leaves_nothing(scratch: Scratch) -> None:
    """In tables with transactions."""
    with scratch.trial() as trial:
        _fill(trial)
        trial.score("1")
        require(trial.ledger.undoes_what_is_rolled_back(), True, "deleted rows are there again")


def a_locked_row_keeps_other_transactions_waiting(scratch: Scratch) -> None:
    """Where more than one process can write."""
    with scratch.trial() as trial:
        trial.prepare()  # which registers the job
        locks_rows = trial.ledger.locks_rows()
        if locks_rows is None:
            raise NotApplicableError("only one process can write")
        require(locks_rows, True, "another transaction waits for the row")


def _fill(trial: Trial) -> None:
    trial.add({n: f"critique numéro {n}" for n in range(70)})


def _beside(trial: Trial) -> Trial:
    """Return the same job for another run at the same time, with a stop flag of its own."""
    return Trial(trial.reviews, trial.ledger, trial.job, trial.destination)


PROMISES = (
    each_review_is_scored_once,
    a_run_may_be_interrupted_at_any_statement,
    two_runs_of_a_job_take_turns,
    a_run_that_was_given_up_for_dead_writes_nothing_more,
    a_second_score_of_a_review_is_refused,
    what_is_rolled_back_leaves_nothing,
    a_locked_row_keeps_other_transactions_waiting,
    several_shards_read_each_review_once,
    a_changed_text_is_scored_again,
    texts_without_a_word_are_rejected,
    text_ids_are_kept_exactly,
    a_deleted_review_is_found_and_erased,
)
