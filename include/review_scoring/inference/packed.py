"""The packed forward pass, without padding, for BERT, RoBERTa and DistilBERT: a batch is one long row of tokens.

It computes the same as transformers' modules, with the same weights, and differs in four points:

- No padding. Operations on single tokens run over the whole row; attention runs for each review. (transformers accepts
  packed rows too, but its mask ignores `position_ids`: under sdpa, reviews would attend to each other.)
- Queries, keys and values come from one matrix product.
- The last layer computes only the first token of each review, the only one that a classification head reads.
- On CPUs with bfloat16, oneDNN gets each weight in the layout of its kernels, and fuses GELU into the product. It
  caches kernels for each number of tokens and of reviews, so batches are filled up to round numbers (:func:`filler`).

`docs/performance.md` has the speed-up; `fused=False` of `Classifier.load` turns it off.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel

from review_scoring.inference.attention import ROUND_LENGTH, Rows, attention, flash_attention, flash_serves
from review_scoring.inference.device import Device

ROBERTAS = ("roberta", "xlm-roberta", "camembert")
PACKED = ("bert", "distilbert", *ROBERTAS)

ROUND_TOKENS, ROUND_REVIEWS = 128, 16
"""On a CPU, batches are filled up to multiples of these, so that oneDNN compiles few kernels.

