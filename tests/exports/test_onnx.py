"""The two graphs have the inputs and outputs that Optimum's have, and weights that are too many for one file lie beside it.

About fifteen seconds, in which torch traces a small model.
"""

from pathlib import Path

import numpy as np
import pytest

from tasks.exports import onnx_files
from tasks.exports.formats import write
from tasks.exports.parity import compare
from tasks.model.whisper import load_whisper
from tests.support.spoken import spoken_clips


def always_equal(references: list[str], hypotheses: list[str]) -> float:
    """Stand for a WER where the words are equal: the real one takes seconds to import."""
    assert references == hypotheses
    return 0.0


def test_the_graphs_are_those_that_others_ask_for_with_the_weights_beside_them(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnx = pytest.importorskip("onnx", reason="the optional package onnx is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="the optional package onnxruntime is not installed")
    monkeypatch.setattr(onnx_files, "TOO_LARGE", 10_000)  # bytes
    write("onnx", own, tmp_path, "sv")
    folder = tmp_path / "onnx"
    names = {"encoder_model.onnx", "encoder_model.onnx_data", "decoder_model_merged.onnx", "decoder_model_merged.onnx_data"}
    assert {path.name for path in folder.iterdir()} == names
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
    assert sizes["decoder_model_merged.onnx"] < sizes["decoder_model_merged.onnx_data"], "the weights are there once"
    for name in ("encoder_model.onnx", "decoder_model_merged.onnx"):
        onnx.checker.check_model(folder / name)
    encoder, decoder = (runtime.InferenceSession(folder / name) for name in ("encoder_model.onnx", "decoder_model_merged.onnx"))
    assert [each.name for each in encoder.get_inputs()] == ["input_features"]
    assert [each.name for each in encoder.get_outputs()] == ["last_hidden_state"]
    past = [f"{layer}.{part}.{what}" for layer in range(2) for part in ("decoder", "encoder") for what in ("key", "value")]
    assert [each.name for each in decoder.get_inputs()] == [
        "input_ids", "encoder_hidden_states", *(f"past_key_values.{each}" for each in past), "use_cache_branch"
    ]  # fmt: skip
    assert [each.name for each in decoder.get_outputs()] == ["logits", *(f"present.{each}" for each in past)]
    assert compare("onnx", tmp_path, load_whisper(own, "sv", "cpu"), spoken_clips(80, 2), always_equal) == 0

    # The switch: a step with what the step before gave out gives the scores that all tokens at once give.
    states = np.random.default_rng(0).standard_normal((3, 100, 64)).astype(np.float32)
    ids, empty = np.arange(12).reshape(3, 4), np.zeros((3, 2, 0, 32), np.float32)
    nothing = {f"past_key_values.{each}": empty for each in past}
    whole, *_ = decoder.run(None, {"input_ids": ids, "encoder_hidden_states": states, "use_cache_branch": np.array([False]), **nothing})
    _, *present = decoder.run(
        None, {"input_ids": ids[:, :2], "encoder_hidden_states": states, "use_cache_branch": np.array([False]), **nothing}
    )
    held = dict(zip(nothing, present, strict=True))
    rest, *_ = decoder.run(
        None, {"input_ids": ids[:, 2:], "encoder_hidden_states": 0 * states, "use_cache_branch": np.array([True]), **held}
    )
    np.testing.assert_allclose(rest, whole[:, 2:], atol=1e-4)
