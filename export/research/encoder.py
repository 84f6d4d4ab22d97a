"""BERT and MPNet as classifiers of pairs in PyTorch, with the arithmetic of the Keras models.

Of a width H: the inputs are ids, int64 [batch, tokens], segments of the same shape (BERT only) and
which of them are tokens, bool [batch, tokens]. What comes out are logits, fp32 [batch, classes].
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

CLASSES = 3
MASKED = -1e4  # added to the score of padding: its share is 0 in every precision
FARTHEST = 128  # tokens; MPNet's last bucket of relative positions begins here


@dataclass(frozen=True)
class Shape:
    """What the arrays do not tell."""

    heads: int
    epsilon: float
    dropout: float = 0.0
    rank: int = 0
    """Of updates to the products, which are then frozen; 0 trains the products themselves."""


class LowRank(nn.Module):
    """A frozen product with an update of low rank for each of its `parts`, side by side."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, rank: int, parts: int) -> None:
        super().__init__()
        outputs, inputs = weight.shape
        self.register_buffer("weight", weight.clone(), persistent=False)
        self.bias = nn.Parameter(bias.clone())
        self.a = nn.Parameter(torch.empty(parts, rank, inputs))
        self.b = nn.Parameter(torch.zeros(parts, outputs // parts, rank))
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return `x` times the updated product."""
        update = torch.bmm(self.b, self.a).reshape(self.weight.shape)
        return F.linear(x, self.weight + update, self.bias)


class Layer(nn.Module):
    """One transformer layer, normalised after each of its two halves."""

    def __init__(self, arrays: Mapping[str, torch.Tensor], shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.qkv, self.output, self.up, self.down = (
            _product(arrays, name, shape.rank, 3 if name == "qkv" else 1)
            for name in ("qkv", "output", "up", "down")
        )
        self.attention_norm = _norm(arrays, "attention_norm", shape)
        self.norm = _norm(arrays, "norm", shape)

    def forward(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """Return [batch, tokens, H]; `bias` is added to the scores, [batch, heads or 1, T, T]."""
        batch, tokens, width = x.shape
        heads, dropout = self.shape.heads, self.shape.dropout if self.training else 0.0
        q, k, v = (
            self.qkv(x).reshape(batch, tokens, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
        )
        mask = bias.to(q.dtype).expand(batch, heads, tokens, tokens)
        context = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
        attended = self.output(context.transpose(1, 2).reshape(batch, tokens, width))
        middle = self.attention_norm(x + F.dropout(attended, dropout, self.training))
        inner = self.down(F.gelu(self.up(middle)))  # GELU by the error function
        return self.norm(middle + F.dropout(inner, dropout, self.training))


class Classifier(nn.Module):
    """The encoder, a dense layer with tanh on the first token, and a linear head."""

    def __init__(self, arrays: Mapping[str, torch.Tensor], shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        words = arrays["words.weight"]
        self.words = nn.Embedding.from_pretrained(words.clone(), freeze=False)
        self.positions = nn.Embedding.from_pretrained(arrays["positions.weight"].clone(), False)
        self.segments = None
        if "segments.weight" in arrays:
            self.segments = nn.Embedding.from_pretrained(arrays["segments.weight"].clone(), False)
        self.norm = _norm(arrays, "norm", shape)
        relative = arrays.get("relative")
        self.register_buffer("relative", relative, persistent=False)
        count = 1 + max(int(name.split(".")[1]) for name in arrays if name.startswith("layers."))
        self.layers = nn.ModuleList(
            Layer(_under(arrays, f"layers.{place}."), shape) for place in range(count)
        )
        width = words.shape[1]
        self.pooler = nn.Linear(width, width)
        if "pooler.weight" in arrays:
            _assign(self.pooler, arrays["pooler.weight"], arrays["pooler.bias"])
        else:
            _draw(self.pooler)
        self.head = nn.Linear(width, CLASSES)
        _draw(self.head)

    def forward(
        self, ids: torch.Tensor, segments: torch.Tensor, real: torch.Tensor
    ) -> torch.Tensor:
        """Return the logits."""
        tokens = ids.shape[1]
        x = self.words(ids) + self.positions.weight[:tokens]
        if self.segments is not None:
            x = x + self.segments(segments)
        x = F.dropout(self.norm(x), self.shape.dropout, self.training)
        bias = (~real)[:, None, None, :] * MASKED
        if self.relative is not None:
            bias = bias + self.relative[buckets(tokens, ids.device)].permute(2, 0, 1)
        else:
            bias = bias.expand(-1, 1, tokens, -1)
        for layer in self.layers:
            x = layer(x, bias)
        first = F.dropout(x[:, 0], self.shape.dropout, self.training)
        with torch.autocast(x.device.type, enabled=False):
            pooled = torch.tanh(self.pooler(first.float()))
            return self.head(F.dropout(pooled, self.shape.dropout, self.training))


_BUCKETS: dict[Any, torch.Tensor] = {}


def buckets(tokens: int, device: torch.device) -> torch.Tensor:
    """Return the bucket of each pair of places, int64 [tokens, tokens] (Raffel et al. 2020)."""
    if (tokens, device) not in _BUCKETS:
        places = torch.arange(tokens)
        distance = places[None, :] - places[:, None]
        steps = distance.abs()
        far = 8 + (torch.log(steps.clamp(min=1).double() / 8) / math.log(FARTHEST / 8) * 8 + 1e-9)
        found = torch.where(steps < 8, steps, far.long().clamp(max=15)) + 16 * (distance > 0)
        _BUCKETS[tokens, device] = found.to(device)
    return _BUCKETS[tokens, device]


def values_of(model: Classifier) -> dict[str, torch.Tensor]:
    """Copy what is trained to the CPU, by name."""
    return {
        name: value.detach().float().cpu().clone()
        for name, value in model.named_parameters()
        if value.requires_grad
    }


def _product(arrays: Mapping[str, torch.Tensor], name: str, rank: int, parts: int) -> nn.Module:
    weight, bias = arrays[f"{name}.weight"], arrays[f"{name}.bias"]
    if rank:
        return LowRank(weight, bias, rank, parts)
    product = nn.Linear(weight.shape[1], weight.shape[0])
    _assign(product, weight, bias)
    return product


def _norm(arrays: Mapping[str, torch.Tensor], name: str, shape: Shape) -> nn.LayerNorm:
    weight = arrays[f"{name}.weight"]
    norm = nn.LayerNorm(len(weight), eps=shape.epsilon)
    _assign(norm, weight, arrays[f"{name}.bias"])
    return norm


def _assign(part: nn.Module, weight: torch.Tensor, bias: torch.Tensor) -> None:
    with torch.no_grad():
        part.weight.copy_(weight)
        part.bias.copy_(bias)


def _draw(part: nn.Linear) -> None:
    nn.init.xavier_uniform_(part.weight)
    nn.init.zeros_(part.bias)


def _under(arrays: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
