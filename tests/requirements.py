"""What a test needs that may not be there, such as a service or torch: then it is skipped, with the reason."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.util import find_spec
from types import ModuleType

import pytest

REQUIRE_ALL = os.environ.get("REVIEW_SCORING_REQUIRE_ALL") == "1"
EXTRAS = {
    "torch": "inference",
    "transformers": "inference",
    "huggingface_hub": "inference",
    "sklearn": "benchmark",
    "playwright": "dev",
}
"""Package that some tests import -> the extra of the project that installs it."""

MISSING = {package: extra for package, extra in EXTRAS.items() if find_spec(package) is None}


def not_here(reason: str) -> None:
    """Skip, unless everything was promised to be here: then a missing service fails the test.

    At the top level of a module it skips all tests of the module.
    """
    if REQUIRE_ALL:
        pytest.fail(f"REVIEW_SCORING_REQUIRE_ALL=1, but {reason}")
    pytest.skip(reason, allow_module_level=True)


def require_torch() -> None:
    """Skip a test whose other processes load a model, if torch is not installed."""
    require("torch")


def require(package: str) -> None:
    """Skip if a package of an extra is not installed."""
    if package in MISSING:
        not_here(f"{package} is not installed; the extra `{MISSING[package]}` brings it")


class _SkipOnImport(MetaPathFinder):
    """Skips the test, or the module of tests, that imports a missing package itself or by any other module."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None, /) -> None:
        """Find nothing, and skip if the package is one of the missing."""
        del path, target
        require(fullname.partition(".")[0])


if MISSING:
    sys.meta_path.insert(0, _SkipOnImport())
