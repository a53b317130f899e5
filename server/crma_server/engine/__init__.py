"""The engine that bundles are loaded into: what the server needs of it (`base`), and vLLM (`vllm`)."""
