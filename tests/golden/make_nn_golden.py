#!/usr/bin/env python3
"""Writes the golden values of tests/nn/golden.cpp: what PyTorch computes, as small safetensors files.

usage: make_nn_golden.py [FOLDER]      (needs torch and safetensors; FOLDER: where this script lies)

Every file of a module holds its state dict ("state.NAME"), inputs ("input.NAME"), outputs ("output.NAME"), a random
cotangent ("cotangent") and the gradients under it ("grad.NAME" of parameters, "grad_input.NAME" of inputs). All of it is
computed in f64, so that the C++ side may be held to tight tolerances, and stored in f64 or as integers.
"""
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

torch.set_default_dtype(torch.float64)
FOLDER = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent)


def save(name, tensors):
    save_file({key: value.detach().clone().contiguous() for key, value in tensors.items()}, FOLDER / f"{name}.safetensors")


def randomise(module):
    """Away from the ones and zeros that norms and biases start with."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.uniform_(-0.5, 0.5)


def module_case(name, module, inputs, forward, extra=None):
    """forward(module, inputs) returns {name: output}; the first output gets the cotangent."""
    randomise(module)
    floating = {key: value.requires_grad_() for key, value in inputs.items() if value.is_floating_point()}
    outputs = forward(module, inputs)
    first = next(iter(outputs.values()))
    cotangent = torch.randn_like(first)
    first.backward(cotangent)
    tensors = {f"state.{key}": value for key, value in module.state_dict().items()}
    tensors |= {f"input.{key}": value for key, value in inputs.items()}
    tensors |= {f"output.{key}": value for key, value in outputs.items()}
    tensors |= {f"grad.{key}": value.grad for key, value in module.named_parameters()}
    tensors |= {f"grad_input.{key}": value.grad for key, value in floating.items()}
    save(name, tensors | {"cotangent": cotangent} | (extra or {}))


def modules():
    module_case("linear", nn.Linear(5, 3), {"x": torch.randn(2, 4, 5)}, lambda m, i: {"y": m(i["x"])})
    module_case("layer_norm", nn.LayerNorm(6), {"x": torch.randn(2, 3, 6)}, lambda m, i: {"y": m(i["x"])})
    module_case("rms_norm", nn.RMSNorm(6), {"x": torch.randn(2, 3, 6)}, lambda m, i: {"y": m(i["x"])})
    module_case("embedding", nn.Embedding(7, 4, padding_idx=2), {"index": torch.tensor([[0, 2, 6], [6, 6, 1]])},
                lambda m, i: {"y": m(i["index"])})


def attention():
    batch, length, keys, dim, heads = 2, 5, 4, 8, 2
    padding = torch.tensor([[False] * 5, [False, False, False, True, True]])
    blocked = torch.zeros(length, length, dtype=torch.bool)
    blocked[1, 3] = blocked[4, 0] = blocked[2, 1] = True

    def run(m, q, k, v, **options):
        output, weights = m(q, k, v, need_weights=True, average_attn_weights=False, **options)
        return {"y": output, "weights": weights}

    mha = lambda **options: nn.MultiheadAttention(dim, heads, batch_first=True, **options)
    x = lambda: {"x": torch.randn(batch, length, dim)}
    module_case("mha_plain", mha(), x(), lambda m, i: run(m, i["x"], i["x"], i["x"]))
    module_case("mha_no_bias", mha(bias=False), x(), lambda m, i: run(m, i["x"], i["x"], i["x"]))
    module_case("mha_padding", mha(), x() | {"padding": padding},
                lambda m, i: run(m, i["x"], i["x"], i["x"], key_padding_mask=i["padding"]))
    module_case("mha_mask", mha(), x() | {"blocked": blocked, "padding": padding},
                lambda m, i: run(m, i["x"], i["x"], i["x"], attn_mask=i["blocked"], key_padding_mask=i["padding"]))
    module_case("mha_causal", mha(), x(), lambda m, i: run(
        m, i["x"], i["x"], i["x"], attn_mask=torch.ones(length, length).triu(1).bool()))
    module_case("mha_cross", mha(), {"query": torch.randn(batch, length, dim), "key": torch.randn(batch, keys, dim)},
                lambda m, i: run(m, i["query"], i["key"], i["key"]))
    module_case("mha_widths", mha(kdim=6, vdim=3),
                {"query": torch.randn(batch, length, dim), "key": torch.randn(batch, keys, 6),
                 "value": torch.randn(batch, keys, 3)}, lambda m, i: run(m, i["query"], i["key"], i["value"]))


def transformers():
    def layer(**options):
        return nn.TransformerEncoderLayer(8, 2, dim_feedforward=12, dropout=0.0, batch_first=True, **options)

    x = lambda: {"x": torch.randn(2, 5, 8)}
    padding = torch.tensor([[False] * 5, [False, False, False, False, True]])
    module_case("layer_post", layer(), x(), lambda m, i: {"y": m(i["x"])})
    module_case("layer_pre", layer(norm_first=True, activation="gelu"), x(), lambda m, i: {"y": m(i["x"])})
    encoder = nn.TransformerEncoder(layer(norm_first=True), 2, norm=nn.LayerNorm(8), enable_nested_tensor=False)
    module_case("encoder", encoder, x() | {"padding": padding},
                lambda m, i: {"y": m(i["x"], src_key_padding_mask=i["padding"])})


def optimisers():
    """20 steps on a matrix and a vector with given gradients; the vector's are missing in steps 3 to 5. In f32."""
    steps = 20
    rules = {
        "sgd": lambda p: torch.optim.SGD(p, lr=0.05),
        "sgd_momentum": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=0.1),
        "sgd_nesterov": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
        "adam": lambda p: torch.optim.Adam(p, lr=0.02),
        "adam_l2": lambda p: torch.optim.Adam(p, lr=0.02, betas=(0.8, 0.95), weight_decay=0.1),
        "adamw": lambda p: torch.optim.AdamW(p, lr=0.02),
        "adamw_groups": lambda p: torch.optim.AdamW([{"params": p[:1]}, {"params": p[1:], "weight_decay": 0.0, "lr": 0.1}],
                                                    lr=0.02, weight_decay=0.3),
        "adamw_clip_cosine": lambda p: torch.optim.AdamW(p, lr=0.02),
    }
    start = {"matrix": torch.randn(3, 4, dtype=torch.float32), "vector": torch.randn(5, dtype=torch.float32)}
    gradients = {key: torch.randn(steps, *value.shape, dtype=torch.float32) for key, value in start.items()}
    tensors = {f"start.{key}": value for key, value in start.items()}
    tensors |= {f"gradients.{key}": value for key, value in gradients.items()}
    for name, rule in rules.items():
        parameters = {key: nn.Parameter(value.clone()) for key, value in start.items()}
        optimiser = rule(list(parameters.values()))
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=steps, eta_min=0.002)
        path, norms, rates = {key: [] for key in start}, [], []
        for step in range(steps):
            for key, parameter in parameters.items():
                missing = key == "vector" and 3 <= step <= 5
                parameter.grad = None if missing else gradients[key][step].clone()
            if name == "adamw_clip_cosine":
                norms.append(torch.nn.utils.clip_grad_norm_(parameters.values(), 2.5))
                rates.append(torch.tensor(optimiser.param_groups[0]["lr"]))
            optimiser.step()
            if name == "adamw_clip_cosine":
                cosine.step()
            for key, parameter in parameters.items():
                path[key].append(parameter.detach().clone())
        tensors |= {f"{name}.{key}": torch.stack(values) for key, values in path.items()}
        if norms:
            tensors |= {f"{name}.norms": torch.stack(norms), f"{name}.rates": torch.stack(rates)}
    save("optimisers", tensors)


if __name__ == "__main__":
    torch.manual_seed(20240229)
    modules()
    attention()
    transformers()
    optimisers()
