"""The training loop: transformers' `Trainer` with CRMA's parameter groups, clipping, losses and log.

Batches of token ids come in, trained parameters and `metrics.jsonl` are left; data, methods and releases are
the concern of who calls `fit`.
"""
