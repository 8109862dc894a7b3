"""From candidates to a hit: several frames of one track must agree, clearly (R18, R20)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Policy:
    """The decision figures of the authority in force; scores are cosine similarities.

    Attributes:
        threshold: least score of an agreeing frame.
        margin: by how much the entry must beat the best entry of anybody else.
        agreeing_frames: agreeing frames of one track that make a hit.
    """

    threshold: float
    margin: float
    agreeing_frames: int


@dataclass(frozen=True, slots=True)
class Vote:
    """What one frame of a track says: the nearest entry, whose it is, and scores; no image, no template."""

    entry: int
    person: int
    score: float
    runner_up: float


@dataclass(frozen=True, slots=True)
class Hit:
    """Frames of one track that agree on an entry.

    Attributes:
        entry: row of the gallery with the highest score.
        person: whose image that row is.
        score: lowest score among the agreeing frames.
        best: highest score among them.
        frames: how many agreed.
    """

    entry: int
    person: int
    score: float
    best: float
    frames: int


def agrees(vote: Vote, policy: Policy) -> bool:
    """Whether one frame clears the threshold with the margin; a tie with somebody else never does."""
    return vote.score >= policy.threshold and vote.score - vote.runner_up >= policy.margin


def decide(votes: tuple[Vote, ...], policy: Policy) -> Hit | None:
    """A hit if enough frames agree on one person, the present one among them, and none agrees on another.

    A track whose frames point at two people is a track that was mixed up, so nobody is alerted on it. The
    last vote is the present frame's, whose face is the one that would be sent: it must itself agree (R2).
    """
    agreeing = [vote for vote in votes if agrees(vote, policy)]
    if not agreeing or agreeing[-1] is not votes[-1]:
        return None
    if len({vote.person for vote in agreeing}) != 1 or len(agreeing) < policy.agreeing_frames:
        return None
    best = max(agreeing, key=lambda vote: vote.score)
    lowest = min(vote.score for vote in agreeing)
    return Hit(best.entry, best.person, lowest, best.score, len(agreeing))
