"""Writes bert/ and bert.safetensors: a small random BERT as transformers saves it, and what it computes.

usage: make_bert_golden.py    (needs torch, transformers and safetensors; transformers 5.24 made the files)

The weights are f32; the outputs and gradients are computed from them in f64.
"""

import pathlib
import shutil

import torch
from safetensors.torch import save_file
from transformers import BertConfig, BertForSequenceClassification

HERE = pathlib.Path(__file__).parent


def main():
    torch.manual_seed(6)
    config = BertConfig(vocab_size=40, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=24,
                        max_position_embeddings=12, type_vocab_size=2, num_labels=3, initializer_range=0.5,
                        attn_implementation="eager")
    model = BertForSequenceClassification(config).eval()
    with torch.no_grad():  # away from the zeros and ones that biases and norms start with
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter) * 0.3)
    shutil.rmtree(HERE / "bert", ignore_errors=True)
    model.save_pretrained(HERE / "bert")
    for extra in ("generation_config.json",):
        (HERE / "bert" / extra).unlink(missing_ok=True)

    model = model.double()
    lengths = torch.tensor([9, 4, 1, 12])
    ids = torch.randint(1, 40, (4, 12))
    types = torch.randint(0, 2, (4, 12))
    mask = (torch.arange(12) < lengths[:, None]).long()
    ids, types = ids * mask, types * mask
    out = model(ids, attention_mask=mask, token_type_ids=types, output_hidden_states=True, output_attentions=True)
    pooled = model.bert.pooler(out.hidden_states[-1])
    cotangent = torch.randn_like(out.hidden_states[-1]) * mask[..., None]
    parameters = dict(model.bert.named_parameters())
    wanted = ["embeddings.word_embeddings.weight", "embeddings.position_embeddings.weight",
              "encoder.layer.0.attention.self.query.weight", "encoder.layer.1.intermediate.dense.bias"]
    grads = torch.autograd.grad((out.hidden_states[-1] * cotangent).sum(), [parameters[name] for name in wanted])
    tensors = {"ids": ids, "lengths": lengths, "type_ids": types, "pooled": pooled, "logits": out.logits, "cotangent": cotangent}
    tensors.update({f"state.{i}": state for i, state in enumerate(out.hidden_states)})
    tensors.update({f"weights.{i}": weights for i, weights in enumerate(out.attentions)})
    tensors.update({f"grad.{name}": grad for name, grad in zip(wanted, grads)})
    save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, HERE / "bert.safetensors")


if __name__ == "__main__":
    main()
