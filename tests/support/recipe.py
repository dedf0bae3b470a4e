"""A recipe whose whole chain takes seconds: a few synthetic sentences, and four steps of a model that learns nothing from them."""

from typing import Any

RECIPE: dict[str, Any] = {
    "name": "tiny",
    "corpus": {"kind": "espeak", "n_train": 24, "n_dev": 4, "n_test": 6},
    "gates": {"max_rejected": 1.0},
    "model": {"kind": "scratch", "width": 16, "heads": 2, "encoder_layers": 1, "decoder_layers": 1, "window": 4, "vocabulary": 300},
    "training": {"steps": 4, "batch": 4, "warmup": 1, "learning_rate": 1e-3, "evaluate_every": 2, "dev_clips": 4},
    "scoring": {"resamples": 100, "long": {"recordings": 1, "minutes": 0.1}},
}
