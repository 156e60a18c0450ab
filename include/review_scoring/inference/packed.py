"""A forward pass without padding: the reviews of a batch as one long row of tokens, for BERT, RoBERTa and DistilBERT.

It computes what transformers' own modules compute, from their weights, and differs in four things:

- No padding. All that a layer does token by token runs over the row; only attention has to know where a review ends,
  and is done for each review alone. (transformers takes packed rows as well, but its mask does not see `position_ids`:
  under sdpa, reviews would read each other.)
- One product makes queries, keys and values.
- The last layer makes nothing but each review's first token, since a classifier's head reads no other.
- On CPUs with bfloat16, oneDNN gets each weight in the layout that its kernels want, and applies GELU on the way out.
  It makes and keeps kernels for each number of tokens and of reviews that it meets, so a batch is filled up to round
  ones (:func:`filling`).

`docs/performance.md` has what that is worth; `fused=False` of `Classifier.load` goes without.
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
"""A batch is filled up to multiples of these on a CPU: few kernels to make, for 80 tokens a batch on average.

That is 2 % of a batch of 4,096 tokens, 4 % of 2,048, 8 % of 1,024.
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
        places = [self._positions(review) for review in each]
        for missing in filling([len(review) for review in reviews]) if self._fills else ():
            each.append(torch.full((missing,), self._padding or 0))
            places.append(torch.full((missing,), self._padding or 0))
        lengths = [len(review) for review in each]
        ids, positions = self._device.copy(torch.cat(each)), self._device.copy(torch.cat(places))
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
        """Count a review's tokens. RoBERTa counts from behind the padding's id, and leaves out a `<pad>` in a text."""
        if self._padding is None:
            return torch.arange(len(review))
        counted = review.ne(self._padding).long()
        return counted.cumsum(0) * counted + self._padding

    def _embed(self, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Add up embeddings in the order in which transformers does; the sum's rounding depends on it."""
        table = self._embeddings
        x = table.word_embeddings(ids)
        if hasattr(table, "token_type_embeddings"):
            x = x + table.token_type_embeddings.weight[0]
        normed: torch.Tensor = table.LayerNorm(x + table.position_embeddings(positions))
        return normed

    def _attended(self, projected: tuple[torch.Tensor, ...], asked: Rows, rows: Rows) -> torch.Tensor:
        """Gather by queries, keys and values, each of shape (tokens, hidden size)."""
        q, k, v = (each.view(len(each), self._heads, -1) for each in projected)
        return self._attend(q, k, v, asked, rows).flatten(1)


def filling(lengths: Sequence[int]) -> list[int]:
    """Return the lengths of reviews that nobody looks at, and with which a batch has round numbers.

    One takes the tokens that are missing. So many of one token follow that attention sees it, and all before it, in a
    round length: what is beyond a review's end must be there.
    """
    reviews = -len(lengths) % ROUND_REVIEWS
    while True:
        longest = -(sum(lengths) + reviews) % ROUND_TOKENS + 1
        if reviews - 1 >= -longest % ROUND_LENGTH:
            return [longest, *[1] * (reviews - 1)]
        reviews += ROUND_REVIEWS


def packs(model: PreTrainedModel, device: Device) -> bool:
    """Say whether :class:`PackedEncoder` computes this model, and is the faster way on this device."""
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
    """One block of the encoder: queries, keys and values from one projection, or the last layer's queries apart."""

    projections: tuple[_Linear, ...]
    out: _Linear
    out_norm: nn.Module
    up: _Linear
    down: _Linear
    down_norm: nn.Module

    @classmethod
    def of(cls, block: Any, kind: str, device: Device, *, is_last: bool) -> _Layer:
        """Take a block of transformers apart."""
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
        """Do what follows attention, token by token."""
        x = self.out_norm(self.out(attended) + x)
        finished: torch.Tensor = self.down_norm(self.down(self.up(x)) + x)
        return finished


class _Linear:
    """One or more of transformers' linear layers as one, with or without GELU behind it."""

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
    """Say whether torch has the operators that its own compiler uses for linear layers, and this CPU their bfloat16."""
    operators = torch.ops.mkldnn
    needed = ("_is_mkldnn_bf16_supported", "_reorder_linear_weight", "_linear_pointwise")
    return all(hasattr(operators, name) for name in needed) and bool(operators._is_mkldnn_bf16_supported())


def _head(model: PreTrainedModel) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return what follows the encoder: (reviews, hidden size) of first tokens -> logits. Heads want (…, 1, …)."""
    own: Any = model
    classifier = own.classifier  # nothing below may hold the model, whose own layers are not needed any more
    if model.config.model_type == "bert":
        pooler = own.bert.pooler
        return lambda x: classifier(pooler(x[:, None]))
    if model.config.model_type == "distilbert":
        pre_classifier = own.pre_classifier
        return lambda x: classifier(functional.relu(pre_classifier(x)))
    return lambda x: classifier(x[:, None])
