"""What an adapter is: CRMA, its fold, bundles, base models and the store. Knows nothing of routing, training or serving."""
