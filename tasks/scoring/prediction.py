"""What one model heard in one clip: a row of predictions.jsonl."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Prediction:
    """What was said in a clip, and what a model made of it."""

    id: str
    reference: str
    text: str
    capped: bool  # it said as much as it was allowed without coming to an end: usually a repetition
    logprob: float = 0.0  # mean log-probability of the tokens that were said, the end among them
    n_tokens: int = 0  # said, the end among them
