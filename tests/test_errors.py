"""What the errors say."""

from __future__ import annotations

from collections.abc import Iterator

from review_scoring import errors
from review_scoring.errors import PreflightError, ReviewScoringError


def test_a_problem_that_was_found_twice_is_told_once() -> None:
    told = PreflightError(["there is no Airflow Connection 'a'", "no table", "there is no Airflow Connection 'a'"])
    assert told.problems == ("there is no Airflow Connection 'a'", "no table")
    assert "preflight found 2 problems:" in str(told)


def drawn(error: type[Exception], above: str = "", last: bool = True) -> Iterator[str]:
    """Draw the tree of exceptions below one, a line for each."""
    branch = "" if error is ReviewScoringError else "└── " if last else "├── "
    yield f"    {above}{branch}{error.__name__}"
    children = [each for each in error.__subclasses__() if each.__module__ == errors.__name__]
    below = above + ("" if not branch else "    " if last else "│   ")
    for child in children:
        yield from drawn(child, below, child is children[-1])


def test_the_docstring_of_the_module_draws_the_tree() -> None:
    tree = [line for line in (errors.__doc__ or "").splitlines() if line.startswith("    ")]
    assert tree == list(drawn(ReviewScoringError))
