"""From embeddings to domains: fitting, calibration, out-of-domain detection, and the fitted parts on disk."""
