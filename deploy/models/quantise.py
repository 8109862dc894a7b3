"""Static int8 of a float model by ranges measured beforehand: arithmetic only, the same bytes anywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from litert_quantizer import quantizer, recipe


def quantise(model: bytes, ranges: Mapping[str, tuple[float, float]], int8: Sequence[str]) -> bytes:
    """Return the model with int8 input, the named operators in int8, the others and the outputs in float32.

    Args:
        model: float TFLite model.
        ranges: least and greatest value of each activation, by tensor name.
        int8: entries `OPERATOR` or `OPERATOR:REGEX` (on the output's name).
    """
    work = quantizer.Quantizer(model)
    (whole,) = recipe.static_wi8_ai8()
    chosen = [entry.partition(":") for entry in ("INPUT", *int8)]
    work.load_quantization_recipe(
        [whole | {"regex": regex or ".*", "operation": operation} for operation, _, regex in chosen]
    )
    statistics = {
        name: {"min": np.full((1, 1, 1, 1), low, np.float32), "max": np.full((1, 1, 1, 1), high, np.float32)}
        for name, (low, high) in ranges.items()
    }
    return bytes(work.quantize(statistics, enable_progress_report=False).quantized_model)
