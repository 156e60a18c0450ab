"""The trial of a model at import: it scores texts up to full length, and scores do not depend on the batch."""

from __future__ import annotations

from collections.abc import Sequence

from review_scoring.errors import ModelError, in_short
from review_scoring.inference.classifier import Classifier
from review_scoring.models.folder import ModelFolder
from review_scoring.reviews import Prediction, Reject

SENTENCES = ("Un film magnifique, du début à la fin.", "Quel ennui, j'ai failli partir avant la fin.")
SHORT = "Nul."
FEW_TOKENS = 3
"""The first and the last special token of a text, and the unknown token."""

TOLERANCE = 1e-4
"""Largest difference of a score between two batches; rounding in float32 stays below a tenth of it."""


def try_model(folder: ModelFolder) -> tuple[Prediction, ...]:
    """Load a model on the CPU in float32, and return its predictions for two sentences.

    :raises ModelError: for a model that cannot score every text, or whose scores depend on other texts
    """
    classifier = Classifier.load(folder, device="cpu", precision="float32")
    if (tokens := classifier.tokeniser.vocabulary) > classifier.vocabulary:
        raise ModelError(
            f"model {folder.name!r}: the tokenizer has {tokens} tokens, but the model has embeddings for "
            f"{classifier.vocabulary}, so texts with the other tokens cannot be scored; use the tokenizer that the "
            "model was trained with"
        )
    try:
        _check_independence(folder.name, classifier)
        results = classifier.classify(SENTENCES)
    except ModelError:
        raise
    except Exception as error:  # noqa: BLE001 a model may raise any error
        raise ModelError(
            f"model {folder.name!r} fails on simple sentences ({in_short(error)}); its files are damaged, or "
            "transformers cannot run it on a CPU"
        ) from None
    if len({token for tokens in classifier.tokeniser.tokenise(SENTENCES) for token in tokens.windows[0]}) <= FEW_TOKENS:
        raise ModelError(
            f"model {folder.name!r}: the tokenizer converts each word of a French sentence to the unknown token; use "
            "the tokenizer that the model was trained with"
        )
    predictions = tuple(each for each in results if isinstance(each, Prediction))
    if len(predictions) < len(SENTENCES):
        raise ModelError(
            f"model {folder.name!r} cannot score a simple French sentence: the tokenizer finds no tokens in it, or the "
            "output is not finite; the files are damaged, or the model is not a classifier for this language"
        )
    return predictions


def _check_independence(name: str, classifier: Classifier) -> None:
    """Check that a score depends on its own text only (promise 5), starting with a text of maximum length.

    The long text is scored first, because some models change their state permanently when they read a short one.
    """
    long = " ".join(SENTENCES * classifier.tokeniser.max_tokens)
    (before,) = classifier.classify([long])
    if isinstance(before, Reject):
        raise ModelError(
            f"model {name!r} cannot score a text of {classifier.tokeniser.max_tokens} tokens, which max_tokens of its "
            f"catalogue entry allows ({before.detail}); set max_tokens to the model's maximum"
        )
    texts = [SHORT, *SENTENCES, " ".join(SENTENCES * 4)]
    windows = [tokens.windows[0] for tokens in classifier.tokeniser.tokenise(texts)]
    alone = [classifier.forward([window]).tolist()[0] for window in windows]
    together = classifier.forward(windows).tolist()
    if (change := max(map(_difference, alone, together))) > TOLERANCE:
        raise _depends(name, change, "the other texts in its batch")
    (after,) = classifier.classify([long])
    assert isinstance(after, Prediction)
    if (change := _difference(before.probabilities, after.probabilities)) > TOLERANCE:
        raise _depends(name, change, "the texts that were scored before it")


def _difference(one: Sequence[float], other: Sequence[float]) -> float:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def _depends(name: str, change: float, on: str) -> ModelError:
    return ModelError(
        f"model {name!r}: the score of a text changes by {change:.4f} depending on {on}, so two runs would differ; "
        "use a model of another architecture"
    )
