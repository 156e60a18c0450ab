"""What a database does as the destination of a publication: its table has what the ledger has, at once or later."""

from __future__ import annotations

from contextlib import suppress
from itertools import count

from review_scoring.conformance.source import TEXT_IDS
from review_scoring.conformance.trial import Scratch, Trial, require, require_equal
from review_scoring.errors import ReviewScoringError
from review_scoring.run.forgetting import forget
from review_scoring.warehouse.erasure import ErasureReason, ErasureRequest
from review_scoring.warehouse.publishing.destinations import Destination
from review_scoring.warehouse.scratch.published import can_still_apply, create_as_a_dba, drop, lose_a_row, published
from review_scoring.warehouse.scratch.statements import interrupted

STEP = 7
"""Every which moment of a publication is interrupted: before a statement, and next time after one."""


def a_table_is_created_and_has_the_scores(scratch: Scratch) -> None:
    """And a second publication has nothing to write."""
    with scratch.trial() as trial:
        _score(trial)
        require(trial.publish("1").rows, 30, "rows of the table")
        _require_published(trial)
        require(trial.publish("1").written, 0, "scores that the second publication wrote")


def what_changed_is_published(scratch: Scratch) -> None:
    """New and relabelled reviews are written; those that were rejected or erased are removed."""
    with scratch.trial() as trial:
        trial.set(updated_at_column="updated_at")
        _score(trial)
        trial.publish("1")
        _change(trial)
        report = trial.publish("2")
        require((report.written, report.removed), (2, 2), "scores written and removed")
        _require_published(trial)


def ids_are_written_exactly(scratch: Scratch) -> None:
    """Accents, case, quotes, blanks at the end."""
    with scratch.trial(has_text_ids=True) as trial:
        trial.add(TEXT_IDS)
        trial.score("1")
        trial.publish("1")
        _require_published(trial)


def a_publication_may_be_interrupted_at_any_statement(scratch: Scratch) -> None:
    """Readers then see the table as it was before or as it is afterwards, and the next publication completes it."""
    for moment in count(0, STEP):
        with scratch.trial() as trial:
            trial.set(updated_at_column="updated_at")
            _score(trial)
            trial.publish("1")
            before = trial.expected
            _change(trial)
            with interrupted(_destination(trial).engine, moment) as interruption, suppress(ReviewScoringError):
                trial.publish("2")
            if _published(trial) != before:
                _require_published(trial)
            trial.publish("2")
            _require_published(trial)
            if not interruption.happened:
                return


def a_publication_that_was_overtaken_writes_nothing_more(scratch: Scratch) -> None:
    """Its staging table is gone, so its next statement fails."""
    with scratch.trial() as trial:
        _score(trial)
        trial.publish("1")
        destination = _destination(trial)
        earlier = destination.begin_staging(100)
        destination.load_removed(earlier, ["1"], after=0)
        destination.begin_staging(101)
        require(can_still_apply(destination, earlier), False, "it can still write")
        _require_published(trial)


def a_table_that_lost_rows_is_published_again(scratch: Scratch) -> None:
    """All of it, since nobody knows what else is missing."""
    with scratch.trial() as trial:
        _score(trial)
        trial.publish("1")
        lose_a_row(_destination(trial), "3")
        trial.publish("1")
        _require_published(trial)


def a_table_that_was_dropped_is_published_again(scratch: Scratch) -> None:
    """It is created again."""
    with scratch.trial() as trial:
        _score(trial)
        trial.publish("1")
        drop(_destination(trial))
        trial.publish("1")
        _require_published(trial)


def a_table_that_a_dba_has_created_is_enough(scratch: Scratch) -> None:
    """As `review-scoring ddl --publish` prints it."""
    with scratch.trial() as trial:
        _score(trial)
        create_as_a_dba(_destination(trial))
        trial.publisher("1", creates_table=False).publish()
        _require_published(trial)


def _score(trial: Trial) -> None:
    trial.add({n: f"critique numéro {n}" for n in range(30)})
    trial.score("1")


def _change(trial: Trial) -> None:
    """Have a new review, a relabelled one, one that is rejected now, and one that is erased."""
    trial.add({100: "nouvelle critique"})
    trial.change(3, "tout autre chose")
    trial.change(4, " ")
    trial.score("2")
    trial.reviews.delete(5)
    del trial.texts["5"]
    forget(trial.recorded(), ["5"], ErasureRequest(ErasureReason.REQUESTED, "check", "check_connection"))


def _destination(trial: Trial) -> Destination:
    assert trial.destination is not None, "a trial of publications"
    return trial.destination


def _published(trial: Trial) -> dict[str, tuple[str, float]]:
    rows = published(_destination(trial))
    found = {review_id: (label, score) for review_id, label, score in rows}
    require(len(rows), len(found), "rows of the table, one for each review")
    return found


def _require_published(trial: Trial) -> None:
    require_equal(_published(trial), trial.expected, "published scores")


PROMISES = (
    a_table_is_created_and_has_the_scores,
    what_changed_is_published,
    ids_are_written_exactly,
    a_publication_may_be_interrupted_at_any_statement,
    a_publication_that_was_overtaken_writes_nothing_more,
    a_table_that_lost_rows_is_published_again,
    a_table_that_was_dropped_is_published_again,
    a_table_that_a_dba_has_created_is_enough,
)
