"""The two graphs have the inputs and outputs that Optimum's have and no path of this machine; weights too many for one file lie beside it.

About fifteen seconds, in which torch traces a small model.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.exports import onnx_files
from tasks.exports.formats import write
from tasks.exports.parity import compare
from tasks.model.whisper import load_whisper
from tests.support.spoken import spoken_clips

HERE = [str(path) for path in (Path(__file__).parents[2], Path.home()) if len(path.parts) > 1]


def always_equal(references: list[str], hypotheses: list[str]) -> float:
    """Stand for a WER where the words are equal: the real one takes seconds to import."""
    assert references == hypotheses
    return 0.0


@pytest.mark.slow
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
    for path in folder.iterdir():
        assert [word for word in ("site-packages", 'File "', str(own), *HERE) if word.encode() in path.read_bytes()] == [], path.name
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


def noted(message: Any) -> Iterator[Any]:
    """Return all of a protobuf that may bear notes, but tensors, which torch and onnxscript leave without."""
    fields = {field.name for field in message.DESCRIPTOR.fields}
    if "doc_string" in fields and message.DESCRIPTOR.name != "TensorProto":
        yield message
    for field, value in message.ListFields():
        if field.message_type and field.name != "metadata_props":
            for each in [value] if hasattr(value, "ListFields") else value:
                yield from noted(each)


def test_notes_are_taken_from_everything_and_nothing_else_is() -> None:
    onnx = pytest.importorskip("onnx", reason="the optional package onnx is not installed")
    ir = pytest.importorskip("onnx_ir", reason="the optional package onnx-ir is not installed")
    model = onnx.parser.parse_model("""
        <ir_version: 10, opset_import: ["" : 18, "own" : 1]>
        whole (bool b, float[2] x) => (float[2] y) <float[2] w = {1, 2}, float[2] m> {
            m = own.twice (x)
            y = If (b) <
                then_branch = one () => (float[2] p) { q = Add (m, w) p = Identity (q) },
                else_branch = two () => (float[2] r) {
                    r = If (b) <
                        then_branch = three () => (float[2] s) { s = Neg (m) }, else_branch = four () => (float[2] t) { t = Abs (m) }
                    >
                }>
        }
        <domain: "own", opset_import: ["" : 18]> twice (i) => (o) {
            c = Constant <value_int = 1> ()
            k = Cast <to = 9> (c)
            o = If (k) <then_branch = five () => (float[2] u) { u = Add (i, i) }, else_branch = six () => (float[2] v) { v = Mul (i, i) }>
        }
    """)
    plain = ir.to_proto(ir.from_proto(model)).SerializeToString(deterministic=True)
    assert {type(each).__name__ for each in noted(model)} == {
        "ModelProto", "GraphProto", "NodeProto", "AttributeProto", "ValueInfoProto", "FunctionProto"
    }  # fmt: skip
    for each in noted(model):
        each.doc_string = 'File "/home/anna/x.py"'
        if hasattr(each, "metadata_props"):
            each.metadata_props.add(key="pkg.torch.onnx.stack_trace", value='File "/home/anna/y.py"')
    bare = ir.from_proto(model)
    assert ir.to_proto(bare).SerializeToString().count(b"anna") > 50
    onnx_files._forget(bare)
    assert ir.to_proto(bare).SerializeToString(deterministic=True) == plain
