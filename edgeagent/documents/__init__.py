"""Signed documents: loading with limits, verifying, sealing. Bytes in, typed and verified objects out."""
