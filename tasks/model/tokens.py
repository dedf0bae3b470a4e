"""Words to token ids and back, in Whisper's layout. Special tokens are looked up by name: their numbers move between versions."""

import json
from collections.abc import Iterable

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import WhisperTokenizer

from tasks.contracts.errors import ModelError
from tasks.contracts.languages import EVERYWHERE, LANGUAGES

END, START = "<|endoftext|>", "<|startoftranscript|>"
TASKS = ["<|translate|>", "<|transcribe|>"]
AFTER = ["<|startoflm|>", "<|startofprev|>", "<|nocaptions|>", "<|notimestamps|>"]
N_TIMESTAMPS = 1501  # 0.00 to 30.00 s in steps of 20 ms
TIMESTAMP = 0.02  # seconds
NO_SPEECH = ("<|nospeech|>", "<|nocaptions|>")


def train_tokenizer(texts: Iterable[str], vocabulary: int, language: str) -> WhisperTokenizer:
    """Return a byte-level BPE of at most `vocabulary` entries, learnt from `texts`, followed by Whisper's special tokens.

    Byte-level: every text can be written with it. The order of the special tokens is that of large-v2 (openai/whisper, tokenizer.py);
    a language that it does not know comes after those that it knows, where large-v3 has Cantonese.
    """
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bpe.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=vocabulary, initial_alphabet=alphabet, show_progress=False))
    trained = json.loads(bpe.to_str())["model"]  # the only place where `tokenizers` shows the merges
    tokenizer = WhisperTokenizer(vocab=trained["vocab"], merges=[tuple(pair) for pair in trained["merges"]], pad_token=END)
    languages = [token_of(code) for code in dict.fromkeys([*EVERYWHERE, language])]
    tokenizer.add_special_tokens({"additional_special_tokens": [START, *languages, *TASKS, *AFTER]})
    tokenizer.add_tokens([AddedToken(f"<|{step * TIMESTAMP:.2f}|>", normalized=False) for step in range(N_TIMESTAMPS)])
    return tokenizer


def token_of(language: str) -> str:
    """Return the token that says a language."""
    return f"<|{language}|>"


def for_generate(language: str) -> str:
    """Return a language as a generation config says it. transformers knows Whisper's codes; others it takes only as their tokens."""
    return language if language in LANGUAGES else token_of(language)


def prefix_ids(tokenizer: WhisperTokenizer, language: str, multilingual: bool) -> list[int]:
    """Return the ids before the words: start, language, task, no timestamps; start and no timestamps for an English-only model.

    Raises:
        ModelError: if the model does not know the language.
    """
    if not multilingual and language != "en":
        raise ModelError(f"the model is English-only, and the language of some clips is {language!r}; choose a multilingual base model")
    words = [START, token_of(language), "<|transcribe|>", "<|notimestamps|>"] if multilingual else [START, "<|notimestamps|>"]
    return [_id(tokenizer, word) for word in words]


def label_ids(tokenizer: WhisperTokenizer, prefix: list[int], text: str) -> list[int]:
    """Return the whole label of a clip: prefix, words, end."""
    return [*prefix, *tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id]


def timestamp_id(tokenizer: WhisperTokenizer, seconds: float) -> int:
    """Return the id of the timestamp nearest to this time; times are in steps of 20 ms from the start of the window.

    Older tokenizers do not name their timestamps, but these always follow upon "no timestamps".
    """
    step = round(seconds / TIMESTAMP)
    word = f"<|{step * TIMESTAMP:.2f}|>"
    return _id(tokenizer, word) if _knows(tokenizer, word) else _id(tokenizer, "<|notimestamps|>") + 1 + step


def no_speech_id(tokenizer: WhisperTokenizer) -> int:
    """Return the id that says that nobody speaks: older tokenizers call it "no captions"."""
    return _id(tokenizer, next((name for name in NO_SPEECH if _knows(tokenizer, name)), NO_SPEECH[0]))


def has_no_speech(tokenizer: WhisperTokenizer) -> bool:
    """Return whether the tokenizer can say that nobody speaks."""
    return any(_knows(tokenizer, name) for name in NO_SPEECH)


def _knows(tokenizer: WhisperTokenizer, word: str) -> bool:
    id = tokenizer.convert_tokens_to_ids(word)
    return id is not None and bool(tokenizer.convert_ids_to_tokens(id) == word)


def _id(tokenizer: WhisperTokenizer, word: str) -> int:
    if not _knows(tokenizer, word):
        raise ModelError(
            f"the tokenizer has no token {word}; the base model does not know this language or task; see language_token; and a part of a "
            "mix can say the language whose token it borrows"
        )
    return int(tokenizer.convert_tokens_to_ids(word))
