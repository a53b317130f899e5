"""The start vectors are those of the singular value decomposition, the same every time."""

import torch

from crma_adapters.crma.singular import left_singular_vectors


def test_are_the_leading_left_singular_vectors() -> None:
    weight = torch.randn(20, 33, generator=torch.Generator().manual_seed(0))
    expected = torch.linalg.svd(weight.double()).U[:, :3]
    found = left_singular_vectors(weight, 3)
    assert found.dtype == torch.float32
    torch.testing.assert_close((found.double() * expected).sum(0).abs(), torch.ones(3).double())


def test_signs_are_settled() -> None:
    weight = torch.randn(20, 33, generator=torch.Generator().manual_seed(1))
    found = left_singular_vectors(weight, 4)
    assert torch.equal(left_singular_vectors(-weight, 4), found)
    assert (found.gather(0, found.abs().argmax(0, keepdim=True)) > 0).all()


def test_a_wide_or_low_rank_weight_still_gives_orthonormal_columns() -> None:
    for weight in (torch.ones(6, 40), torch.zeros(6, 40), torch.randn(6, 2).to(torch.bfloat16)):
        found = left_singular_vectors(weight, 6)
        torch.testing.assert_close(found.mT @ found, torch.eye(6), atol=1e-5, rtol=0)
