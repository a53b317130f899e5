"""Datasets: read, checked, split, rendered by a chat template and turned into token ids.

    files -> rows -> domains with train, validation and holdout -> checks -> token ids with what is learnt

Nothing here loads a model; torch is loaded by `tokens` only.
"""
