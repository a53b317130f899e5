"""The forgetting table: methods of continual learning on identical data, seed by seed, with uncertainty."""
