"""vLLM's OpenAI server with routing and CRMA. vLLM itself is imported only in files named `vllm_*`."""
