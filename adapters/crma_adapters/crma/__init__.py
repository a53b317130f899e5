"""CRMA itself: form, mixing matrix, how a model runs through it, its file, its fold into a LoRA."""
