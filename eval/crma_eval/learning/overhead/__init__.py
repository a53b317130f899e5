"""What CRMA costs in training: speed and memory against a plain PEFT LoRA, both in one run."""
