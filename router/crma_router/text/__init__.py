"""Texts before they are embedded: how much of one is read, spelling."""
