import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from policies.heads.heatmap import gaussian, heatmap_loss, soft_cross_entropy

PLACES = st.floats(0, 32)


def test_the_target_is_a_gaussian_cut_at_three_sigma():
    heat = gaussian(torch.tensor([16.5, 10.5]), 32)
    assert heat[16, 10] == heat.max()
    torch.testing.assert_close(heat[16, 12] / heat[16, 10], torch.exp(torch.tensor(-4 / (2 * 1.5**2))))
    assert heat[16, 14] > 0
    assert heat[16, 15] == 0


@given(row=PLACES, column=PLACES)
def test_the_target_sums_to_one_and_its_mean_is_the_point_where_it_fits_the_image(row, column):
    heat = gaussian(torch.tensor([row, column], dtype=torch.float64), 32)
    assert heat.sum() == pytest.approx(1.0)
    if min(row, column) > 6 and max(row, column) < 26:
        centres = torch.arange(32, dtype=torch.float64) + 0.5
        assert (heat.sum(1) @ centres).item() == pytest.approx(row, abs=0.06)
        assert (heat.sum(0) @ centres).item() == pytest.approx(column, abs=0.06)


def test_a_point_out_of_reach_of_all_pixels_teaches_nothing():
    logits = torch.randn(2, 16, 16, requires_grad=True)
    points = torch.tensor([[8.0, 8.0], [40.0, 8.0]])
    loss = heatmap_loss(logits, points)
    loss.sum().backward()
    assert loss[0] > 0
    assert loss[1] == 0
    assert logits.grad is not None
    assert logits.grad[0].abs().sum() > 0
    assert logits.grad[1].abs().sum() == 0


@given(seed=st.integers(0, 999), scale=st.floats(0.01, 3))
def test_the_loss_is_least_at_the_target(seed, scale):
    generator = torch.Generator().manual_seed(seed)
    target = gaussian(16 * torch.rand(2, generator=generator, dtype=torch.float64), 16)
    right = target.clamp_min(1e-30).log()
    wrong = right + scale * torch.randn(16, 16, generator=generator, dtype=torch.float64)
    least = soft_cross_entropy(right, target)
    assert least < soft_cross_entropy(wrong, target)
    entropy = -(target * target.clamp_min(1e-30).log()).sum()
    assert least.item() == pytest.approx(entropy.item(), abs=1e-5)


def test_each_point_of_a_batch_has_its_own_loss():
    torch.manual_seed(0)
    logits, points = torch.randn(2, 3, 16, 16), 16 * torch.rand(2, 3, 2)
    loss = heatmap_loss(logits, points)
    assert loss.shape == (2, 3)
    torch.testing.assert_close(loss[1, 2], heatmap_loss(logits[1, 2], points[1, 2]))
