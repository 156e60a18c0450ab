"""A run's report: one line, one paragraph, and what goes to XCom."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from review_scoring.run.report import DryRunReport, RunReport
from review_scoring.warehouse.ledger.counts import Counts

RELABELLED = Counts(read=1205, scored=1200, rejected=5, labels={"pos": (300, 250.0), "neg": (900, 800.0)}, relabelled=7)
LABELS = {"pos": (300, 250.0), "neg": (900, 800.0)}
REPORT = RunReport(
    job="films",
    counts=Counts(read=1205, scored=1200, rejected=5, labels=LABELS),
    model="french-reviews-small",
    revision="0" * 64,
    device="cpu",
    seconds=61.2,
    reviews_per_second=19.7,
)


@pytest.mark.parametrize(
    ("report", "told"),
    [
        (
            REPORT,
            "films: 1,205 reviews read, 1,200 scored (75% neg, 25% pos), 5 rejected. It took 61 s "
            "(19.7 reviews per second while classifying) with french-reviews-small on cpu.",
        ),
        (
            replace(REPORT, counts=RELABELLED),
            "films: 1,205 reviews read, 1,200 scored (75% neg, 25% pos), 7 of them with another label than before, "
            "5 rejected. It took 61 s (19.7 reviews per second while classifying) with french-reviews-small on cpu.",
        ),
        (replace(REPORT, counts=Counts()), "films: nothing was new, so nothing was scored."),
        (
            replace(REPORT, counts=Counts(read=1, unchanged=1), device=None),
            "films: 1 review read, 0 scored, 1 unchanged. It took 61 s (19.7 reviews per second while classifying) "
            "with french-reviews-small.",
        ),
    ],
)
def test_a_run_is_summed_up_in_a_paragraph(report: RunReport, told: str) -> None:
    assert report.paragraph == report.as_xcom()["paragraph"] == told


def test_a_run_is_summed_up_in_a_line() -> None:
    assert REPORT.line == "read=1205 scored=1200 unchanged=0 rejected=5"
    assert replace(REPORT, is_rescore=True).line == "read=1205 scored=1200 unchanged=0 rejected=5 relabelled=0"
    assert replace(REPORT, counts=RELABELLED).line == "read=1205 scored=1200 unchanged=0 rejected=5 relabelled=7"


def test_a_report_travels_as_plain_values() -> None:
    values = REPORT.as_xcom()
    assert json.loads(json.dumps(values)) == values
    assert (values["scored"], values["labels"]) == (1200, {"pos": 300, "neg": 900})
    assert "relabelled" not in values
    assert DryRunReport.from_xcom(values) is None


def test_a_dry_run_says_that_nothing_was_written() -> None:
    report = DryRunReport(job="films", waiting=12_000, reviews=12_000, tokens=1_500_000, seconds=95)
    assert report.paragraph == (
        "films: 12,000 reviews are waiting. This run would read 12,000: 1,500,000 tokens, about 95 s to classify. This "
        "was a dry run; nothing was written."
    )
    assert report.line == "dry run: waiting=12000 reviews=12000 tokens=1500000 seconds=95 runs=1"
    assert DryRunReport.from_xcom(report.as_xcom()) == report


def test_a_dry_run_says_how_many_runs_a_backlog_takes() -> None:
    report = DryRunReport(
        job="films", waiting=5_000_000, reviews=100_000, tokens=12_000_000, seconds=7200, rescore_seconds=500_000
    )
    assert (
        "5,000,000 reviews are waiting. This run would read 100,000: 12,000,000 tokens, about 2 h" in report.paragraph
    )
    assert "All of them take 50 runs, about 4 days." in report.paragraph
    assert "Scoring all scored reviews again would take about 6 days." in report.paragraph
    more = replace(report, waiting_is_exact=False)
    assert "More than 5,000,000 reviews are waiting." in more.paragraph
    assert "All of them take more than 50 runs" in more.paragraph


def test_a_dry_run_says_what_a_run_costs_at_a_source_that_charges_for_statements() -> None:
    plain = DryRunReport(job="films", waiting=9, reviews=9, tokens=99, seconds=1)
    assert "statements" not in plain.paragraph + plain.line
    assert not [name for name in plain.as_xcom() if name.startswith("source_")]
    report = replace(plain, source_statements=5, source_bytes=1_234_567_890)
    assert "It takes up to 5 statements at the source, which read about 1.2 GB. This was" in report.paragraph
    assert report.line.endswith(" runs=1 statements=5 bytes=1234567890")
    assert DryRunReport.from_xcom(report.as_xcom()) == report
    assert "It takes up to 1 statement at the source. This" in replace(plain, source_statements=1).paragraph
    guess = replace(report, source_bytes=12_300, source_is_limit=False)
    assert "It takes about 5 statements at the source, which read about 12 kB." in guess.paragraph
    assert DryRunReport.from_xcom(guess.as_xcom()) == guess
