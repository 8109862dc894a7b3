"""The demonstration: a generated street, an embedded broker, and documents signed for a bench (R33)."""
