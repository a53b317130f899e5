"""Whether a plain LoRA is for this base model: its modules are there, and of the shapes it adapts."""

from collections.abc import Mapping
from pathlib import Path

from crma_adapters.errors import IncompatibleError
from crma_adapters.io.tensor_file import read_tensor_infos
from crma_adapters.lora.lora_files import WEIGHTS_FILE

_FLOATS = ("F64", "F32", "F16", "BF16")
Shape = tuple[int, ...]


def read_modules(base: Path) -> dict[str, Shape | None]:
    """The modules with weights of the model in `base`, by name from `layers.` on.

    The shape is (out, in) for linear layers, None where a weight is packed (quantised).
    """
    modules: dict[str, Shape | None] = {}
    for file in sorted(base.glob("*.safetensors")):
        for name, info in read_tensor_infos(file).items():
            module, _, kind = name.rpartition(".")
            if kind == "weight":
                modules[_place(module)] = info.shape if info.dtype in _FLOATS else None
            else:
                modules.setdefault(_place(module), None)
    return modules


def unknown_modules(folder: Path, modules: Mapping[str, Shape | None]) -> list[str]:
    """The modules that the LoRA in `folder` adapts and the base model does not have; they have no effect.

    `modules` as `read_modules` gives them; with none, nothing is known and nothing is said.

    Raises:
        IncompatibleError: the base model has none of them, or has one in another shape.
    """
    path = folder / WEIGHTS_FILE
    sides: dict[str, dict[str, Shape]] = {}
    for name, info in read_tensor_infos(path).items():
        module, _, side = name.rpartition(".lora_")
        sides.setdefault(_place(module), {})[side[0]] = info.shape
    if not modules:
        return []
    unknown = sorted(sides.keys() - modules.keys())
    advice = "serve the adapter on the base model that it was trained on"
    if len(unknown) == len(sides):
        raise IncompatibleError(
            f"{path}: adapts {unknown[0]} and {len(unknown) - 1} more; expected modules of the base model, "
            f"which has none of them (but {next(iter(modules))}, for one); {advice}"
        )
    for module, shapes in sides.items():
        expected = modules.get(module)
        if expected is not None and {"A", "B"} <= shapes.keys():
            given = (shapes["B"][0], shapes["A"][1])
            if given != expected:
                raise IncompatibleError(
                    f"{path}: {module} is for a layer of (out, in) {given}; expected {expected}, the base "
                    f"model's; {advice}"
                )
    return unknown


def _place(module: str) -> str:
    """A module's name without what stands before its layers, where PEFT and the model differ."""
    at = module.find("layers.")
    return module[at:] if at >= 0 else module.rpartition(".")[2]
