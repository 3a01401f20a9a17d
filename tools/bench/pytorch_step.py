"""The training steps of tools/bench/train_step.cpp, in PyTorch eager: same shapes, same layers, same optimiser.

Prints one line of JSON per round: {"ms": mean of the round's steps, "processor_ms": the same in processor time}. Reads a line
from standard input before each round, so that a driver can take turns between the two programs.
"""

import argparse
import itertools
import json
import sys
import time

import torch
from torch import nn


class SequentialModel(nn.Module):
    def __init__(self, items, length, width, layers, heads, dropout):
        super().__init__()
        self.items = nn.Embedding(items, width)
        self.positions = nn.Embedding(length, width)
        self.dropout = nn.Dropout(dropout)
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, dropout, "gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(length))

    def forward(self, items):
        x = self.dropout(self.items(items) + self.positions.weight)
        x = self.encoder(x, mask=self.mask, is_causal=True)
        return x @ self.items.weight.T


def recommender():
    batch, length, items = 128, 50, 3500
    model = SequentialModel(items, length, 64, 2, 2, 0.2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    history = torch.randint(items, (batch, length))
    target = torch.randint(items, (batch * length,))

    def step():
        optimizer.zero_grad()
        logits = model(history)
        loss = nn.functional.cross_entropy(logits.reshape(-1, items), target)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def bert():
    from transformers import BertConfig, BertModel  # transformers' own, as its users fine-tune it

    batch = 32
    config = BertConfig(hidden_size=384, num_hidden_layers=6, intermediate_size=1536)
    model = nn.ModuleDict({"bert": BertModel(config, add_pooling_layer=False), "dropout": nn.Dropout(0.1),
                           "classifier": nn.Linear(384, 2)})
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, weight_decay=0.01)
    lengths = itertools.cycle([9, 14, 18, 22, 26, 30, 35, 44])
    sizes = torch.arange(batch) % 3

    def step():
        length = next(lengths)
        mask = (torch.arange(length) < (length - sizes).unsqueeze(1)).long()
        optimizer.zero_grad()
        hidden = model["bert"](torch.randint(30522, (batch, length)), attention_mask=mask).last_hidden_state
        weights = mask.unsqueeze(-1).float()
        pooled = (hidden * weights).sum(1) / weights.sum(1)
        loss = nn.functional.cross_entropy(model["classifier"](model["dropout"](pooled)), torch.randint(2, (batch,)))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.item()

    return step


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", choices=["recommender", "bert"], default="recommender")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    step = {"recommender": recommender, "bert": bert}[options.model]()
    for _ in range(options.steps):
        step()
    for _ in range(options.rounds):
        sys.stdin.readline()
        start, processor = time.perf_counter(), time.process_time()
        for _ in range(options.steps):
            step()
        print(json.dumps({"ms": 1e3 * (time.perf_counter() - start) / options.steps,
                          "processor_ms": 1e3 * (time.process_time() - processor) / options.steps}), flush=True)


if __name__ == "__main__":
    main()
