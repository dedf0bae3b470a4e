"""Hear with ONNX Runtime, on the CPU: greedy, with the prefix, the suppressed tokens and the cap of `tasks.model.generate`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tasks.contracts.errors import ModelError
from tasks.exports.clips import Clip
from tasks.exports.onnx_files import DECODER, ENCODER
from tasks.exports.packages import load
from tasks.model.generate import Heard, longest_first, pad_features
from tasks.model.whisper import Whisper


class OnnxRuntime:
    """Transcribes clips, and yields each one's number with what was heard."""

    def __init__(self, target: Path, whisper: Whisper) -> None:
        """Open the two graphs in `target`, made of `whisper`.

        Raises:
            ModelError: if onnxruntime is not installed, or cannot read them.
        """
        runtime = load("onnxruntime", "onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        try:
            self.encoder, self.decoder = (
                runtime.InferenceSession(target / name, options, providers=["CPUExecutionProvider"]) for name in (ENCODER, DECODER)
            )
        except Exception as error:  # of classes that only its C++ part names
            raise ModelError(f"{target}: ONNX Runtime cannot open it: {error!s:.300}") from error
        self.whisper = whisper

    def __call__(self, clips: Sequence[Clip], batch: int) -> Iterator[tuple[int, Heard]]:
        """Hear the longest clips first, so many at once."""
        for numbers in longest_first(clips, batch):
            features = pad_features([clips[number] for number in numbers], self.whisper.shape.n_frames)
            (states,) = self.encoder.run(None, {"input_features": features.numpy().astype(np.float32)})
            yield from zip(numbers, self._say(states), strict=True)

    def _say(self, states: np.ndarray) -> list[Heard]:
        """Return what is heard in [n_clips, n_positions, width]."""
        tokenizer, settings = self.whisper.tokenizer, self.whisper.model.generation_config
        never = settings.suppress_tokens or []
        inputs = np.array([self.whisper.prefix] * len(states))
        said = np.full((len(states), self.whisper.shape.max_tokens - len(self.whisper.prefix)), tokenizer.eos_token_id)
        done = np.zeros(len(states), bool)
        past = self._nothing(len(states))
        for place in range(said.shape[1]):
            scores, *present = self.decoder.run(None, {"input_ids": inputs, "encoder_hidden_states": states, **past})
            scores[:, -1, never if place else [*never, *(settings.begin_suppress_tokens or [])]] = -np.inf
            said[~done, place] = scores[~done, -1].argmax(-1)
            inputs = said[:, place, None]
            done |= inputs[:, 0] == tokenizer.eos_token_id
            if done.all():
                break
            past = dict(zip(past, [*present, np.array([True])], strict=True))
        texts = tokenizer.batch_decode(said, skip_special_tokens=True)
        return [Heard(text.strip(), not end) for text, end in zip(texts, done.tolist(), strict=True)]

    def _nothing(self, n_clips: int) -> dict[str, Any]:
        """Return the past before the first step, by name, in the order in which the graph gives it out again."""
        config = self.whisper.model.config
        empty = np.zeros((n_clips, config.decoder_attention_heads, 0, config.d_model // config.decoder_attention_heads), np.float32)
        names = [each.name for each in self.decoder.get_inputs() if each.name.startswith("past_key_values.")]
        return {**dict.fromkeys(names, empty), "use_cache_branch": np.array([False])}
