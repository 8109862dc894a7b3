"""The fault table: real processes and faults, and an account of every alert (`make faults`)."""
