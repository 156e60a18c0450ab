"""Reports of the benchmarks: prints a table, and writes the same figures as JSON to `benchmarks/results/`."""

from __future__ import annotations

import json
import os
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def report(name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows with the same keys as a table, and write them with the command, the machine and the date."""
    headings = list(rows[0])
    cells = [[_text(row[heading], heading) for heading in headings] for row in rows]
    widths = [max(len(line[n]) for line in [headings, *cells]) for n in range(len(headings))]
    print()
    for line in [headings, *cells]:
        print("  " + "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))
    found = {
        "name": name,
        "command": shlex.join(["python", Path(sys.argv[0]).as_posix(), *sys.argv[1:]]),
        "machine": machine(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "rows": list(rows),
    }
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{name}.json"
    file.write_text(json.dumps(found, indent=2) + "\n")
    print(f"\nwritten to benchmarks/results/{file.name}")


def machine() -> str:
    """Return the processor, its cores, and Python's version."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        cpu = models[0] if models else cpu
    return f"{cpu}, {os.cpu_count()} cores, Python {platform.python_version()}"


def _text(value: object, heading: str) -> str:
    if isinstance(value, float) and heading.startswith("share"):
        return f"{value:.1%}"
    if isinstance(value, float):
        return f"{value:,.2f}" if abs(value) < 100 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
