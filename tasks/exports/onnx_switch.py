"""The switch before the decoder's graph: at the first step the keys and values of the sound are computed, after that they are given.

A graph with both, as an ONNX `If` (operator set 1 and later, https://onnx.ai/onnx/operators/onnx__If.html), whose weights lie in the outer
graph. It knows nothing of how the decoder's own graph came about, but for the names of its inputs.
"""

from typing import Any

import numpy as np
from transformers import WhisperForConditionalGeneration

Line = list[Any]  # nodes, each of which reads the one before it


def put_switch(ir: Any, graph: Any, model: WhisperForConditionalGeneration) -> None:
    """Let what reads the keys of the sound read what the switch chooses, and give that out beside the rest.

    Args:
        ir: the module `onnx_ir`.
        graph: with inputs `past_key_values.<layer>.encoder.key` and `.value`; changed in place, as all of that module are.
        model: whose weights compute them from `encoder_hidden_states`, if `use_cache_branch` is false.
    """
    states = ir.Input("encoder_hidden_states", ir.Shape(["batch_size", "encoder_sequence_length", model.config.d_model]))
    switch = ir.Input("use_cache_branch", ir.Shape([1]), ir.TensorType(ir.DataType.BOOL))
    states.type = ir.TensorType(ir.DataType.FLOAT)
    given = [each for each in graph.inputs if ".encoder." in each.name]
    uses = [list(each.uses()) for each in given]
    computed = _compute(ir, graph, states, model)
    kept = [[ir.node("Identity", [each])] for each in given]
    branches = {"then_branch": _branch(ir, graph, kept, given, "given"), "else_branch": _branch(ir, graph, computed, given, "computed")}
    chosen = ir.node("If", [switch], branches, num_outputs=len(given))
    for value, like, places in zip(chosen.outputs, given, uses, strict=True):
        value.name, value.shape, value.type = like.name.replace("past_key_values", "present"), like.shape, like.type
        for node, place in places:
            node.replace_input_with(place, value)
    graph.insert_before(graph[0], chosen)
    graph.inputs.insert(1, states)
    graph.inputs.append(switch)
    for number, value in enumerate(chosen.outputs):  # a key and a value of each layer, behind its own key and value and the scores
        graph.outputs.insert(1 + number // 2 * 4 + 2 + number % 2, value)


def _compute(ir: Any, graph: Any, states: Any, model: WhisperForConditionalGeneration) -> list[Line]:
    """Return what computes keys and values of each layer in turn, and put the weights into the graph."""
    split = _constant(ir, graph, "sound.split", np.array([0, 0, -1, model.config.d_model // model.config.decoder_attention_heads]))
    lines = []
    for number, layer in enumerate(model.model.decoder.layers):
        for what, linear in (("key", layer.encoder_attn.k_proj), ("value", layer.encoder_attn.v_proj)):
            weight = _constant(ir, graph, f"sound.{number}.{what}.weight", linear.weight.detach().T.contiguous().numpy())
            line = [ir.node("MatMul", [states, weight])]
            if linear.bias is not None:
                bias = _constant(ir, graph, f"sound.{number}.{what}.bias", linear.bias.detach().numpy())
                line.append(ir.node("Add", [line[-1].outputs[0], bias]))
            line.append(ir.node("Reshape", [line[-1].outputs[0], split]))  # [n_clips, n_positions, n_heads, size]
            line.append(ir.node("Transpose", [line[-1].outputs[0]], {"perm": [0, 2, 1, 3]}))
            lines.append(line)
    return lines


def _constant(ir: Any, graph: Any, name: str, array: np.ndarray) -> Any:
    value = ir.Value(name=name, const_value=ir.tensor(array, name=name))
    graph.initializers.add(value)
    return value


def _branch(ir: Any, graph: Any, lines: list[Line], like: list[Any], name: str) -> Any:
    """Return a graph without inputs that gives out the last of each line, in the shapes of `like`."""
    outputs = [line[-1].outputs[0] for line in lines]
    for number, (value, model) in enumerate(zip(outputs, like, strict=True)):
        value.name, value.shape, value.type = f"{name}.{number}", model.shape, model.type
    return ir.Graph([], outputs, nodes=[node for line in lines for node in line], name=name, opset_imports=graph.opset_imports)
