"""A trained Whisper with Whisper's own vocabulary and window, so that other engines take it for one; and the clips whose words it says."""

import math
from pathlib import Path

import numpy as np
import torch

from tasks.audio import SAMPLE_RATE
from tasks.audio.log_mel import log_mel
from tasks.exports.clips import Clip
from tasks.model.generate import pad_features
from tasks.model.start import new_checkpoint
from tasks.model.tokens import label_ids
from tasks.model.whisper import Whisper, load_whisper, save_whisper

OWN = 300  # pieces of a vocabulary of its own
N_PIECES = 50_257  # before `<|endoftext|>`, in every multilingual Whisper
WORDS = ["röd", "katt", "blå", "hund", "grön", "häst", "vit", "mås"]
N_CLIPS = 8
WIDTH = 64
STEPS = 120  # of training: four to eight seconds
RATE = 6e-3  # of learning


def spoken_clips(n_mels: int = 80, window: int = 30) -> list[Clip]:
    """Return eight clips of one to three words; each word is a tone of its own pitch, half a second long."""
    dice = np.random.default_rng(0)
    return [_clip(number, dice.permutation(len(WORDS))[: 1 + number % 3].tolist(), n_mels, window) for number in range(N_CLIPS)]


def spoken_folder(folder: Path, n_mels: int = 80, window: int = 30, n_pieces: int = N_PIECES, language: str = "sv") -> Path:
    """Write a checkpoint that says the words of `spoken_clips` into `folder`, and return it: some seconds.

    `n_pieces`: of its vocabulary; with fewer than Whisper's it is one of its own, as that of a model that is trained from nothing.
    """
    clips = spoken_clips(n_mels, window)
    new_checkpoint(
        folder / "new", [*(each.text for each in clips), *rare_words()], language=language, width=WIDTH, encoder_layers=1, decoder_layers=2,
        heads=2, n_mels=n_mels, window=window, vocabulary=n_pieces, max_tokens=48, dropout=0.0, seed=0,
    )  # fmt: skip
    whisper = load_whisper(folder / "new", language, "cpu")
    _teach(whisper, clips)
    save_whisper(whisper, folder / "new", folder)
    return folder


def _clip(number: int, words: list[int], n_mels: int, window: int) -> Clip:
    time = np.arange(SAMPLE_RATE // 2) / SAMPLE_RATE
    tones = [0.3 * np.sin(2 * np.pi * 200 * 1.4**word * time) * np.hanning(time.size) for word in words]
    samples = np.concatenate(tones).astype(np.float32)
    text = " ".join(WORDS[word] for word in words)
    return Clip(f"tone-{number}", text, samples.size, *log_mel(samples, n_mels, window * SAMPLE_RATE), samples)


def rare_words() -> list[str]:
    """Return texts that nobody says, of which a tokenizer learns as many pieces as Whisper's has."""
    dice, letters = np.random.default_rng(1), np.array(list("abcdefghijklmnopqrstuvwxyzåäö"))
    return ["".join(letters[dice.integers(0, letters.size, 100)]) for _ in range(1010)]


def _teach(whisper: Whisper, clips: list[Clip]) -> None:
    """Train the decoder on what the encoder makes of the clips as it is, and on the few words they have: seconds instead of minutes."""
    model, end = whisper.model, whisper.tokenizer.eos_token_id
    labels = [label_ids(whisper.tokenizer, whisper.prefix, each.text) for each in clips]
    longest = max(map(len, labels))
    known, ids = torch.unique(torch.tensor([[*each, *[end] * (longest - len(each))] for each in labels]), return_inverse=True)
    everything = model.model.decoder.embed_tokens.weight.requires_grad_(False)
    table = everything[known].requires_grad_()
    learnt = [table, *(weight for weight in model.model.decoder.parameters() if weight.requires_grad)]
    optimizer = torch.optim.Adam(learnt, RATE)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, STEPS)
    with torch.no_grad():
        states = model.model.encoder(pad_features(clips, whisper.shape.n_frames)).last_hidden_state
    for _ in range(STEPS):
        hidden = model.model.decoder(inputs_embeds=table[ids[:, :-1]], encoder_hidden_states=states, use_cache=False).last_hidden_state
        scores = hidden @ table.T
        others = torch.full_like(scores[..., :1], math.log(len(everything)))  # all other words together, if each scores 0
        loss = torch.nn.functional.cross_entropy(torch.cat([scores, others], -1).flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rates.step()
    everything.zero_()
    everything[known] = table.detach()
