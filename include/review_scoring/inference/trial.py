"""Try a model before it is kept: it scores, also a text of full length, and whatever is beside a text in its batch."""

from __future__ import annotations

from collections.abc import Sequence

from review_scoring.errors import ModelError, in_short
from review_scoring.inference.classifier import Classifier
from review_scoring.models.folder import ModelFolder
from review_scoring.reviews import Prediction, Reject

SENTENCES = ("Un film magnifique, du début à la fin.", "Quel ennui, j'ai failli partir avant la fin.")
SHORT = "Nul."
FEW_TOKENS = 3
"""The first and the last token of a text, and the one for what is unknown."""

TOLERANCE = 1e-4
"""What a score may change by with the texts beside it: rounding in float32 stays below a tenth of that."""


def try_model(folder: ModelFolder) -> tuple[Prediction, ...]:
    """Load a model on the CPU in float32, and return what it says of two sentences.

    :raises ModelError: for a model that cannot score every text, or whose scores depend on other texts
    """
    classifier = Classifier.load(folder, device="cpu", precision="float32")
    if (tokens := classifier.tokeniser.vocabulary) > classifier.vocabulary:
        raise ModelError(
            f"model {folder.name!r}: its tokenizer has {tokens} tokens, and the model embeddings for "
            f"{classifier.vocabulary}: a text with one of the others cannot be scored; use the tokenizer that the "
            "model was trained with"
        )
    try:
        _check_independence(folder.name, classifier)
        results = classifier.classify(SENTENCES)
    except ModelError:
        raise
    except Exception as error:  # noqa: BLE001 whatever a model of somebody's raises
        raise ModelError(
            f"model {folder.name!r} fails on plain sentences ({in_short(error)}); its files are damaged, or "
            "transformers cannot run it on a CPU"
        ) from None
    if len({token for tokens in classifier.tokeniser.tokenise(SENTENCES) for token in tokens.windows[0]}) <= FEW_TOKENS:
        raise ModelError(
            f"model {folder.name!r}: its tokenizer makes the same token of each word of a French sentence, the unknown "
            "one; use the tokenizer that the model was trained with"
        )
    predictions = tuple(each for each in results if isinstance(each, Prediction))
    if len(predictions) < len(SENTENCES):
        raise ModelError(
            f"model {folder.name!r} gives no score to a plain French sentence: its tokenizer finds nothing in it, or "
            "its output is no finite number; its files are damaged, or it is no classifier for this language"
        )
    return predictions


def _check_independence(name: str, classifier: Classifier) -> None:
    """See that a score depends on its own text alone (promise 5), from the longest text that the model reads on.

    The long text comes first, since some models change for good when they meet a short one.
    """
    long = " ".join(SENTENCES * classifier.tokeniser.max_tokens)
    (before,) = classifier.classify([long])
    if isinstance(before, Reject):
        raise ModelError(
            f"model {name!r} cannot score a text of {classifier.tokeniser.max_tokens} tokens, which its catalogue "
            f"entry's max_tokens allows ({before.detail}); set max_tokens to what the model takes"
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
        f"model {name!r}: a text's score changes by {change:.4f} depending on {on}, so two runs would not agree; "
        "take a model of another architecture"
    )
