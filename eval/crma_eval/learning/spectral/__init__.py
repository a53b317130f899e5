"""CRMA's mixing matrices over a sequence of domains: what training logged, and a release measured again."""
