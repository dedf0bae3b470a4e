"""What a clip must be like to be used: the recipe's gates, over the measurements of all clips at once."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.audio import SAMPLE_RATE
from tasks.contracts.recipe import Gates
from tasks.shards.plan import SPLITS

SLACK = 0.02  # share of its length by which a clip may differ from what its source says


def refusals(clips: pa.Table, gates: Gates, window: int, misfits: dict[int, tuple[str, str]]) -> dict[int, tuple[str, str]]:
    """Return the rows that may not be used, each with the first reason that holds and its detail.

    Args:
        clips: a row per clip with split, text, detail, n_samples, told (seconds, as its source says), sound, clipped, silence and snr.
        gates: the recipe's thresholds.
        window: samples that the model hears at once.
        misfits: rows that the model cannot take for another reason.
    """
    seconds = clips["n_samples"].to_numpy() / SAMPLE_RATE
    rate = pc.utf8_length(clips["text"]).to_numpy() / np.maximum(seconds, 1e-3)
    clipped, silence, snr = (clips[name].to_numpy() for name in ("clipped", "silence", "snr"))
    told = clips["told"].to_numpy()
    longest = min(gates.max_seconds, window / SAMPLE_RATE)
    hopeless = pc.not_equal(clips["detail"], "").to_numpy()

    tests = [  # reason, which rows, what was got, what is allowed
        ("unusable audio", hopeless, clips["detail"], "{}"),
        ("too short", seconds < gates.min_seconds, seconds, f"{{:.3f}} s, expected at least {gates.min_seconds:g} s"),
        ("too long", seconds > longest, seconds, f"{{:.2f}} s, expected at most {longest:g} s (gates.max_seconds, or the model's window)"),
        ("other length", (told > 0) & (gates.length_slack > 0) & (np.abs(told - seconds) > np.maximum(gates.length_slack, SLACK * told)),
         np.stack([seconds, told], axis=1), "{:.2f} s, and its source says {:.2f} s; see gates.length_slack"),
        ("little text", rate < gates.min_text_rate, rate, f"{{:.2f}} characters a second, expected at least {gates.min_text_rate:g}"),
        ("much text", (rate > gates.max_text_rate) & (gates.max_text_rate > 0), rate,
         f"{{:.1f}} characters a second, expected at most {gates.max_text_rate:g}"),
        ("clipped", clipped > gates.max_clipped, clipped, f"{{:.1%}} of it at full scale, expected at most {gates.max_clipped:.1%}"),
        ("silence", silence > gates.max_silence, silence, f"{{:.1%}} of it is silence, expected at most {gates.max_silence:.1%}"),
        ("no speech", snr < gates.min_snr, snr,
         f"its level never changes: {{:.1f}} dB between loud and quiet, expected at least {gates.min_snr:g} dB; steady noise or a tone?"),
    ]  # fmt: skip
    refused: dict[int, tuple[str, str]] = {}
    for reason, rows, got, says in tests:
        for row in np.flatnonzero(rows).tolist():
            value = got[row].as_py() if isinstance(got, pa.ChunkedArray) else got[row]
            refused.setdefault(row, (reason, says.format(*np.atleast_1d(value).tolist())))
    refused = misfits | refused
    if gates.same_sound == "refuse":
        refused |= _repeats(clips, refused)
    return refused


def _repeats(clips: pa.Table, refused: dict[int, tuple[str, str]]) -> dict[int, tuple[str, str]]:
    """Return the rows whose sound another row has; test keeps its own before dev, dev before train, and the first of a split."""
    rank = pc.index_in(clips["split"], value_set=pa.array(SPLITS[::-1])).to_numpy()
    rows = np.setdiff1d(np.argsort(rank, kind="stable"), list(refused), assume_unique=True) if refused else np.argsort(rank, kind="stable")
    sounds = np.asarray(clips["sound"].take(rows).dictionary_encode().combine_chunks().indices) if len(rows) else np.empty(0, np.int64)
    _, first, which = np.unique(sounds, return_index=True, return_inverse=True)
    again = np.flatnonzero(first[which] != np.arange(len(rows)))
    ids = clips["id"]
    return {int(rows[place]): ("double sound", f"the same sound as clip {ids[int(rows[first[which[place]]])].as_py()!r}; gates.same_sound")
            for place in again.tolist()}  # fmt: skip
