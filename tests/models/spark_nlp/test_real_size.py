"""An archive of XLM-RoBERTa base's real size. It takes minutes and 5 GB of disk, so only `make prove` runs it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from review_scoring.models.spark_nlp.formats.protobuf import Message
from tests.conftest import long_form
from tests.models.spark_nlp.generator import Spec, generate, values
from tests.models.spark_nlp.test_fixtures import FIXTURES

MEMORY_LIMIT = 2.5e9
CONVERT = """
import pathlib, sys, time
from review_scoring.models.spark_nlp.convert import convert_archive
started = time.monotonic()
print(convert_archive(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])).parameters)
print(time.monotonic() - started)
status = pathlib.Path("/proc/self/status").read_text()
print(int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) * 1024)
"""


@long_form
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
def test_xlm_roberta_base_converts_within_two_and_a_half_gigabytes(tmp_path: Path) -> None:
    import numpy as np
    from safetensors import safe_open

    spec = Spec(
        architecture="xlm_roberta",
        hidden=768,
        intermediate=3072,
        layers=12,
        heads=12,
        positions=514,
        rows=250_002,
        charsmap=charsmap_of_the_fixture(),
        max_tokens=512,
    )
    archive, folder = tmp_path / "archive.zip", tmp_path / "model"
    started = time.monotonic()
    generate(archive, spec)
    print(f"\ngenerated {archive.stat().st_size / 1e6:.0f} MB in {time.monotonic() - started:.0f} s")
    ran = subprocess.run(
        [sys.executable, "-c", CONVERT, str(archive), str(folder)], check=True, capture_output=True, text=True
    )
    parameters, seconds, peak = map(float, ran.stdout.split())
    print(f"converted {parameters / 1e6:.1f} M parameters in {seconds:.1f} s, {peak / 1e6:.0f} MB at most")
    assert peak < MEMORY_LIMIT
    assert parameters == 278_045_186
    with safe_open(folder / "model.safetensors", framework="numpy") as weights:
        name = "roberta.encoder.layer.11.output.dense"
        original = values(spec, "roberta/encoder/layer_._11/output/dense/kernel", (3072, 768))
        np.testing.assert_array_equal(weights.get_tensor(f"{name}.weight"), original.T)
    assert len(json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]) == 250_002


def charsmap_of_the_fixture() -> bytes:
    """Return the normalisation table of a real SentencePiece model."""
    with zipfile.ZipFile(FIXTURES / "xlm_roberta.zip") as archive:
        model = Message(archive.read("xlmroberta_spp"), "xlmroberta_spp")
    return b"".join(bytes(normalizer.raw(2)) for normalizer in model.messages(3))
