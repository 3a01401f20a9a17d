"""The cases of tools/bench/attention.cpp in PyTorch: reads a case in JSON per line, answers {"ms": median}."""

import argparse
import json
import statistics
import sys
import time

import torch
from torch.nn.functional import scaled_dot_product_attention


clock = time.perf_counter


def median_of(repeats, body):
    body()
    times = []
    for _ in range(repeats):
        start = clock()
        body()
        times.append((clock() - start) * 1e3)
    return statistics.median_low(times)


def attention(case):
    batch, heads, key_heads, dim = case["batch"], case["heads"], case["key_heads"], case["dim"]
    queries, keys = case["queries"], case["keys"]
    backward = case["pass"] == "both"
    dtype = torch.bfloat16 if case["dtype"] == "bf16" else torch.float32
    shapes = [(batch, heads, queries, dim), (batch, key_heads, keys, dim), (batch, key_heads, keys, dim)]
    q, k, v = (torch.randn(shape, dtype=dtype, requires_grad=backward) for shape in shapes)
    dy = torch.randn(batch, heads, queries, dim, dtype=dtype)
    mask = None
    if case["padding"] != "none":
        lengths = torch.tensor([keys - keys * b // batch for b in range(batch)])
        mask = torch.arange(keys) < lengths.reshape(batch, 1, 1, 1)

    def body():
        y = scaled_dot_product_attention(
            q, k, v, mask, case["dropout"], is_causal=case["causal"], enable_gqa=heads != key_heads
        )
        if backward:
            torch.autograd.grad(y, (q, k, v), dy)

    with torch.set_grad_enabled(backward):
        return median_of(case["repeats"], body)


def sgemm(case):
    a, b = torch.rand(case["dim"], case["dim"]), torch.rand(case["dim"], case["dim"])
    return median_of(case["repeats"], lambda: a @ b)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--processor-time", action="store_true")
    options = parser.parse_args()
    if options.processor_time:
        global clock
        clock = time.process_time
    torch.set_num_threads(options.threads)
    for line in sys.stdin:
        case = json.loads(line)
        print(json.dumps({"ms": (sgemm if case["pass"] == "sgemm" else attention)(case)}), flush=True)


if __name__ == "__main__":
    main()
