"""Times the cases of `generation.py` with Hugging Face's transformers.

Takes the shape as JSON in its argument, prints versions, then for every case, a line of JSON on
stdin, ``{"seconds": [reading, all]}``.
"""

import json
import sys
import time

import torch
import transformers


def main():
    r = json.loads(sys.argv[1])
    transformers.logging.set_verbosity_error()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=r["vocabulary"],
        n_positions=r["longest"],
        n_embd=r["width"],
        n_layer=r["layers"],
        n_head=r["heads"],
        n_inner=r["feed_forward"],
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=0,
    )
    model = transformers.GPT2LMHeadModel(config).eval().to(device, getattr(torch, r["dtype"]))
    found = {"torch": torch.__version__, "transformers": transformers.__version__}
    print(json.dumps(found), flush=True)

    def now():
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    for line in sys.stdin:
        case = json.loads(line)
        shape = (case["batch"], case["prompt"])
        tokens = torch.randint(4, r["vocabulary"], shape, device=device)
        mask = torch.ones_like(tokens)
        options = {
            "max_new_tokens": case["tokens"],
            "min_new_tokens": case["tokens"],
            "do_sample": False,
            "num_beams": r["beams"] if case["variant"].startswith("beam") else 1,
            "use_cache": "no cache" not in case["variant"],
        }
        with torch.inference_mode():
            began = now()
            model(tokens, attention_mask=mask, use_cache=True, logits_to_keep=1)
            middle = now()
            out = model.generate(tokens, attention_mask=mask, **options)
            end = now()
        assert out.shape[1] == case["prompt"] + case["tokens"], out.shape
        # `generate` reads the prompt too.
        print(json.dumps({"seconds": [middle - began, end - middle]}), flush=True)


if __name__ == "__main__":
    main()
