"""What a database does as a source: each review is read once, as it is, whenever it comes."""

from __future__ import annotations

from datetime import timedelta

from review_scoring.conformance.trial import BEGIN, Scratch, require
from review_scoring.job import OnDelete
from review_scoring.run.reconciling import reconcile
from review_scoring.warehouse.erasure import ErasureReason, ErasureRequest

TEXTS = {
    1: "Un film lumineux, drôle et déchirant : à voir — absolument « génial » 😀",
    2: 'Deux lignes,\net une tabulation\t, "des guillemets", l\'apostrophe, `les autres`',
    3: "100 % raté :pas de valeur, %s ni {rien} \\n; -- DROP",
    4: "Trop long. " * 3_000,
    5: "日本語 한국어 Ελληνικά العربية",
}
WIDE_IDS = {2**53 + 1: "un", 2**62: "deux", -7: "trois", 0: "zéro"}
TEXT_IDS = {"l'été 1": "un", "L'ÉTÉ 1": "deux", "100 %:x\\2": "trois", "日本 😀": "quatre", "4 ": "cinq", "4": "six"}


def each_review_is_scored_once(scratch: Scratch) -> None:
    """Also by a second run, and if it is inserted with a lower id than those before."""
    with scratch.trial() as trial:
        trial.add({n: f"critique numéro {n}" for n in range(100, 220)})
        require(trial.score("1").counts.scored, 120, "reviews scored by the first run")
        trial.require_scores()
        require(trial.score("2").counts.read, 0, "reviews read by the second run")
        trial.add({7: "en retard", 300: "nouvelle"})
        require(trial.score("3").counts.scored, 2, "reviews scored by the third run")
        trial.require_scores()


def several_shards_read_each_review_once(scratch: Scratch) -> None:
    """Each shard is read by a task of its own."""
    with scratch.trial() as trial:
        trial.add({3 * n: f"critique numéro {n}" for n in range(120)})
        require(trial.score("1", shards=3).counts.read, 120, "reviews read")
        trial.require_scores()


def a_late_review_is_found_by_the_cursor(scratch: Scratch) -> None:
    """Within `cursor_lookback` of a time; of an integer on SQLite, which has no type for times."""
    with scratch.trial() as trial:
        trial.set(cursor_column="written_at" if trial.reviews.has_times else "id", cursor_lookback=3600)
        trial.add({n: f"critique numéro {n}" for n in range(40, 60)}, BEGIN)
        trial.score("1")
        trial.add({7: "en retard"}, BEGIN - timedelta(minutes=30))
        trial.add({99: "nouvelle"}, BEGIN + timedelta(minutes=10, microseconds=1))
        require(trial.score("2").counts.scored, 2, "reviews scored by the second run")
        trial.require_scores()


def a_changed_text_is_scored_again(scratch: Scratch) -> None:
    """With `updated_at_column`."""
    with scratch.trial() as trial:
        trial.set(updated_at_column="updated_at")
        trial.add({n: f"critique numéro {n}" for n in range(20)})
        trial.score("1")
        trial.change(7, "tout autre chose")
        require(trial.score("2").counts.scored, 1, "reviews scored by the second run")
        trial.require_scores()
        require(trial.score("3").counts.read, 0, "reviews read by the third run")


def texts_are_read_as_they_are(scratch: Scratch) -> None:
    """Accents, other scripts, quotes, ends of lines, and 33,000 characters."""
    with scratch.trial() as trial:
        trial.add(TEXTS)
        trial.score("1")
        trial.require_scores()


def texts_without_a_word_are_rejected(scratch: Scratch) -> None:
    """A NULL and blanks."""
    with scratch.trial() as trial:
        trial.add({1: None, 2: " \n ", 3: "un avis"})
        require(trial.score("1").counts.rejected, 2, "rejected reviews")
        require(trial.ledger.rejects(trial.job.name), {"1": "null_text", "2": "empty_text"}, "rejects")
        trial.require_scores()


def wide_ids_are_kept_exactly(scratch: Scratch) -> None:
    """Integers above 2^53, which a float cannot hold."""
    with scratch.trial() as trial:
        trial.add(WIDE_IDS)
        trial.score("1")
        trial.require_scores()
        require(trial.score("2").counts.read, 0, "reviews read by the second run")


def text_ids_are_kept_exactly(scratch: Scratch) -> None:
    """Accents, case, quotes, blanks at the end."""
    with scratch.trial(has_text_ids=True) as trial:
        trial.add(TEXT_IDS)
        trial.score("1")
        trial.require_scores()
        require(trial.score("2").counts.read, 0, "reviews read by the second run")


def rows_with_the_same_id_are_one_review(scratch: Scratch) -> None:
    """And rows without an id are counted, and skipped."""
    with scratch.trial() as trial:
        trial.add({1: "un", 2: "deux"})
        trial.reviews.insert([{"id": 2, "text": "deux"}, {"id": None, "text": "sans id"}])
        counts = trial.score("1").counts
        require(counts.scored, 2, "reviews scored")
        require(counts.unkeyed, {"duplicate_id": 1, "null_id": 1}, "rows without an id of their own")
        trial.require_scores()


def a_deleted_review_is_found_and_erased(scratch: Scratch) -> None:
    """As the DAG `reconcile_reviews` does it."""
    with scratch.trial() as trial:
        trial.add({n: f"critique numéro {n}" for n in range(20)})
        trial.score("1")
        trial.reviews.delete(7)
        del trial.texts["7"]
        request = ErasureRequest(ErasureReason.DELETED, "check", "check_connection")
        report = reconcile(trial.recorded(), request, on_delete=OnDelete.ERASE, max_share=0.5)
        require(report.deleted, 1, "deleted reviews")
        trial.require_scores()


PROMISES = (
    each_review_is_scored_once,
    several_shards_read_each_review_once,
    a_late_review_is_found_by_the_cursor,
    a_changed_text_is_scored_again,
    texts_are_read_as_they_are,
    texts_without_a_word_are_rejected,
    wide_ids_are_kept_exactly,
    text_ids_are_kept_exactly,
    rows_with_the_same_id_are_one_review,
    a_deleted_review_is_found_and_erased,
)
