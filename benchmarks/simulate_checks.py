"""Simulates years of nightly runs: how often the checks raise a false alarm, and on which night they find a drift.

The nights differ in weekday, growth, season, quiet nights, the mood of the reviews and their difficulty. Their scores
are drawn from those of the bundled model for the sample reviews, and in a drift from those for changed texts. The
verdicts are those of `review_scoring.checks`, with the default settings.

    python benchmarks/simulate_checks.py                 # 100 years of each size of job: a few minutes
    python benchmarks/simulate_checks.py --years 10
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from statistics import fmean, median_low
from typing import Any

import numpy as np
from report import report

from review_scoring.check_settings import Checks
from review_scoring.checks.expected_accuracy import Calibration
from review_scoring.checks.judge import BACK, judge
from review_scoring.demo import sample_reviews
from review_scoring.inference.classifier import Classifier
from review_scoring.models.catalogue import DEFAULT_MODEL, find_model
from review_scoring.reviews import Prediction
from review_scoring.warehouse.history.run_figures import SCORE_EDGES, PastRun, RunFigures, ScoreFigures
from review_scoring.warehouse.ledger.counts import Counts
from review_scoring.warehouse.ledger.verdicts import FAILED, WARNED, Verdict

BEGAN = datetime(2024, 1, 1, 2, tzinfo=UTC)
YEAR = 365
SIZES = (60, 1_000, 20_000)
"""Usual reviews a night at the start of a year."""

WEEKDAYS = (1.0, 0.9, 0.9, 0.95, 1.1, 1.5, 1.6)
GROWTH = 1.5
"""In a year."""

QUIET, QUIET_NIGHTS = 0.25, 0.03
"""A quiet night, such as a holiday, has a quarter of the reviews; three nights in a hundred are quiet."""

POSITIVE = 0.46
MOOD, KEPT_MOOD = 0.02, 0.8
"""The share of positive reviews wanders by two points (standard deviation), and a night resembles the night before."""

DIFFICULTY = 0.08
"""How much a night prefers reviews with a high or a low score: the exponent of the odds, for a standard deviation."""

REJECTED = 0.005
LASTS = 14
"""Nights that a drift lasts."""

NEGATIONS = re.compile(r"\b(?:ne|n['\u2019]|pas|jamais|rien|plus|aucune?|ni|sans)\b['\u2019]?\s?", re.IGNORECASE)
GERMAN = (
    "Ein wunderbarer Film, die Schauspieler sind großartig und die Geschichte hat mich bis zum Ende gefesselt.",
    "Was für eine Zeitverschwendung. Die Handlung ergibt keinen Sinn und das Schauspiel ist furchtbar.",
    "Ein Meisterwerk, wunderschön gefilmt, mit großartiger Musik.",
    "Langweilig, viel zu lang und schlecht geschrieben. Ich bin vor dem Ende gegangen.",
    "Lustig und bewegend, einer der besten Filme des Jahres.",
    "Die Spezialeffekte sind billig und die Dialoge lächerlich.",
    "Es war in Ordnung, mehr nicht: ein angenehmer Abend, aber ich habe ihn schon vergessen.",
    "Zwei Stunden meines Lebens, die ich nie zurückbekomme.",
    "Eine berührende Geschichte mit starker Besetzung. Sehr zu empfehlen.",
    "Von diesem Regisseur hatte ich viel mehr erwartet. Sehr enttäuschend.",
)


@dataclass(frozen=True)
class Pool:
    """What the model returned for some texts, as columns: nights are drawn from it."""

    labels: Any
    scores: Any
    truncated: Any
    ranges: Any

    @classmethod
    def of(cls, found: Sequence[Any]) -> Pool:
        each = [one for one in found if isinstance(one, Prediction)]
        scores = np.array([one.score for one in each])
        return cls(
            np.array([one.label for one in each]),
            scores,
            np.array([one.truncated for one in each]),
            np.clip(np.searchsorted(SCORE_EDGES, scores, side="left") - 1, 0, len(SCORE_EDGES) - 2),
        )

    def weights(self, positive: float | None, difficulty: float) -> Any:
        """Return the probability of each text: `positive` of the mass for positive ones, if it is given."""
        weights = np.exp(difficulty * (self.scores - self.scores.mean()) / (self.scores.std() or 1.0))
        if positive is not None:
            for label, share in (("pos", positive), ("neg", 1 - positive)):
                mine = self.labels == label
                weights[mine] *= share / weights[mine].sum()
        return weights / weights.sum()


@dataclass(frozen=True)
class Night:
    """What a run would find: its time, and how many reviews of which pool."""

    at: datetime
    reviews: int
    positive: float
    difficulty: float


Drift = Callable[[Night, "Simulation"], RunFigures]


class Simulation:
    """Draws nights, and what the model makes of them."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        classifier = Classifier.load(find_model(DEFAULT_MODEL), device="cpu", precision="float32")
        rows = sample_reviews()
        texts = [row["text"] for row in rows]
        found = classifier.classify(texts)
        self.usual = Pool.of(found)
        self.no_negations = Pool.of(classifier.classify([NEGATIONS.sub("", text) or "." for text in texts]))
        self.german = Pool.of(classifier.classify(GERMAN))
        self.one_text = Pool.of(found[:1])
        self.calibration = _calibration(self.usual, [row["label"] for row in rows])
        # The mood of a night is that of the labels that the model gives; dropped negations change those.
        self._shift = float((self.no_negations.labels == "pos").mean() - (self.usual.labels == "pos").mean())

    def nights(self, usual: int) -> Iterator[Night]:
        """Yield ordinary nights without end."""
        mood = 0.0
        night = 0
        while True:
            mood = KEPT_MOOD * mood + self.random.normal(0, MOOD * np.sqrt(1 - KEPT_MOOD**2))
            weekend = 0.01 if night % 7 >= 5 else -0.004
            expected = usual * GROWTH ** (night / YEAR) * WEEKDAYS[night % 7] * np.exp(self.random.normal(0, 0.2))
            expected *= QUIET if self.random.random() < QUIET_NIGHTS else 1.0
            yield Night(
                BEGAN + timedelta(days=night, seconds=float(self.random.exponential(60))),
                int(self.random.poisson(expected)),
                float(np.clip(POSITIVE + mood + weekend, 0.05, 0.95)),
                float(self.random.normal(0, DIFFICULTY)),
            )
            night += 1

    def run(
        self,
        night: Night,
        pool: Pool | None = None,
        *,
        mood: bool = True,
        rejected: float = REJECTED,
        share: float = 1.0,
    ) -> RunFigures:
        """Return the figures of a run that scored the reviews of a night.

        :param pool: what the texts are drawn from; the usual ones if None
        :param mood: whether the night's share of positive reviews is kept
        :param share: how much of the night is drawn from the pool; the rest is as usual
        """
        rejects = int(self.random.binomial(night.reviews, rejected))
        scored = night.reviews - rejects
        from_pool = int(self.random.binomial(scored, share))
        parts = [(self.usual, True, scored - from_pool), (pool or self.usual, mood, from_pool)]
        labels: dict[str, tuple[int, float]] = {}
        truncated, by_score = 0, np.zeros(len(SCORE_EDGES) - 1, dtype=int)
        for each, keeps_mood, count in parts:
            positive = night.positive if keeps_mood else None
            drawn = self.random.multinomial(count, each.weights(positive, night.difficulty))
            for label in ("neg", "pos"):
                mine = each.labels == label
                before = labels.get(label, (0, 0.0))
                labels[label] = before[0] + int(drawn[mine].sum()), before[1] + float(drawn[mine] @ each.scores[mine])
            truncated += int(drawn[each.truncated].sum())
            by_score += np.bincount(each.ranges, weights=drawn, minlength=len(by_score)).astype(int)
        return RunFigures(
            started_at=night.at,
            is_rescore=False,
            counts=Counts(read=night.reviews, scored=scored, rejected=rejects, labels=labels),
            scores=ScoreFigures(scored, truncated, tuple(int(n) for n in by_score)),
            newest_at=night.at - timedelta(hours=float(self.random.exponential(0.5))),
        )

    def without_negations(self, night: Night) -> RunFigures:
        """Return the run of a night whose texts have lost their negations, which changes labels by the same shift."""
        return self.run(replace(night, positive=night.positive + self._shift), self.no_negations)


