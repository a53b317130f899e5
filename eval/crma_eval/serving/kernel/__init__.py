"""What the CPU engine's LoRA kernel costs, beside vLLM's own and one read of the weights."""
