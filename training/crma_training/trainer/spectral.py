"""What CRMA's blocks do at a step: how exact their mixing matrices are, how much they change."""

from dataclasses import dataclass

from crma_adapters.crma.attach import Attachment


@dataclass(frozen=True)
class SpectralReading:
    """One step's values over all blocks.

    Attributes:
        mixing_norm_error, row_error, column_error: worst of abs(||M||_2 - 1) and abs(sum - 1).
        alpha_min, alpha_mean, alpha_max: the gates.
        relative_change: mean of ||h' - h|| / ||h|| over tokens and blocks.
    """

    mixing_norm_error: float
    row_error: float
    column_error: float
    alpha_min: float
    alpha_mean: float
    alpha_max: float
    relative_change: float


def read_spectral(attachment: Attachment) -> SpectralReading:
    """The attached CRMA as it is now; `relative_change` is of the last forward pass that recorded its
    updates.
    """
    log = attachment.crma.spectral()
    return SpectralReading(
        mixing_norm_error=log.max_norm_error,
        row_error=log.max_row_error,
        column_error=log.max_column_error,
        alpha_min=min(log.alphas),
        alpha_mean=sum(log.alphas) / len(log.alphas),
        alpha_max=max(log.alphas),
        relative_change=attachment.update_ratio or 0.0,
    )
