"""Times a fine-tuning step of transformers in PyTorch: one encoder, a linear head a task, AdamW.

Takes the request as JSON in its argument: ``pretrained``, a directory, of which the shape alone is
read; ``tasks``, ``rows`` of each, their ``length`` and ``rounds``. Prints ``{"seconds": [...]}``,
processor time of each step.
"""

import json
import sys
import time

import torch
from torch import nn
from transformers import AutoConfig, AutoModel


def main():
    request = json.loads(sys.argv[1])
    torch.manual_seed(0)
    encoder = AutoModel.from_config(AutoConfig.from_pretrained(request["pretrained"]))
    width, tasks = encoder.config.hidden_size, request["tasks"]
    model = nn.ModuleDict(
        {"encoder": encoder, "heads": nn.ModuleList(nn.Linear(width, 2) for _ in range(tasks))}
    ).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5)
    shape = (tasks * request["rows"], request["length"])
    tokens = torch.randint(5, encoder.config.vocab_size, shape)
    mask = torch.ones(shape, dtype=torch.long)
    targets = torch.randint(0, 2, (tasks, request["rows"]))
    seconds = []
    for _ in range(request["rounds"] + 2):
        began = time.process_time()
        optimizer.zero_grad(set_to_none=True)
        hidden = model["encoder"](tokens, attention_mask=mask).last_hidden_state
        parts = nn.functional.dropout(hidden.mean(1), 0.1).chunk(tasks)
        losses = [
            nn.functional.cross_entropy(head(part), wanted)
            for head, part, wanted in zip(model["heads"], parts, targets, strict=True)
        ]
        torch.stack(losses).mean().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        seconds.append(time.process_time() - began)
    print(json.dumps({"seconds": seconds[2:]}))


if __name__ == "__main__":
    main()
