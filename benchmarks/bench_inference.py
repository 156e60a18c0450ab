"""Inference speed and memory, compared with transformers (pipeline, Trainer), OpenVINO and the CPU's peak speed.

    python benchmarks/bench_inference.py                # speed and memory of each engine and architecture
    python benchmarks/bench_inference.py --all          # with other batch sizes, and four times as many reviews
    python benchmarks/bench_inference.py --what memory  # resident memory of the classifier by number of reviews
    python benchmarks/bench_inference.py --what sql     # a run through Airflow, compared with the classifier alone

The models have their real sizes and random weights; the bundled one has its own weights. Reviews are the AlloCiné
sample if REVIEW_SCORING_TEST_ALLOCINE, or ../shared/data, contains it, otherwise the sample reviews. All models use the
tokenizer of the bundled model. Each engine has its own process; the engines take turns, each round with another part of
the reviews, and bfloat16 matrix products are timed between the turns. Engines that sort by length get all reviews of a
turn, because they pad less with more reviews; the others get a few of them.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import multiprocessing
import os
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from engines import ENGINES, MAX_TOKENS, export, serve
from report import report
from tokenizers import Tokenizer

from review_scoring.demo import sample_reviews
from review_scoring.models.catalogue import BUNDLED, DEFAULT_MODEL

ROOT = Path(__file__).parent.parent
BASE = {"num_labels": 2, "pad_token_id": 1}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "xlm-roberta": {"vocab_size": 250_002, "max_position_embeddings": 514, "type_vocab_size": 1, **BASE},
    "bert": {"vocab_size": 119_547, **BASE},
    "distilbert": {"vocab_size": 119_547, **BASE},
}
"""XLM-RoBERTa base, multilingual BERT base and multilingual DistilBERT; other values are transformers' defaults."""

SORTING = {"review_scoring", "plain", "openvino_bf16"}
"""Engines that sort by length, which classify all reviews; the others classify a few of them."""

CEILING_SIZE = 2048

MEMORY_AFTER = (500, 1000, 2000, 3000, 4000)


@dataclass
class Engine:
    """An engine in its process, and its measurements."""

    name: str
    process: Any
    connection: Any
    tokens_per_s: list[float] = field(default_factory=list)
    peaks_mb: list[float] = field(default_factory=list)
    found: dict[str, list[float]] = field(default_factory=dict)
    loaded_s: float = 0.0
    started_s: float = 0.0

    def turn(self, texts: Sequence[str], tokens: Mapping[str, int]) -> None:
        """Classify texts and record the measurements."""
        self.connection.send(list(texts))
        seconds, found, peak_mb = self.connection.recv()
        self.tokens_per_s.append(sum(tokens[text] for text in texts) / seconds)
        self.peaks_mb.append(peak_mb)
        self.found.update(zip(texts, found, strict=True))


def speed(arguments: argparse.Namespace) -> None:
    """Compare the engines for each architecture, and report how long review_scoring takes to start."""
    tokens = reviews(4 * arguments.reviews if arguments.all else arguments.reviews)
    names = list(ENGINES) if arguments.all else [name for name in ENGINES if name not in {"pipeline1", "pipeline32"}]
    if importlib.util.find_spec("openvino") is None:
        names.remove("openvino_bf16")
        print("openvino is not installed: pip install openvino adds it to the comparison")
    few = arguments.few * 4 if arguments.all else arguments.few
    rows: list[dict[str, Any]] = []
    starts: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for architecture in arguments.architectures.split(","):
            model = make_model(Path(folder) / architecture, architecture, with_openvino="openvino_bf16" in names)
            engines, ceiling = compare(model, names, tokens, few, arguments.rounds)
            rows += figures(architecture, engines, ceiling, tokens, flops_per_token(model, tokens))
            own = next(engine for engine in engines if engine.name == "review_scoring")
            starts.append(
                {
                    "architecture": architecture,
                    "import_and_load_s": round(own.loaded_s, 1),
                    "first_result_s": round(own.started_s, 1),
                    "peak_rss_mb": round(own.peaks_mb[0]),
                    "growth_mb": round(own.peaks_mb[-1] - own.peaks_mb[0], 1),
                }
            )
            shutil.rmtree(model)
            # After each architecture, so that a run that is interrupted keeps its results.
            report("inference", rows)
            report("inference_start", starts)


