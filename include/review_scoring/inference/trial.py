"""Try a model before it is kept: it loads, all its weights are used, and it scores."""

from __future__ import annotations

from review_scoring.errors import ModelError
from review_scoring.inference.classifier import Classifier
from review_scoring.models.folder import ModelFolder
from review_scoring.reviews import Prediction

SENTENCES = ("Un film magnifique, du début à la fin.", "Quel ennui, j'ai failli partir avant la fin.")


def try_model(folder: ModelFolder) -> tuple[Prediction, ...]:
    """Load a model on the CPU in float32, and return what it says of two sentences.

    :raises ModelError: for weights that are missing or left over, and for sentences that get no score
    """
    classifier = Classifier.load(folder, device="cpu", precision="float32")
    predictions = tuple(each for each in classifier.classify(SENTENCES) if isinstance(each, Prediction))
    if len(predictions) < len(SENTENCES):
        raise ModelError(
            f"model {folder.name!r} gives no score to a plain French sentence: its tokenizer finds nothing in it, or "
            "its output is no finite number; its files are damaged, or it is no classifier for this language"
        )
    return predictions
