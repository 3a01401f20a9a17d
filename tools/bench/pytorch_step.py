"""The training step of tools/bench/train_step.cpp, in PyTorch eager: same shapes, same layers, same optimiser.

Prints one line of JSON per round: {"ms": median of the round's steps}. Reads a line from standard input before each
round, so that a driver can take turns between the two programs.
"""

import argparse
import json
import statistics
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


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
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

    for _ in range(3):
        step()
    for _ in range(options.rounds):
        sys.stdin.readline()
        times = []
        for _ in range(options.steps):
            start = time.perf_counter()
            step()
            times.append(1e3 * (time.perf_counter() - start))
        print(json.dumps({"ms": statistics.median(times)}), flush=True)


if __name__ == "__main__":
    main()
