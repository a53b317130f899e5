"""What a run shows of itself: holdout curves, TensorBoard event files, one HTML report."""
