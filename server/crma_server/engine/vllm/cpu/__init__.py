"""The CPU engine's multi-LoRA kernel.

`punica` takes vLLM's calls, `weights` packs the adapters, `products` lays out a step's rows and multiplies
with PyTorch, `native` does so in C, `compile` lets the whole be traced."""
