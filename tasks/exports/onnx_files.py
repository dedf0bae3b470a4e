"""Two graphs for ONNX Runtime, in float32: `encoder_model.onnx`, and `decoder_model_merged.onnx` for the first step and for those after it.

Names and shapes are those that Optimum's exporter gives a Whisper, and that transformers.js asks for. Optimum itself does not run with
transformers 5. Its merged decoder holds the decoder twice; here it is there once, for a past of any length, none at first. The switch
`use_cache_branch` decides only whether the keys of the sound are computed, or taken from the step before.
https://huggingface.co/docs/optimum-onnx, `WhisperOnnxConfig`; https://github.com/huggingface/transformers.js, `src/models.js`
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import DynamicCache, EncoderDecoderCache, WhisperForConditionalGeneration

from tasks.exports.onnx_switch import put_switch
from tasks.exports.packages import load
from tasks.model.shape import STRIDE
from tasks.model.whisper import load_whisper

ENCODER, DECODER = "encoder_model.onnx", "decoder_model_merged.onnx"
TOO_LARGE = 1_900_000_000  # bytes of weights; a protobuf ends at 2 GiB, and what is more lies beside it, in a file that ends in `_data`
PARTS = ("decoder.key", "decoder.value", "encoder.key", "encoder.value")  # of the past of each layer
BATCH, SAID, BEFORE = "batch_size", "decoder_sequence_length", "past_decoder_sequence_length"  # what sizes are called
SOUND = "encoder_sequence_length_out"
FREE = torch.export.Dim.DYNAMIC


class Encoder(nn.Module):
    """Features to states, with tensors alone."""

    def __init__(self, model: WhisperForConditionalGeneration) -> None:
        super().__init__()
        self.encoder = model.model.encoder

    def forward(self, input_features: torch.Tensor) -> torch.Tensor:
        """Return [n_clips, n_positions, width] of [n_clips, n_mels, n_frames]."""
        states: torch.Tensor = self.encoder(input_features).last_hidden_state
        return states


class Decoder(nn.Module):
    """Tokens and a past to scores and a longer past, with tensors alone."""

    def __init__(self, model: WhisperForConditionalGeneration) -> None:
        super().__init__()
        self.decoder, self.proj_out = model.model.decoder, model.proj_out

    def forward(self, input_ids: torch.Tensor, past: Sequence[Sequence[torch.Tensor]]) -> tuple[torch.Tensor, ...]:
        """Return scores [n_clips, n_tokens, n_vocabulary], and keys and values of each layer's attention to its own tokens.

        Args:
            input_ids: [n_clips, n_tokens] behind those of the past.
            past: of each layer as PARTS says, [n_clips, n_heads, n_past or n_positions, width // n_heads].
        """
        own, sound = (DynamicCache([(layer[first], layer[first + 1]) for layer in past]) for first in (0, 2))
        hidden = self.decoder(
            input_ids=input_ids,
            encoder_hidden_states=past[0][2],  # only that there are some is looked at: their keys are in the cache
            past_key_values=EncoderDecoderCache(own, sound),
            use_cache=True,
        ).last_hidden_state
        return (self.proj_out(hidden), *(each for layer in own.layers for each in (layer.keys, layer.values)))


def write_onnx(folder: Path, target: Path, language: str) -> None:
    """Write the checkpoint in `folder` as ENCODER and DECODER into `target`.

    Raises:
        ModelError: if a package is not installed, or the checkpoint cannot be loaded.
    """
    for package in ("onnx", "onnxscript"):
        load(package, package)
    ir = load("onnx_ir", "onnx-ir")
    model = load_whisper(folder, language, "cpu").model.eval()
    _save(ir, _encoder(ir, model), target / ENCODER)
    _save(ir, _merged(ir, model), target / DECODER)


def _encoder(ir: Any, model: WhisperForConditionalGeneration) -> Any:
    config = model.config
    features = torch.zeros(2, config.num_mel_bins, STRIDE * config.max_source_positions)
    whole = _trace(Encoder(model), (features,), {"input_features": {0: FREE}})
    _name(ir, whole.graph.inputs, [("input_features", [BATCH, *features.shape[1:]])])
    _name(ir, whole.graph.outputs, [("last_hidden_state", [BATCH, config.max_source_positions, config.d_model])])
    return whole


def _merged(ir: Any, model: WhisperForConditionalGeneration) -> Any:
    """Return the decoder for a past of any length, with the switch before it."""
    config, n_layers = model.config, len(model.model.decoder.layers)
    heads, n_positions = config.decoder_attention_heads, config.max_source_positions
    size = config.d_model // heads
    past = [[torch.zeros(2, heads, length, size) for length in (2, 2, n_positions, n_positions)] for _ in range(n_layers)]
    free = {"input_ids": {0: FREE, 1: FREE}, "past": [[{0: FREE, 2: FREE}] * 2 + [{0: FREE}] * 2] * n_layers}
    whole = _trace(Decoder(model), (torch.zeros(2, 3, dtype=torch.int64), past), free)

    names = [f"{layer}.{part}" for layer in range(n_layers) for part in PARTS]
    keys = [(f"past_key_values.{name}", [BATCH, heads, BEFORE if "decoder" in name else SOUND, size]) for name in names]
    longer = [(f"present.{name}", [BATCH, heads, f"{BEFORE} + {SAID}", size]) for name in names if "decoder" in name]
    _name(ir, whole.graph.inputs, [("input_ids", [BATCH, SAID]), *keys])
    _name(ir, whole.graph.outputs, [("logits", [BATCH, SAID, config.vocab_size]), *longer])
    put_switch(ir, whole.graph, model)
    return whole


def _trace(module: nn.Module, inputs: tuple[Any, ...], free: dict[str, Any]) -> Any:
    """Return the module as an ONNX model whose sizes are free where it is said."""
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)  # it warns that there is no torchvision
    program = torch.onnx.export(module.eval(), inputs, dynamo=True, dynamic_shapes=free, verbose=False)
    assert program is not None, "it gives one when it is not told to write a file"
    return program.model


def _name(ir: Any, values: Any, names: Sequence[tuple[str, Sequence[int | str]]]) -> None:
    """Give names, and names to sizes, to the inputs or the outputs of a graph."""
    for value, (name, shape) in zip(values, names, strict=True):
        value.name, value.shape = name, ir.Shape(shape)


def _forget(model: Any) -> None:
    """Clear notes that no runtime reads: torch writes there whence each piece came, with stack traces and this machine's paths."""
    inner = [graph for function in model.functions.values() for graph in (function.graph, *function.subgraphs())]
    model.doc_string = None
    model.metadata_props.clear()
    for graph in [*model.graphs(), *inner]:
        nodes = list(graph)  # those within them are of a graph of their own
        values = [*graph.inputs, *graph.initializers.values(), *(value for node in nodes for value in node.outputs)]
        for each in (graph, *nodes, *values):
            each.doc_string = None
            each.metadata_props.clear()
        for attribute in (attribute for node in nodes for attribute in node.attributes.values()):
            attribute.doc_string = None


def _save(ir: Any, model: Any, path: Path) -> None:
    _forget(model)
    n_bytes = sum(value.const_value.nbytes for value in model.graph.initializers.values())
    ir.save(model, path, external_data=f"{path.name}_data" if n_bytes > TOO_LARGE else None)
