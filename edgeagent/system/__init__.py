"""Edges of the machine: files, clocks, processes, certificates, the model pack."""
