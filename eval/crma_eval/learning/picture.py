"""Small PNG files of one width, readable where a README shows them (about 800 px wide)."""

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

WIDTH_INCHES, DPI = 8.0, 130


def picture(height_inches: float) -> Figure:
    """An empty figure of the usual width; what is put into it is laid out without overlaps."""
    return Figure(figsize=(WIDTH_INCHES, height_inches), dpi=DPI, layout="constrained")


def save(figure: Figure, path: Path) -> None:
    """Write the PNG with a palette of 256 colours: a third of the bytes.

    Maximum coverage keeps the rare colours of thin lines and dots, which the default (median cut) mixes up.
    """
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    few = pixels.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(path, format="PNG", optimize=True)