DRIFTS: dict[str, Drift] = {
    "60% of texts are empty": lambda night, draw: draw.run(night, rejected=0.6),
    "a scraper repeats one text": lambda night, draw: draw.run(night, draw.one_text, mood=False),
    "negations are dropped": lambda night, draw: draw.without_negations(night),
    "all reviews are German": lambda night, draw: draw.run(night, draw.german, mood=False),
    "a third is German": lambda night, draw: draw.run(night, draw.german, mood=False, share=1 / 3),
    "no new reviews arrive": lambda night, draw: replace(draw.run(replace(night, reviews=0)), newest_at=None),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--years", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    draw = Simulation(arguments.seed)
    alarms, found = [], []
    for size in SIZES:
        counted: Counter[tuple[str, str]] = Counter()
        nights: dict[str, list[list[set[str]]]] = {name: [] for name in DRIFTS}
        for _ in range(arguments.years):
            past, runs = _ordinary_year(draw, size, counted)
            following = list(islice(runs, LASTS))
            for drift, found_on in nights.items():
                found_on.append(_found(draw, drift, past, following))
        alarms += _alarm_rows(size, arguments.years, counted)
        found += [_drift_row(size, drift, each) for drift, each in nights.items()]
    report("checks_false_alarms", alarms)
    report("checks_drifts", found)


def _ordinary_year(
    draw: Simulation, size: int, counted: Counter[tuple[str, str]]
) -> tuple[list[PastRun], Iterator[Night]]:
    """Judge a year without a drift after the first weeks, and count the alarms by check and state.

    :returns: the runs, and the nights that follow
    """
    nights = draw.nights(size)
    past: list[PastRun] = []
    for night in islice(nights, YEAR):
        run = draw.run(night)
        verdicts = judge(Checks(), run, _recent(past, run), draw.calibration)
        counted.update((each.name, each.state) for each in verdicts)
        past.append(_past(run, verdicts))
    return past, nights


def _found(draw: Simulation, drift: str, past: Sequence[PastRun], nights: Sequence[Night]) -> list[set[str]]:
    """Return the states of the checks on each night of a drift."""
    known = list(past)
    states = []
    for night in nights:
        run = DRIFTS[drift](night, draw)
        verdicts = judge(Checks(), run, _recent(known, run), draw.calibration)
        states.append({each.state for each in verdicts})
        known.append(_past(run, verdicts))
    return states


def _past(run: RunFigures, verdicts: Sequence[Verdict]) -> PastRun:
    """Return a run as the checks of later runs read it."""
    return PastRun(run.started_at, run.counts, run.scores, any(each.state == FAILED for each in verdicts))


def _recent(past: Sequence[PastRun], run: RunFigures) -> Sequence[PastRun]:
    first = run.started_at - BACK
    return [each for each in past[-BACK.days - 2 :] if each.started_at >= first]


def _alarm_rows(size: int, years: int, counted: Counter[tuple[str, str]]) -> list[dict[str, Any]]:
    names = dict.fromkeys(name for name, _ in counted)
    return [
        {
            "reviews_a_night": size,
            "check": name,
            "nights": sum(count for (each, _), count in counted.items() if each == name),
            "skipped": counted[name, "skipped"],
            "failed_a_year": round(counted[name, FAILED] / years, 3),
            "warned_a_year": round(counted[name, WARNED] / years, 3),
        }
        for name in names
    ]


def _drift_row(size: int, drift: str, found: Sequence[Sequence[set[str]]]) -> dict[str, Any]:
    """Return how many drifts were found, on which night, and on how many nights a check failed.

    :param found: the states of the checks on each night of each drift
    """
    row: dict[str, Any] = {"reviews_a_night": size, "drift": drift, "drifts": len(found)}
    for word, states in (("noticed", {WARNED, FAILED}), ("failed", {FAILED})):
        nights = [[night for night, each in enumerate(drifts, 1) if each & states] for drifts in found]
        first = [each[0] for each in nights if each]
        row |= {
            f"share_{word}_first_night": round(first.count(1) / len(found), 3),
            f"share_{word}": round(len(first) / len(found), 3),
            f"median_night_{word}": median_low(first) if first else None,
        }
    return {**row, "nights_failed": round(fmean(len([n for n in each if FAILED in n]) for each in found), 1)}


def _calibration(pool: Pool, expected: Sequence[str]) -> Calibration:
    """Return the calibration of an evaluation on the sample reviews."""
    right = pool.labels == np.array(expected)
    reviews = np.bincount(pool.ranges, minlength=len(SCORE_EDGES) - 1)
    correct = np.bincount(pool.ranges, weights=right, minlength=len(reviews))
    shares = np.divide(correct, reviews, out=np.zeros(len(reviews)), where=reviews > 0)
    return Calibration(
        "the evaluation on the sample", tuple(int(n) for n in reviews), tuple(float(share) for share in shares)
    )


if __name__ == "__main__":
    main()
