"""Times TorchJD's steps for `aggregation_overhead.py`, in TorchJD's own environment.

Reads one JSON request a line, answers one line: ``{"versions": ..., "variants": ...}``, by variant
``{"seconds", "ratio", "megabytes"}``, or ``{"error": text}``. The ratio is to the plain PyTorch
step of the same round. On a GPU where there is one, in bfloat16 if the request says so.
"""

import ctypes
import importlib.metadata
import json
import os
import resource
import statistics
import sys
import threading
import time

import torch
from torch import nn
from torchjd.aggregation import UPGrad, UPGradWeighting
from torchjd.autogram import Engine
from torchjd.autojac import jac_to_grad, mtl_backward


class Layer(nn.Module):
    """One pre-norm layer."""

    def __init__(self, width, heads, feed_forward):
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width, bias=False)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.feed_forward_norm = nn.LayerNorm(width, bias=False)
        self.up = nn.Linear(width, feed_forward, bias=False)
        self.gelu = nn.GELU(approximate="tanh")
        self.down = nn.Linear(feed_forward, width, bias=False)

    def forward(self, x, mask):
        rows, length, width = x.shape
        y = self.qkv(self.attention_norm(x)).view(rows, length, 3, self.heads, -1)
        q, k, v = y.permute(2, 0, 3, 1, 4)
        y = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.out(y.transpose(1, 2).reshape(rows, length, width))
        return x + self.down(self.gelu(self.up(self.feed_forward_norm(x))))


class Encoder(nn.Module):
    """Mean-pooled features of tokens."""

    def __init__(self, r):
        super().__init__()
        self.words = nn.Embedding(r["vocabulary"], r["width"])
        self.places = nn.Embedding(2 * r["length"], r["width"])
        self.layers = nn.ModuleList(
            Layer(r["width"], r["heads"], r["feed_forward"]) for _ in range(r["layers"])
        )
        self.norm = nn.LayerNorm(r["width"], bias=False)

    def forward(self, tokens, segments=None):
        mask = None if segments is None else (segments[:, :, None] == segments[:, None])[:, None]
        places = torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
        x = self.words(tokens) + self.places(places)
        for layer in self.layers:
            x = layer(x, mask)
        return self.norm(x).float().mean(1)


DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class Peak:
    """Growth of the resident set, or of the GPU's memory, within a block, in megabytes."""

    def __enter__(self):
        if DEVICE == "cuda":
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        self.first = self.highest = self._now()
        self.running = True
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.running = False
        self.thread.join()
        if DEVICE == "cuda":
            self.highest = torch.cuda.max_memory_allocated() / 1e6

    def _watch(self):
        while self.running:
            self.highest = max(self.highest, self._now())
            time.sleep(0.002)

    @staticmethod
    def _now():
        if DEVICE == "cuda":
            return torch.cuda.memory_allocated() / 1e6
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) / 1e3


