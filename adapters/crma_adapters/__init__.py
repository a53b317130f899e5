"""What an adapter is: CRMA, its fold, bundles, base models and the store; no routing, training or serving."""
