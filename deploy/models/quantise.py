"""Static int8 of a float model by ranges measured beforehand: arithmetic only, the same bytes anywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from litert_quantizer import quantizer, recipe


def quantise(model: bytes, ranges: Mapping[str, tuple[float, float]], keep_float: Sequence[str]) -> bytes:
    """Return the int8 model, with int8 input and float32 outputs.

    Args:
        model: float TFLite model.
        ranges: least and greatest value of each activation, by tensor name.
        keep_float: entries `OPERATOR` or `OPERATOR:REGEX` (on the output's name) left in float32.
    """
    work = quantizer.Quantizer(model)
    exceptions = [entry.partition(":") for entry in keep_float]
    work.load_quantization_recipe(
        [
            *recipe.static_wi8_ai8(),
            {"regex": ".*", "operation": "OUTPUT", "algorithm_key": "no_quantize"},
            *(
                {"regex": regex or ".*", "operation": operation, "algorithm_key": "no_quantize"}
                for operation, _, regex in exceptions
            ),
        ]
    )
    statistics = {
        name: {"min": np.full((1, 1, 1, 1), low, np.float32), "max": np.full((1, 1, 1, 1), high, np.float32)}
        for name, (low, high) in ranges.items()
    }
    return bytes(work.quantize(statistics, enable_progress_report=False).quantized_model)
