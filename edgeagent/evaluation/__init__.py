"""Measuring a model pack on labelled pictures, at a desk: what its certificate then rests on (R18, R28)."""
