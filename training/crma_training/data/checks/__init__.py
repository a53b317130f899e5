"""What can be wrong with a dataset, found before it is trained on: one module per kind of check."""