def memory(arguments: argparse.Namespace) -> None:
    """Report the peak resident memory of review_scoring's classifier after growing numbers of random reviews."""
    tokens = reviews(arguments.reviews)
    draw = random.Random(0)  # noqa: S311 a sample, not a secret
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for architecture in arguments.architectures.split(","):
            model = make_model(Path(folder) / architecture, architecture, with_openvino=False)
            with at_work(model, ["review_scoring"]) as (engine,):
                done = 0
                for count in MEMORY_AFTER:
                    engine.turn(draw.choices(list(tokens), k=count - done), tokens)
                    done = count
                    peak = round(engine.peaks_mb[-1])
                    rows.append({"architecture": architecture, "reviews": done, "peak_rss_mb": peak})
            shutil.rmtree(model)
    report("inference_memory", rows)


def reviews(count: int) -> dict[str, int]:
    """Return `count` review texts with their token counts, in equal steps through all lengths."""
    folder = Path(os.environ.get("REVIEW_SCORING_TEST_ALLOCINE", ROOT.parent / "shared" / "data"))
    if (file := folder / "allocine_test_sample.csv").is_file():
        with file.open(encoding="utf-8", newline="") as stream:
            texts = [row["review_text"] for row in csv.DictReader(stream)]
    else:
        texts = [row["text"] for row in sample_reviews()]
    tokenizer = Tokenizer.from_file(str(BUNDLED / DEFAULT_MODEL / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    found = {text: len(encoding.ids) for text, encoding in zip(texts, tokenizer.encode_batch(texts), strict=True)}
    order = sorted(found, key=lambda text: found[text])
    count = min(count, len(order))
    chosen = [order[int((n + 0.5) * len(order) / count)] for n in range(count)]
    mean = statistics.mean(found[text] for text in chosen)
    print(f"{len(chosen)} reviews, {mean:.0f} tokens on average", flush=True)
    return {text: found[text] for text in chosen}


def make_model(folder: Path, architecture: str, *, with_openvino: bool) -> Path:
    """Write a model with random weights, or copy the bundled one. torch is imported in another process only."""
    shutil.copytree(BUNDLED / DEFAULT_MODEL, folder)
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        if architecture in ARCHITECTURES:
            pool.apply(_write_random_model, (folder, architecture))
        if with_openvino:
            pool.apply(export, (folder,))
    return folder


def _write_random_model(folder: Path, architecture: str) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    torch.manual_seed(0)
    config = AutoConfig.for_model(architecture, **ARCHITECTURES[architecture])
    cast("Any", AutoModelForSequenceClassification).from_config(config, dtype=torch.float32).save_pretrained(folder)
    file = folder / "tokenizer_config.json"
    inputs = {"model_input_names": ["input_ids", "attention_mask"]}
    file.write_text(json.dumps({**json.loads(file.read_text()), **inputs}))


def compare(
    model: Path, names: Sequence[str], tokens: Mapping[str, int], few: int, rounds: int
) -> tuple[list[Engine], float]:
    """Let the engines take turns: those in `SORTING` with all reviews, the others with `few` of them.

    :returns: the engines, and the ceiling: the median operations per second of bfloat16 products between the turns
    """
    order = sorted(tokens, key=lambda text: tokens[text])
    shuffled = random.Random(0).sample(order, len(order))  # noqa: S311 an order, not a secret
    products: list[float] = []
    with at_work(model, names) as engines:
        for part in range(rounds):
            of_turn = order[part::rounds]
            count = min(len(range(part, few, rounds)), len(of_turn))
            few_of_turn = {of_turn[int((n + 0.5) * len(of_turn) / count)] for n in range(count)}
            for engine in engines:
                chosen = set(of_turn) if engine.name in SORTING else few_of_turn
                mine = [text for text in shuffled if text in chosen]
                products.append(product())
                engine.turn(mine, tokens)
                print(
                    f"{model.name} {engine.name}: {engine.tokens_per_s[-1]:,.0f} tokens/s, "
                    f"products at {products[-1] / 1e9:,.0f} GFLOP/s",
                    flush=True,
                )
    return engines, statistics.median(products)


@contextmanager
def at_work(model: Path, names: Sequence[str]) -> Iterator[list[Engine]]:
    """Start the engines one after another, and stop them at the end."""
    context = multiprocessing.get_context("spawn")
    engines = []
    for name in names:
        mine, other = context.Pipe()
        process = context.Process(target=serve, args=(name, model, other, time.monotonic()), daemon=True)
        process.start()
        engine = Engine(name, process, mine)
        engine.loaded_s, engine.started_s = mine.recv()
        engines.append(engine)
    try:
        yield engines
    finally:
        for engine in engines:
            engine.connection.send(None)
            engine.process.join()


def product() -> float:
    """Return the operations per second of products of square bfloat16 matrices, measured for half a second."""
    import torch

    one = torch.randn(CEILING_SIZE, CEILING_SIZE).bfloat16()
    other = torch.randn(CEILING_SIZE, CEILING_SIZE).bfloat16()
    one @ other
    started = time.perf_counter()
    done = 0
    while (seconds := time.perf_counter() - started) < 0.5:
        one @ other
        done += 1
    return done * 2 * CEILING_SIZE**3 / seconds


def flops_per_token(model: Path, tokens: Mapping[str, int]) -> float:
    """Return the operations of the whole encoder per token: matrix products, and attention over the review."""
    config = json.loads((model / "config.json").read_text())
    hidden = config.get("hidden_size") or config["dim"]
    layers = config.get("num_hidden_layers") or config["n_layers"]
    inner = config.get("intermediate_size") or config["hidden_dim"]
    attended = sum(n * n for n in tokens.values()) / sum(tokens.values())
    return float(layers * (2 * (4 * hidden * hidden + 2 * hidden * inner) + 4 * hidden * attended))


def figures(
    architecture: str, engines: Sequence[Engine], ceiling: float, tokens: Mapping[str, int], flops: float
) -> list[dict[str, Any]]:
    """Return a row for each engine. Reviews per second are for the mean length; ratios compare the same rounds."""
    mean = statistics.mean(tokens.values())
    reference = next(engine for engine in engines if engine.name == "pipeline16")
    rows = []
    for engine in engines:
        rate = statistics.median(engine.tokens_per_s)
        pairs = [(engine.found[text], reference.found[text]) for text in reference.found if text in engine.found]
        moved = max(abs(a - b) for one, two in pairs for a, b in zip(one, two, strict=True))
        ratios = [one / other for one, other in zip(engine.tokens_per_s, reference.tokens_per_s, strict=True)]
        rows.append(
            {
                "architecture": architecture,
                "engine": engine.name,
                "reviews_per_s": round(rate / mean, 2),
                "tokens_per_s": round(rate),
                "ratio_to_pipeline_16": round(statistics.median(ratios), 2),
                "share_of_ceiling": round(rate * flops / ceiling, 3),
                "max_abs_score_diff": round(moved, 5),
                "label_flips": sum((one[0] > one[1]) != (two[0] > two[1]) for one, two in pairs),
                "peak_rss_mb": round(max(engine.peaks_mb)),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--what", choices=["speed", "memory", "sql"], default="speed")
    parser.add_argument("--all", action="store_true", help="also batch sizes 1 and 32, and four times as many reviews")
    parser.add_argument("--architectures", default=",".join([*ARCHITECTURES, DEFAULT_MODEL]))
    parser.add_argument("--reviews", type=int, default=1024, help="reviews for engines that sort by length")
    parser.add_argument("--few", type=int, default=96, help="reviews for the other engines")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=20_000, help="reviews for --what sql")
    arguments = parser.parse_args()
    if arguments.what == "sql":
        from sql_to_sql import sql_to_sql

        sql_to_sql(arguments.rows, list(reviews(10_000)), arguments.rounds)
    elif arguments.what == "memory":
        memory(arguments)
    else:
        speed(arguments)


if __name__ == "__main__":
    main()
