"""`crma-eval ablation`: the same questions on one live server, with CRMA and without, request by request."""
