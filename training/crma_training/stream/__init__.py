"""Learning from a stream: rows are journaled, given a domain, kept in reservoirs, trained on and published.

journal (crma_adapters.store) -> checks -> domain (router, boundary) -> reservoir -> trainer -> canary
"""
