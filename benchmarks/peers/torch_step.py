"""Times the large training step of `step_throughput.py` in PyTorch, compiled, attention fused.

Takes the shape as JSON in its argument and prints ``{"seconds": [...]}``.
"""

import json
import sys
import time

import torch
from torch import nn


class Layer(nn.Module):
    """One pre-norm layer, with rotary positions as the other side has them."""

    def __init__(self, width, heads, feed_forward):
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, feed_forward)
        self.down = nn.Linear(feed_forward, width)

    def forward(self, x, cos, sin):
        rows, length, width = x.shape
        y = self.qkv(self.attention_norm(x)).view(rows, length, 3, self.heads, -1)
        q, k, v = y.permute(2, 0, 3, 1, 4)

        def rotate(z):
            first, second = z.chunk(2, -1)
            return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)

        y = nn.functional.scaled_dot_product_attention(rotate(q), rotate(k), v)
        x = x + self.out(y.transpose(1, 2).reshape(rows, length, width))
        y = nn.functional.gelu(self.up(self.feed_forward_norm(x)), approximate="tanh")
        return x + self.down(y)


class Model(nn.Module):
    """Encoder and heads; every task has its own rows of the batch."""

    def __init__(self, r):
        super().__init__()
        self.r = r
        self.words = nn.Embedding(8192, r["width"])
        self.layers = nn.ModuleList(
            Layer(r["width"], r["heads"], r["feed_forward"]) for _ in range(r["layers"])
        )
        self.norm = nn.LayerNorm(r["width"])
        self.heads = nn.ModuleList(nn.Linear(r["width"], 10, bias=False) for _ in range(r["tasks"]))
        half = r["width"] // r["heads"] // 2
        angles = torch.outer(
            torch.arange(r["length"]).float(), 10_000.0 ** (-torch.arange(half).float() / half)
        )
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())

    def forward(self, tokens, targets):
        x = self.words(tokens)
        cos, sin = self.cos, self.sin
        if torch.is_autocast_enabled():
            x, cos, sin = x.bfloat16(), cos.bfloat16(), sin.bfloat16()
        for layer in self.layers:
            x = layer(x, cos, sin)
        features = self.norm(x).float().mean(1).chunk(self.r["tasks"])
        losses = [
            nn.functional.cross_entropy(head(part).float(), wanted)
            for head, part, wanted in zip(self.heads, features, targets, strict=True)
        ]
        return torch.stack(losses).mean()


def main():
    r = json.loads(sys.argv[1])
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_float32_matmul_precision("high")
    model = Model(r).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=device == "cuda")
    tokens = torch.randint(0, 8192, (r["tasks"] * r["rows"], r["length"]), device=device)
    targets = torch.randint(0, 10, (r["tasks"], r["rows"]), device=device)
    compiled = torch.compile(model) if device == "cuda" else model
    seconds = []
    for _ in range(r["rounds"] + 1):
        began = time.perf_counter()
        for _ in range(r["in_a_row"]):
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
                loss = compiled(tokens, targets)
            loss.backward()
            optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append((time.perf_counter() - began) / r["in_a_row"])
    print(json.dumps({"seconds": seconds[1:]}))


if __name__ == "__main__":
    main()
