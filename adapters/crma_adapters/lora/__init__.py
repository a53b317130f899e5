"""LoRA folders: which are plain, and the bundle the engine loads."""