It costs 80 tokens per batch on average: 2 % of a batch of 4,096 tokens, 4 % of 2,048, 8 % of 1,024.
"""


class PackedEncoder:
    """Forward passes of a BERT, RoBERTa or DistilBERT classifier over packed reviews; see :func:`packs`."""

    padded = False

    def __init__(self, model: PreTrainedModel, device: Device) -> None:
        body: Any = model.base_model
        kind = model.config.model_type
        self._device = device
        self._embeddings = body.embeddings
        self._padding: int | None = model.config.pad_token_id if kind in ROBERTAS else None
        blocks = body.transformer.layer if kind == "distilbert" else body.encoder.layer
        self._layers = [_Layer.of(block, kind, device, is_last=block is blocks[-1]) for block in blocks]
        self._heads = model.config.num_attention_heads
        self._attend = attention(device)
        self._head = _head(model)
        self._fills = self._layers[0].up.is_prepacked

    def __call__(self, reviews: Sequence[Sequence[int]]) -> torch.Tensor:
        """Run one batch.

        :param reviews: the token ids of each, special tokens included
        :returns: logits, of shape (reviews, outputs), on the device
        """
        each = [torch.tensor(review) for review in reviews]
        counted = [self._positions(review) for review in each]
        for length in filler([len(review) for review in reviews]) if self._fills else ():
            each.append(torch.full((length,), self._padding or 0))
            counted.append(torch.full((length,), self._padding or 0))
        lengths = [len(review) for review in each]
        ids, positions = self._device.copy(torch.cat(each)), self._device.copy(torch.cat(counted))
        rows, one_each = Rows.of(lengths, self._device), Rows.of([1] * len(lengths), self._device)
        x = self._embed(ids, positions)
        for layer in self._layers[:-1]:
            (all_three,) = layer.projections
            x = layer.finish(x, self._attended(all_three(x).chunk(3, dim=-1), rows, rows))
        firsts = x[rows.ends[:-1]]
        queries, keys_and_values = self._layers[-1].projections
        attended = self._attended((queries(firsts), *keys_and_values(x).chunk(2, dim=-1)), one_each, rows)
        x = self._layers[-1].finish(firsts, attended)
        return self._head(x)[: len(reviews)]

    def _positions(self, review: torch.Tensor) -> torch.Tensor:
        """Return the position ids of a review. RoBERTa's start after the padding id, and skip a `<pad>` in the text."""
        if self._padding is None:
            return torch.arange(len(review))
        counted = review.ne(self._padding).long()
        return counted.cumsum(0) * counted + self._padding

    def _embed(self, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Add embeddings in the same order as transformers, because rounding depends on it."""
        table = self._embeddings
        x = table.word_embeddings(ids)
        if hasattr(table, "token_type_embeddings"):
            x = x + table.token_type_embeddings.weight[0]
        normed: torch.Tensor = table.LayerNorm(x + table.position_embeddings(positions))
        return normed

    def _attended(self, projected: tuple[torch.Tensor, ...], q_rows: Rows, k_rows: Rows) -> torch.Tensor:
        """Run attention over queries, keys and values, each of shape (tokens, hidden size)."""
        q, k, v = (each.view(len(each), self._heads, -1) for each in projected)
        return self._attend(q, k, v, q_rows, k_rows).flatten(1)


def filler(lengths: Sequence[int]) -> list[int]:
    """Return the lengths of dummy reviews that fill a batch up to round numbers of tokens and of reviews.

    The first one has all the missing tokens, the others one token each. There are enough of these that every review
    before them can be read with its length rounded up, without reaching past the end of the row.
    """
    reviews = -len(lengths) % ROUND_REVIEWS
    while True:
        longest = -(sum(lengths) + reviews) % ROUND_TOKENS + 1
        if reviews - 1 >= -longest % ROUND_LENGTH:
            return [longest, *[1] * (reviews - 1)]
        reviews += ROUND_REVIEWS


def packs(model: PreTrainedModel, device: Device) -> bool:
    """Return whether :class:`PackedEncoder` supports this model, and is faster than transformers on this device."""
    config = model.config
    activation = config.activation if config.model_type == "distilbert" else getattr(config, "hidden_act", None)
    is_encoder = not getattr(config, "is_decoder", False) and not getattr(config, "add_cross_attention", False)
    if config.model_type not in PACKED or activation != "gelu" or not is_encoder:
        return False
    if device.device.type == "cuda":
        return flash_attention() is not None and flash_serves(model, device)
    return device.device.type == "cpu"


@dataclass(frozen=True)
class _Layer:
    """One layer of the encoder: one projection for queries, keys and values; in the last layer, one for queries."""

    projections: tuple[_Linear, ...]
    out: _Linear
    out_norm: nn.Module
    up: _Linear
    down: _Linear
    down_norm: nn.Module

    @classmethod
    def of(cls, block: Any, kind: str, device: Device, *, is_last: bool) -> _Layer:
        """Take the weights of a layer of transformers."""
        if kind == "distilbert":
            own = block.attention
            query, key, value, out, out_norm = own.q_lin, own.k_lin, own.v_lin, own.out_lin, block.sa_layer_norm
            up, down, down_norm = block.ffn.lin1, block.ffn.lin2, block.output_layer_norm
        else:
            own, out, out_norm = block.attention.self, block.attention.output.dense, block.attention.output.LayerNorm
            query, key, value = own.query, own.key, own.value
            up, down, down_norm = block.intermediate.dense, block.output.dense, block.output.LayerNorm
        projected = ([query], [key, value]) if is_last else ([query, key, value],)
        return cls(
            projections=tuple(_Linear(parts, device) for parts in projected),
            out=_Linear([out], device),
            out_norm=out_norm,
            up=_Linear([up], device, gelu=True),
            down=_Linear([down], device),
            down_norm=down_norm,
        )

    def finish(self, x: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
        """Apply what follows attention: the output projection, the feed-forward network and both layer norms."""
        x = self.out_norm(self.out(attended) + x)
        finished: torch.Tensor = self.down_norm(self.down(self.up(x)) + x)
        return finished


class _Linear:
    """One or more linear layers of transformers as one matrix product, with or without GELU."""

    def __init__(self, parts: Sequence[Any], device: Device, *, gelu: bool = False) -> None:
        self._weight = _joined([part.weight.detach() for part in parts])
        self._bias = _joined([part.bias.detach() for part in parts])
        self._gelu = gelu
        self.is_prepacked = device.device.type == "cpu" and device.dtype is torch.bfloat16 and _has_onednn()
        if self.is_prepacked:
            self._weight = torch.ops.mkldnn._reorder_linear_weight(self._weight, None)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        if self.is_prepacked:
            after = "gelu" if self._gelu else "none"
            made: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, self._weight, self._bias, after, [], "none")
            return made
        result = functional.linear(x, self._weight, self._bias)
        return functional.gelu(result) if self._gelu else result


def _joined(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(list(tensors))


def _has_onednn() -> bool:
    """Return whether torch has oneDNN's operators for linear layers, and they support bfloat16 on this CPU."""
    operators = torch.ops.mkldnn
    needed = ("_is_mkldnn_bf16_supported", "_reorder_linear_weight", "_linear_pointwise")
    return all(hasattr(operators, name) for name in needed) and bool(operators._is_mkldnn_bf16_supported())


def _head(model: PreTrainedModel) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the classification head: (reviews, hidden size) of first tokens -> logits. Modules take (…, 1, …)."""
    own: Any = model
    classifier = own.classifier  # the lambdas must not reference the model: its layers are freed
    if model.config.model_type == "bert":
        pooler = own.bert.pooler
        return lambda x: classifier(pooler(x[:, None]))
    if model.config.model_type == "distilbert":
        pre_classifier = own.pre_classifier
        return lambda x: classifier(functional.relu(pre_classifier(x)))
    return lambda x: classifier(x[:, None])
