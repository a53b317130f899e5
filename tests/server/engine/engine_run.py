"""Runs one vLLM engine and writes what it answered. Its own process: an engine never gives everything back.

    python engine_run.py JOB.json ANSWERS.json

JOB: {"engine": {keyword arguments of vllm.LLM}, "max_tokens": n, "prompt_logprobs": bool,
"batches": [[{"prompt": [token ids], "adapter": path or null}]]}.
ANSWERS, for each request of each batch: {"tokens": [ids], "logprobs": [{id: log-probability}, likeliest ids],
"prompt_logprobs": [log-probability of each prompt token after the first]}.
"""

import json
import os
import sys
import zlib
from pathlib import Path
from typing import Any

os.environ.update(
    HF_HUB_OFFLINE="1",
    OMP_NUM_THREADS="1",  # small models gain little from more, and lose much where cores are shared
    VLLM_CPU_KVCACHE_SPACE="1",
    VLLM_ENABLE_V1_MULTIPROCESSING="0",
    VLLM_LOGGING_LEVEL=os.environ.get("VLLM_LOGGING_LEVEL", "WARNING"),
    VLLM_NO_USAGE_STATS="1",
)

TOP_LOGPROBS = 5


def main(job_path: Path, answers_path: Path) -> None:
    from vllm import LLM, SamplingParams
    from vllm.lora.request import LoRARequest

    job = json.loads(job_path.read_text())
    llm = LLM(**job["engine"], skip_tokenizer_init=True, enable_prefix_caching=False, seed=0)
    sampling = SamplingParams(
        temperature=0,
        max_tokens=job["max_tokens"],
        ignore_eos=True,
        detokenize=False,
        logprobs=TOP_LOGPROBS,
        prompt_logprobs=0 if job["prompt_logprobs"] else None,
    )

    def adapter(path: str | None) -> LoRARequest | None:
        return None if path is None else LoRARequest(path, zlib.crc32(path.encode()) or 1, path)

    answers = []
    for batch in job["batches"]:
        outputs = llm.generate(
            [{"prompt_token_ids": request["prompt"]} for request in batch],
            sampling,
            lora_request=[adapter(request["adapter"]) for request in batch],
            use_tqdm=False,
        )
        answers.append([_answer(output) for output in outputs])
    answers_path.write_text(json.dumps(answers))


def _answer(output: Any) -> dict[str, Any]:
    completion = output.outputs[0]
    prompt = zip(output.prompt_token_ids[1:], (output.prompt_logprobs or [])[1:], strict=False)
    return {
        "tokens": list(completion.token_ids),
        "logprobs": [{t: value.logprob for t, value in step.items()} for step in completion.logprobs],
        "prompt_logprobs": [step[token].logprob for token, step in prompt],
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
