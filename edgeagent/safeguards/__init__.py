"""The rules that are decisions: pure functions of facts and time, no I/O, each citing its number."""
