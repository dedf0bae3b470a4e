"""The model that training starts from, and that its result must beat: a checkpoint as it is, or a new small Whisper."""

from collections.abc import Sequence
from pathlib import Path

import torch
from huggingface_hub import HfApi, errors, snapshot_download
from transformers import GenerationConfig, WhisperConfig, WhisperFeatureExtractor

from tasks.audio import SAMPLE_RATE
from tasks.audio.log_mel import HOP
from tasks.contracts.errors import ModelError
from tasks.contracts.languages import EVERYWHERE
from tasks.contracts.values import fingerprint
from tasks.model.shape import STRIDE, read_shape
from tasks.model.tokens import END, START, for_generate, token_of, train_tokenizer

KEPT = ("*.json", "*.safetensors", "merges.txt", "vocab.txt", "normalizer.json")  # no pickle, no code
RECIPE = "recipe.json"  # of a model of ours: how it came about
REFUSED = (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.HFValidationError)  # gated ones too; the rest are accidents
UNREACHED = (OSError, errors.HTTPError)  # type: ignore[attr-defined]  # of whichever HTTP library the client uses


def checkpoint_revision(name: str, revision: str) -> str:
    """Return what changes when the checkpoint changes: the Hub's commit, or a fingerprint of a folder's sizes and dates.

    Raises:
        ModelError: if there is neither such a folder nor such a repository.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return "folder-" + fingerprint([(each.name, each.stat().st_size, each.stat().st_mtime_ns) for each in sorted(folder.iterdir())])
    if len(revision) == 40 and all(digit in "0123456789abcdef" for digit in revision):
        return revision
    try:
        return str(HfApi().model_info(name, revision=revision, timeout=60).sha)
    except REFUSED as error:
        raise ModelError(f"model {name!r} at {revision!r}: neither a folder here nor readable on the Hub: {error!s:.200}") from error
    except UNREACHED as error:
        raise ModelError(
            f"model {name!r} at {revision!r}: the Hub cannot be reached: {error!s:.200}; a whole commit as model.revision needs no asking"
        ) from error


def locate_checkpoint(name: str, revision: str) -> Path:
    """Return a local folder with the checkpoint, fetched from the Hub if it is not one already.

    Raises:
        ModelError: if there is no such checkpoint, it has no safetensors, or it is no Whisper.
    """
    folder = Path(name).expanduser()
    if not folder.is_dir():
        try:
            folder = Path(snapshot_download(name, revision=revision, allow_patterns=list(KEPT), ignore_patterns="*/*"))
        except REFUSED as error:
            raise ModelError(f"model {name!r} at {revision!r}: cannot be fetched from the Hub: {error!s:.200}") from error
    if not any(folder.glob("*.safetensors")):
        raise ModelError(f"{name}: no weights as safetensors; viska loads no pickles (.bin, .pt)")
    read_shape(folder)
    return folder


def checkpoint_files(folder: Path) -> dict[str, Path]:
    """Return the files of a checkpoint that make up the model, by name; the recipe of one is not that of what is trained from it."""
    return {path.name: path for pattern in KEPT for path in sorted(folder.glob(pattern)) if path.is_file() and path.name != RECIPE}


def new_checkpoint(
    folder: Path, texts: Sequence[str], *, language: str, width: int, encoder_layers: int, decoder_layers: int, heads: int,
    n_mels: int, window: int, vocabulary: int, max_tokens: int, dropout: float, seed: int,
) -> None:  # fmt: skip
    """Write a new Whisper with random weights and a tokenizer learnt from `texts` into `folder`, equal for equal arguments.

    Args:
        texts: the training texts.
        language: theirs; it gets a token also if Whisper does not know it.
        window: seconds of sound the model hears at once.
        max_tokens: longest label, with prefix and end.
    """
    from transformers import WhisperForConditionalGeneration  # here: it takes 160 MB and a second, and most models are not new

    tokenizer = train_tokenizer(texts, vocabulary, language)
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in (START, END, "<|notimestamps|>", "<|startofprev|>")}
    config = WhisperConfig(
        vocab_size=len(tokenizer),
        num_mel_bins=n_mels,
        d_model=width,
        encoder_layers=encoder_layers,
        decoder_layers=decoder_layers,
        encoder_attention_heads=heads,
        decoder_attention_heads=heads,
        encoder_ffn_dim=4 * width,
        decoder_ffn_dim=4 * width,
        dropout=dropout,
        init_std=width**-0.5,  # Whisper's 0.02 suits widths of a thousand; a narrow model would take hundreds of steps to begin to attend
        max_source_positions=window * SAMPLE_RATE // HOP // STRIDE,
        max_target_positions=max_tokens,
        decoder_start_token_id=ids[START],
        bos_token_id=ids[END],
        eos_token_id=ids[END],
        pad_token_id=ids[END],
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = WhisperForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        decoder_start_token_id=ids[START],
        bos_token_id=ids[END],
        eos_token_id=ids[END],
        pad_token_id=ids[END],
        max_length=max_tokens,
        is_multilingual=True,
        lang_to_id={token: tokenizer.convert_tokens_to_ids(token) for token in map(token_of, dict.fromkeys([*EVERYWHERE, language]))},
        task_to_id={task: tokenizer.convert_tokens_to_ids(f"<|{task}|>") for task in ("transcribe", "translate")},
        no_timestamps_token_id=ids["<|notimestamps|>"],
        prev_sot_token_id=ids["<|startofprev|>"],
        language=for_generate(language),
        task="transcribe",
        return_timestamps=False,
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=n_mels, chunk_length=window).save_pretrained(folder)
