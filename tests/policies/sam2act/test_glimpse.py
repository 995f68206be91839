"""What the hand reads around the waypoint, pixel by pixel."""

import pytest
import torch

from embodied.errors import ConfigError
from policies.policy import config_from_json
from policies.sam2act.glimpse import Glimpse, windows
from policies.sam2act.learner import Sam2ActLearner
from policies.sam2act.network import Look
from policies.sam2act.sizes import GlimpseConfig
from policies.sam2act.views import VIEWS, pixels
from tests.policies.sam2act.small import small_config, small_network

SIZE, CHANNELS = 32, 3


@pytest.fixture
def visualisations() -> torch.Tensor:
    return torch.rand(2, len(VIEWS), CHANNELS, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


def at(row: float, column: float) -> torch.Tensor:
    return torch.tensor([row, column]).expand(2, len(VIEWS), 2)


def test_a_window_is_the_pixels_whose_middle_is_the_point(visualisations):
    seen = windows(visualisations, at(12.0, 20.0), 8)
    torch.testing.assert_close(seen, visualisations[..., 8:16, 16:24])


def test_every_view_of_every_frame_has_a_window_of_its_own(visualisations):
    places = torch.stack([at(8.0 + k, 16.0 - k)[0] for k in range(2)])
    places[1, 2] = torch.tensor([20.0, 9.0])
    seen = windows(visualisations, places, 8)
    torch.testing.assert_close(seen[0], visualisations[0, ..., 4:12, 12:20])
    torch.testing.assert_close(seen[1, 2], visualisations[1, 2, :, 16:24, 5:13])


def test_between_pixels_a_window_is_their_mean_and_outside_of_the_picture_it_is_zero(visualisations):
    between = windows(visualisations, at(12.5, 20.0), 8)
    torch.testing.assert_close(between, (visualisations[..., 8:16, 16:24] + visualisations[..., 9:17, 16:24]) / 2)
    edge = windows(visualisations, at(0.0, 32.0), 8)
    torch.testing.assert_close(edge[..., 4:, :4], visualisations[..., :4, 28:])
    assert (edge[..., :4, :] == 0).all()
    assert (edge[..., 4:] == 0).all()


def test_what_is_read_does_not_depend_on_where_in_the_picture_it_lies(visualisations):
    torch.manual_seed(0)
    glimpse = Glimpse(GlimpseConfig(window=8, widths=[8, 8], dim=6), channels=CHANNELS)
    moved = visualisations.roll((5, -7), (-2, -1))
    torch.testing.assert_close(glimpse(moved, at(19.0, 11.0)), glimpse(visualisations, at(14.0, 18.0)))


@pytest.mark.parametrize("view", range(len(VIEWS)))
def test_the_hand_sees_just_the_window_around_the_waypoint(view):
    network = small_network()
    look = _look(network)
    point = torch.tensor([0.125, -0.125, 0.0625]).expand(2, 3)
    seen = network.features(look, point)
    first = (pixels(point, SIZE)[0, view] - network.config.glimpse.window / 2).int().tolist()
    row, column = first
    inside, outside = (look._replace(visualisations=look.visualisations.clone()) for _ in range(2))
    inside.visualisations[:, view, :, row, column] += 9.0  # The tokens stay: what differs comes from pixels.
    outside.visualisations[:, view, :, row - 1, :] += 9.0
    outside.visualisations[:, view, :, :, column - 1] += 9.0
    assert not torch.equal(network.features(inside, point), seen)
    assert torch.equal(network.features(outside, point), seen)


def _look(network):
    config = network.config
    wide = torch.rand(2, len(VIEWS), config.channels, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    tokens = torch.rand(2, len(VIEWS), config.branch.grid**2, config.branch.dim)
    return Look(wide, (), tokens)


@pytest.mark.parametrize(
    "wrong", [{"window": 12}, {"window": 40}, {"window": -8}, {"widths": [24, 0, 64]}, {"dim": 0}, {"widths": []}]
)
def test_sizes_that_do_not_fit_are_refused(wrong):
    with pytest.raises(ConfigError, match="glimpse"):
        GlimpseConfig(**{"window": 24, **wrong}).check(SIZE)


def test_no_glimpse_needs_no_sizes():
    GlimpseConfig(window=0, widths=[]).check(SIZE)


def test_without_a_glimpse_as_published_the_hand_is_a_part_like_any_other():
    config = small_config()
    config.glimpse = GlimpseConfig()
    learner = Sam2ActLearner(config)
    assert learner.network.glimpse is None
    assert {id(value) for value in learner.parameter_groups()["hand"]} == set(
        map(id, learner.network.hand.parameters())
    )
    assert config_from_json("sam2act", {}).glimpse.window == 0  # Weights older than glimpses say nothing of them.
