"""Chromium for the tests of the pages in a browser."""

from __future__ import annotations

import shutil

from tests.requirements import not_here

TOO_WIDE = """document.documentElement.scrollWidth <= window.innerWidth ? [] :
    [...document.querySelectorAll("body *")].filter(each => each.getBoundingClientRect().right > window.innerWidth)
    .map(each => `${each.tagName} ${each.className} ${each.id}`)"""
"""Returns the elements beyond the right edge of the window, for a page that is wider than the window."""


def chromium() -> str:
    """Return the path of an installed browser. Without one, the test is skipped."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        not_here("there is no Chromium on the PATH: apt-get install chromium")
    return str(found)
