"""`make break`: break each safeguard on purpose, and see that its tests notice."""
