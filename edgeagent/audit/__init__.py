"""The unit's audit log: what it did, to whom it told it, and what it erased; never what anyone looks like."""
