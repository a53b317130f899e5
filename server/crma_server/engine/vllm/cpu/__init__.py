"""The CPU engine's multi-LoRA kernel.

`punica` takes vLLM's calls, `slots` lays out a step's rows, `weights` packs the adapters, `native` (C) or
`products` (PyTorch) multiplies, `compile` lets the whole be traced.
"""
