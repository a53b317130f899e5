"""The names of a mixer's two files in an adapter folder; `backbone` reads and writes them."""

MIXER_FILE = "mixer.json"
MIXER_TENSORS_FILE = "mixer.safetensors"