class Model(nn.Module):
    """An encoder, heads, their optimizer and their data."""

    def __init__(self, r):
        super().__init__()
        torch.manual_seed(0)
        self.count, self.rows, self.setting = r["tasks"], r["rows"], r["setting"]
        self.narrow = r["dtype"] == "bfloat16"
        self.encoder = Encoder(r)
        self.heads = nn.ModuleList(
            nn.Linear(r["width"], r["classes"], bias=False) for _ in range(self.count)
        )
        self.to(DEVICE)
        self.optimizer = torch.optim.Adam(self.parameters(), lr=1e-4)
        lengths = [r["length"]] * (1 if self.setting == "shared" else self.count)
        if self.setting == "packed":  # as on the other side
            last = max(self.count - 1, 1)
            lengths = [int(r["length"] * (0.5 + i / last) // 8 * 8) for i in range(self.count)]
        self.tokens, self.segments = [], []
        for length in lengths:
            whole = torch.randint(0, r["vocabulary"], (self.rows, length), device=DEVICE)
            cut = torch.randint(length // 4, 3 * length // 4, (self.rows, 1), device=DEVICE)
            self.tokens.append(whole)
            self.segments.append((torch.arange(length, device=DEVICE) >= cut).int())
        self.targets = torch.randint(0, r["classes"], (self.count, self.rows), device=DEVICE)

    def encoded(self, *inputs):
        with torch.autocast(DEVICE, torch.bfloat16, enabled=self.narrow):
            return self.encoder(*inputs)

    def losses_of(self, parts):
        return [
            nn.functional.cross_entropy(head(part), wanted)
            for head, part, wanted in zip(self.heads, parts, self.targets, strict=True)
        ]

    def one_by_one(self):
        """The features of each task, from a pass of its own."""
        if self.setting == "packed":
            parts = [self.encoded(*row) for row in zip(self.tokens, self.segments, strict=True)]
        else:
            parts = [self.encoded(tokens) for tokens in self.tokens]
        return parts, self.losses_of(parts)

    def together(self):
        """From one pass where the shapes allow it."""
        if self.setting == "packed":
            return self.one_by_one()
        if self.setting == "shared":
            features = self.encoded(self.tokens[0])
            return features, self.losses_of([features] * self.count)
        features = self.encoded(torch.cat(self.tokens))
        return features, self.losses_of(features.view(self.count, self.rows, -1))


def measure(r):
    model, hooked = Model(r), Model(r)  # autogram's hooks stay in the modules
    engine, weighting = Engine(hooked.encoder, batch_dim=None), UPGradWeighting()

    def aggregate(losses, features, **options):
        shared = list(model.encoder.parameters())
        mtl_backward(
            losses,
            features=features,
            tasks_params=[list(head.parameters()) for head in model.heads],
            shared_params=shared,
            **options,
        )
        jac_to_grad(shared, UPGrad(), optimize_gramian_computation=True)

    def plain():
        torch.stack(model.together()[1]).mean().backward()

    def autojac():
        features, losses = model.together()
        aggregate(losses, features)

    def autojac_task_by_task():
        parts, losses = model.one_by_one()
        aggregate(losses, parts, parallel_chunk_size=1)

    def autogram():
        losses = torch.stack(hooked.together()[1])
        losses.backward(weighting(engine.compute_gramian(losses)))

    variants = {
        "PyTorch, plain": plain,
        "TorchJD UPGrad, autojac": autojac,
        "TorchJD UPGrad, autogram": autogram,
    }
    if model.setting != "shared":
        variants["TorchJD UPGrad, autojac, task by task"] = autojac_task_by_task
    seconds = {name: [] for name in variants}
    megabytes, failures = dict.fromkeys(variants, 0.0), {}
    for turn in range(r["rounds"] + 1):
        for name, backward in variants.items():
            if name in failures:
                continue
            used = hooked if backward is autogram else model
            used.optimizer.zero_grad(set_to_none=True)
            if not turn:  # what the allocator kept would hide what this variant needs
                ctypes.CDLL(None).malloc_trim(0)
            with Peak() as peak:
                began = time.perf_counter()
                try:
                    backward()
                    used.optimizer.step()
                    if DEVICE == "cuda":
                        torch.cuda.synchronize()
                except Exception as error:  # noqa: BLE001
                    failures[name] = f"{type(error).__name__}: {error}"[:200]
                    continue
                took = time.perf_counter() - began
            if not turn:
                megabytes[name] = peak.highest - peak.first
            if turn or not r["rounds"]:
                seconds[name].append(took)
    found = {}
    if base := failures.get("PyTorch, plain"):  # nothing to compare with
        return {name: {"error": failures.get(name, base)} for name in variants}
    for name, values in seconds.items():
        if name in failures:
            found[name] = {"error": failures[name]}
            continue
        ratios = [a / b for a, b in zip(values, seconds["PyTorch, plain"], strict=True)]
        found[name] = {
            "seconds": statistics.median(values),
            "ratio": statistics.median(ratios),
            "megabytes": megabytes[name],
        }
    return found


def main():
    if DEVICE == "cpu":
        # Out of memory is an answer, not the end of the machine.
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        resource.setrlimit(resource.RLIMIT_AS, (int(0.7 * memory),) * 2)
    versions = {name: importlib.metadata.version(name) for name in ("torch", "torchjd")}
    answer = sys.stdout
    sys.stdout = sys.stderr
    for line in sys.stdin:
        found = measure(json.loads(line))
        answer.write(json.dumps({"versions": versions, "variants": found}) + "\n")
        answer.flush()
        if DEVICE == "cuda":
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
