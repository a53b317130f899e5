"""Evaluation commands: they drive training in-process and the server over HTTP only."""
