"""Low-rank matrices beside a Whisper's weights, so that few numbers are trained; merged, the model is again like any other.

Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models", https://arxiv.org/abs/2106.09685, as `peft` does it. Its
`get_peft_model` is not used: it wraps the model in one that wants `input_ids` (pitfall 26), where this leaves the model itself.
"""

from typing import TYPE_CHECKING

import torch
from transformers import WhisperForConditionalGeneration

from tasks.contracts.errors import ModelError

if TYPE_CHECKING:  # pydantic is not needed to train
    from tasks.contracts.recipe import Lora

ATTENTION = ("q_proj", "v_proj")  # what Hu et al. found worth most (section 7.1), in self- and cross-attention
LAYERS = {"attention": ATTENTION, "all": (*ATTENTION, "k_proj", "out_proj", "fc1", "fc2")}


def add_lora(model: WhisperForConditionalGeneration, lora: "Lora", seed: int) -> None:
    """Put pairs of matrices [rank, n_in] and [n_out, rank] beside the weights of `model`, in place, and freeze all that is not theirs.

    The second of a pair begins at zero: until it is trained, the model says to the bit what it said before.

    Args:
        model: its weights and their values stay as they are, under longer names.
        lora: the recipe's section, with a rank above 0.
        seed: decides the first values, whatever else was drawn before.

    Raises:
        ModelError: if peft is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model  # here: it takes seconds, and most trainings do without
    except ImportError as error:
        raise ModelError(f"training.lora needs the package peft, which cannot be imported ({error}): pip install peft") from error
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha or 2 * lora.rank,
        lora_dropout=lora.dropout,
        target_modules=list(LAYERS[lora.layers]),
        bias="none",
    )
    with torch.random.fork_rng(devices=[]):  # drawn on the CPU, wherever the model is
        torch.manual_seed(seed)
        inject_adapter_in_model(config, model)


@torch.no_grad()
def merge_lora(model: WhisperForConditionalGeneration) -> None:
    """Add what the pairs have learnt to the weights beside them, in place, and take them away; the weights stay frozen."""
    from peft.tuners.lora import LoraLayer

    for name, layer in list(model.named_modules()):
        if isinstance(layer, LoraLayer):
            layer.merge()
            model.set_submodule(name, layer.get_base_layer())
    del model.peft_config  # or peft would believe that its layers are still there
