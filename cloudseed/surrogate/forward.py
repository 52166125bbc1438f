"""The forward pass of a small BERT, without what an embedding does not need.

Queries, keys and values come from one multiplication; strings of one length need neither padding
nor mask; where [CLS] alone is wanted, the last layer works out that row only. In single precision
the result is that of the transformers library to the last few bits.

On processors, three precisions (figures: `benchmarks/embedding.py`):

    float32   the default
    int8      weights and, on the fly, activations in 8 bits: twice as fast for the published size,
              a few tenths faster for small encoders
    bfloat16  for GPUs; a processor without bfloat16 instructions is slower with it

int8 and bfloat16 are refused where they bend embeddings: see `cloudseed.surrogate.encoder`.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Literal

from cloudseed.errors import EncoderError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch

    Dense = Callable[[torch.Tensor], torch.Tensor]
    Norm = tuple[torch.Tensor, torch.Tensor]

__all__ = ["BertForward", "Precision"]

Precision = Literal["float32", "int8", "bfloat16"]


class BertForward:
    """A BERT encoder that is ready to run.

    Args:
        config: Its configuration.
        weights: Its tensors, as `Checkpoint.weights` returns them.
        tokens: Number of tokens that are used; rows of the word table beyond them are dropped.
        device: A torch device.
        precision: "float32", "int8" (processors only) or "bfloat16".

    Raises:
        EncoderError: If the activation is unknown, or the device or precision is not there.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        weights: Mapping[str, torch.Tensor],
        *,
        tokens: int,
        device: str = "cpu",
        precision: Precision = "float32",
    ) -> None:
        import torch

        self.device = _device(device, precision)
        self._type = torch.bfloat16 if precision == "bfloat16" else torch.float32
        self._heads = int(config["num_attention_heads"])
        self._eps = float(config["layer_norm_eps"])
        self._activation = _activation(str(config["hidden_act"]))
        kept = {name: self._place(tensor) for name, tensor in weights.items()}
        types = kept["embeddings.token_type_embeddings.weight"]
        self._words = kept["embeddings.word_embeddings.weight"][:tokens].clone()
        self._positions = kept["embeddings.position_embeddings.weight"] + types[0]
        self._norm = _norm(kept, "embeddings.LayerNorm")
        dense = _quantized if precision == "int8" else _plain
        self._layers = [
            _Layer(kept, f"encoder.layer.{layer}", dense)
            for layer in range(int(config["num_hidden_layers"]))
        ]

    def _place(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(device=self.device, dtype=self._type)

    def __call__(self, tokens: torch.Tensor, *, cls_only: bool) -> torch.Tensor:
        """Returns the states of the last layer in single precision, `n x length x d`.

        Args:
            tokens: Token numbers, `n x length`.
            cls_only: Whether the first row of each will do, `n x 1 x d`.
        """
        import torch
        from torch.nn.functional import layer_norm

        with torch.inference_mode():
            tokens = tokens.to(self.device)
            states = self._words[tokens] + self._positions[: tokens.shape[1]]
            states = layer_norm(states, states.shape[-1:], *self._norm, self._eps)
            for layer in self._layers:
                last = layer is self._layers[-1]
                states = self._run(layer, states, rows=1 if last and cls_only else None)
            return states.float().cpu()

    def _run(self, layer: _Layer, states: torch.Tensor, rows: int | None) -> torch.Tensor:
        """Runs one layer; with `rows`, for so many first rows of each string only."""
        from torch.nn.functional import layer_norm, scaled_dot_product_attention

        count, length, width = states.shape
        split = (count, length, 3, self._heads, width // self._heads)
        query, key, value = layer.project(states).view(split).permute(2, 0, 3, 1, 4).unbind(0)
        seen = scaled_dot_product_attention(query[:, :, :rows], key, value)
        states = states[:, :rows] + layer.attend(seen.transpose(1, 2).reshape(count, -1, width))
        states = layer_norm(states, (width,), *layer.first_norm, self._eps)
        inner = layer.narrow(self._activation(layer.widen(states)))
        return layer_norm(states + inner, (width,), *layer.second_norm, self._eps)


class _Layer:
    def __init__(
        self,
        weights: Mapping[str, torch.Tensor],
        stem: str,
        dense: Callable[[torch.Tensor, torch.Tensor], Dense],
    ) -> None:
        import torch

        def linear(*names: str) -> Dense:
            parts = ("weight", "bias")
            matrix, bias = (torch.cat([weights[f"{stem}.{n}.{p}"] for n in names]) for p in parts)
            return dense(matrix, bias)

        self.project = linear(*(f"attention.self.{part}" for part in ("query", "key", "value")))
        self.attend = linear("attention.output.dense")
        self.widen = linear("intermediate.dense")
        self.narrow = linear("output.dense")
        self.first_norm = _norm(weights, f"{stem}.attention.output.LayerNorm")
        self.second_norm = _norm(weights, f"{stem}.output.LayerNorm")


def _norm(weights: Mapping[str, torch.Tensor], stem: str) -> Norm:
    return weights[f"{stem}.weight"], weights[f"{stem}.bias"]


def _plain(matrix: torch.Tensor, bias: torch.Tensor) -> Dense:
    from torch.nn.functional import linear

    return lambda states: linear(states, matrix, bias)


def _quantized(matrix: torch.Tensor, bias: torch.Tensor) -> Dense:
    """Returns a multiplication in 8 bits: weights by row, activations by batch."""
    import torch

    scale = (matrix.abs().amax(dim=1).clamp_min(1e-12) / 127).double()
    zero = torch.zeros_like(scale, dtype=torch.long)
    try:
        with warnings.catch_warnings():
            # PyTorch means to move these to torchao, which needs a compiler to be as fast.
            warnings.simplefilter("ignore")
            rows = torch.quantize_per_channel(matrix, scale, zero, 0, torch.qint8)
            packed = torch.ops.quantized.linear_prepack(rows, bias)
        multiply = torch.ops.quantized.linear_dynamic
    except (AttributeError, NotImplementedError, RuntimeError) as error:
        raise EncoderError(
            "This PyTorch cannot multiply in 8 bits.", hint="Use precision 'float32'."
        ) from error
    # Seven bits of activation: without VNNI, eight overflow the 16-bit sums of the processor.
    return lambda states: multiply(states, packed, reduce_range=True)


def _activation(name: str) -> Dense:
    from torch.nn import functional

    known: dict[str, Dense] = {
        "gelu": functional.gelu,
        "gelu_new": lambda states: functional.gelu(states, approximate="tanh"),
        "gelu_pytorch_tanh": lambda states: functional.gelu(states, approximate="tanh"),
        "relu": functional.relu,
        "silu": functional.silu,
    }
    if name not in known:
        raise EncoderError(
            f"The checkpoint's activation {name!r} is not known.",
            hint=f"Known are {', '.join(known)}; the published one is gelu.",
        )
    return known[name]


def _device(name: str, precision: str) -> torch.device:
    import torch

    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise EncoderError(
            f"There is no device {name!r} here.", hint="Use 'cpu', or 'auto' for a GPU if any."
        ) from error
    if precision == "int8" and device.type != "cpu":
        raise EncoderError(
            "int8 is for processors.", hint="On a GPU use precision 'bfloat16' or 'float32'."
        )
    return device
