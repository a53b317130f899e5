"""What a domain's adapter starts from: nothing, or the adapters of domains learnt before."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from crma_adapters.crma.backbone import load_mixer, save_mixer
from crma_adapters.crma.crma import Crma
from crma_adapters.crma.crma_card import MIXER_FILES, read_crma_card
from crma_training.adapter import has_lora, has_mixer
from crma_training.config import TrainConfig
from crma_training.low_rank import factors
from crma_training.saved_lora import A, B, SavedLora

MOST_QUESTIONS = 200  # of a domain that stand for it

Embed = Callable[[Sequence[str]], np.ndarray]
"""Texts to unit vectors (texts, width)."""


def starting_point(
    config: TrainConfig,
    questions: Sequence[str],
    earlier: Mapping[str, tuple[Path, Sequence[str]]],
    scratch: Path,
    embed: Embed | None = None,
) -> tuple[Path | None, tuple[str, ...]]:
    """The adapter folder to start from, None for a fresh one, and the domains that it is of.

    `earlier`: adapter folder and questions by domain, in the order learnt. "mean" writes its folder below
    `scratch`; "nearest" is the domain whose mean question vector is most like that of `questions`.
    """
    usable = {name: item for name, item in earlier.items() if _same_shape(config, item[0])}
    if config.start == "fresh" or not usable:
        return None, ()
    if config.start == "previous":
        name = list(usable)[-1]
    elif config.start == "nearest":
        name = nearest(
            questions, {key: asked for key, (_, asked) in usable.items()}, embed or default_embed()
        )
    else:
        folders = [folder for folder, _ in usable.values()]
        return mean_adapter(folders, scratch / "mean"), tuple(usable)
    return usable[name][0], (name,)


def nearest(questions: Sequence[str], earlier: Mapping[str, Sequence[str]], embed: Embed) -> str:
    """The domain whose mean vector has the largest cosine with that of `questions`."""
    own = _centre(embed(questions))
    return max(earlier, key=lambda name: float(own @ _centre(embed(earlier[name]))))


def default_embed() -> Embed:
    """The router's default encoder."""
    from crma_router.encoders.sentence_transformers import SentenceTransformerEmbedder  # loads torch modules

    encoder = SentenceTransformerEmbedder()
    return lambda texts: encoder.encode(list(texts)[:MOST_QUESTIONS])


def mean_adapter(folders: Sequence[Path], target: Path) -> Path:
    """The mean of the adapters' updates, brought back to their rank (Eckart-Young), in `target`."""
    if all(map(has_lora, folders)):
        _mean_lora([SavedLora.read(folder) for folder in folders]).write(target)
    if all(map(has_mixer, folders)):
        card = read_crma_card(folders[0], MIXER_FILES)
        mean = mean_mixer([load_mixer(folder) for folder in folders])
        save_mixer(mean, target, base_model=card.base_model, base_fingerprint=card.base_fingerprint)
    return target


def mean_mixer(mixers: Sequence[Crma]) -> Crma:
    """A mixer of the same rank whose maps are nearest to the mean of the mixers' maps.

    M starts where every mixer's starts, so V is what M must read to give the mean: V = M^-1 V'.
    """
    mean = Crma.empty(mixers[0].config)
    mixing = mean.mixing().detach()
    rank = mean.config.rank
    with torch.no_grad():
        for index in range(mean.config.num_layers):
            maps = [mixer.block(index).maps() for mixer in mixers]
            total: Tensor = sum((up @ down for down, up in maps), torch.zeros(())) / len(maps)
            read, write = factors(total, rank)
            block = mean.block(index)
            block.write.copy_(write)
            if block.read is not None:
                block.read.copy_(torch.linalg.solve(mixing[index], read))
    return mean


def _mean_lora(parts: Sequence[SavedLora]) -> SavedLora:
    settings, weights = parts[0].settings, {}
    scaling = parts[0].scaling
    for layer in parts[0].layers:
        mean = torch.stack([part.delta(layer) for part in parts]).mean(0) / scaling
        weights[layer + A], weights[layer + B] = factors(mean, settings["r"])
    return SavedLora(weights, settings)


def _same_shape(config: TrainConfig, folder: Path) -> bool:
    """Whether a saved adapter is of the kind and ranks that the configuration asks for."""
    lora, mixer = config.adapter != "mixer", config.adapter != "lora"
    if (has_lora(folder), has_mixer(folder)) != (lora, mixer):
        return False
    if lora and SavedLora.read(folder).settings["r"] != config.rank:
        return False
    if not mixer:
        return True
    found = read_crma_card(folder, MIXER_FILES).config
    return (found.rank, found.mode, found.form) == (config.mixing_rank, config.mode, 2)


def _centre(vectors: np.ndarray) -> np.ndarray:
    mean = vectors.mean(0)
    centre: np.ndarray = mean / max(float(np.linalg.norm(mean)), 1e-12)
    return centre
