"""What is written holds what was seen, and where the waypoint was."""

import pytest
import torch

from embodied.errors import ConfigError
from policies.memory import MomentEncoderConfig, TokenGrid
from policies.memory.codes import sine_grid

GRID = TokenGrid(views=2, rows=4, cols=4, dim=16, slot_dim=8)


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return MomentEncoderConfig(halvings=3).build(GRID)


def peak(row: float, col: float, *, size: int = 32) -> torch.Tensor:
    """A heat map (1, 2, size, size) with its peak, 1, in the first view, as wide as a sixteenth of the map."""
    where = torch.arange(float(size))
    one = torch.exp(-((where - row)[:, None] ** 2 + (where - col) ** 2) / (size**2 / 128))
    return torch.stack((one, torch.zeros(size, size)))[None]


def seen() -> torch.Tensor:
    return torch.randn(1, 2, 4, 4, 16, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("grid", "halvings", "size"), [(16, 4, 224), (8, 3, 64)])
def test_maps_of_the_published_and_the_small_size_fit_the_grid(grid, halvings, size):
    tokens = TokenGrid(views=1, rows=grid, cols=grid, dim=16, slot_dim=8)
    encoder = MomentEncoderConfig(halvings=halvings).build(tokens)
    written = encoder(torch.randn(2, 1, grid, grid, 16), torch.rand(2, 1, size, size))
    assert written.shape == (2, grid * grid, 8)


def test_the_waypoint_shows_most_in_its_own_cell_and_not_in_other_views(encoder):
    here, there = (encoder(seen(), peak(row, 28))[0] for row in (4, 20))
    changed = (here - there).norm(dim=-1)
    assert int(changed.argmax()) in {3, 11}
    assert not changed[16:].any()


def test_a_map_of_another_resolution_says_the_same(encoder):
    fine, coarse, elsewhere = (encoder(seen(), heat) for heat in (peak(46.5, 10.5, size=64), peak(23, 5), peak(5, 23)))
    assert (fine - coarse).norm() < 0.3 * (elsewhere - coarse).norm()


def test_rows_are_rows_and_views_are_views(encoder):
    """What is seen at one cell of one view is written to that cell's token, above all."""
    one, other = seen(), seen()
    other[0, 1, 2, 3] += 5.0
    changed = (encoder(one, peak(4, 4)) - encoder(other, peak(4, 4)))[0].norm(dim=-1)
    assert int(changed.argmax()) == 16 + 2 * 4 + 3
    assert not changed[:16].any()


def test_moments_in_a_batch_are_encoded_one_by_one(encoder):
    embedding = torch.randn(3, 2, 4, 4, 16)
    heat = torch.rand(3, 2, 32, 32)
    alone = torch.cat([encoder(embedding[row : row + 1], heat[row : row + 1]) for row in range(3)])
    torch.testing.assert_close(encoder(embedding, heat), alone, rtol=0, atol=1e-5)


def test_every_token_holds_its_place_whatever_was_seen(encoder):
    torch.nn.init.zeros_(encoder.out.weight)
    torch.nn.init.zeros_(encoder.out.bias)
    assert torch.equal(encoder(seen(), peak(4, 4))[0], sine_grid(4, 4, 8).repeat(2, 1))


def test_every_part_of_the_encoder_is_trained(encoder):
    encoder(seen(), peak(4, 4)).square().sum().backward()
    assert [name for name, part in encoder.named_parameters() if part.grad is None or not part.grad.any()] == []


@pytest.mark.parametrize("shape", [(1, 2, 4, 4, 8), (1, 1, 4, 4, 16), (1, 2, 4, 5, 16), (1, 32, 16)])
def test_embeddings_of_another_shape_are_refused(encoder, shape):
    with pytest.raises(ConfigError, match="A moment must be an embedding"):
        encoder(torch.zeros(shape), peak(4, 4))


def test_one_heat_map_per_view_is_needed(encoder):
    with pytest.raises(ConfigError, match="one heat map per view"):
        encoder(seen(), peak(4, 4)[:, :1])


def test_settings_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="halvings"):
        MomentEncoderConfig(halvings=0).build(GRID)
