"""What the analytical warehouses have in common: no ledger, no enforced keys, and a price for each statement."""

from __future__ import annotations

from review_scoring.warehouse.dialects.base import Dialect


class Warehouse(Dialect):
    """Statements for a database that reviews are read from and scores are published to.

    Each statement takes about a second, and scans whole columns however few rows it returns: there are no indexes. So
    few large statements read a source.
    """

    enforces_keys = False
    id_page_rows = 500_000
    text_rows = 10_000
    charges_for_statements = True
