"""Looking for a face where none may be: in the memory, files and messages of a running unit (R1)."""
