"""A fleet of simulated units on a bench: the real way out of each, and a real control room, without cameras.

What is real: outbox, audit log, signing, sealing, the link to the broker, receipts. What is not: there is no
camera and no network, so a hit is scripted. Everything is signed by keys that are made for one run, under a
bench authority, for bench topics; there is no way to hand in a key, a document or a topic (R33).
"""
