"""The region-of-interest crop that the action head reads around the waypoint."""

import pytest
import torch

from embodied.errors import ConfigError
from policies.policy import config_from_json
from policies.sam2act import RegionCropConfig
from policies.sam2act.branch import BranchFeatures
from policies.sam2act.geometry import VIEWS, pixels
from policies.sam2act.learner import Sam2ActLearner
from policies.sam2act.network import RegionCrop, crops
from tests.policies.sam2act.small import small_config, small_network

SIZE, CHANNELS = 32, 3


@pytest.fixture
def visualisations() -> torch.Tensor:
    return torch.rand(2, len(VIEWS), CHANNELS, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


def at(row: float, column: float) -> torch.Tensor:
    return torch.tensor([row, column]).expand(2, len(VIEWS), 2)


def test_a_crop_is_the_pixels_whose_middle_is_the_point(visualisations):
    seen = crops(visualisations, at(12.0, 20.0), 8)
    torch.testing.assert_close(seen, visualisations[..., 8:16, 16:24])


def test_every_view_of_every_frame_has_a_crop_of_its_own(visualisations):
    places = torch.stack([at(8.0 + k, 16.0 - k)[0] for k in range(2)])
    places[1, 2] = torch.tensor([20.0, 9.0])
    seen = crops(visualisations, places, 8)
    torch.testing.assert_close(seen[0], visualisations[0, ..., 4:12, 12:20])
    torch.testing.assert_close(seen[1, 2], visualisations[1, 2, :, 16:24, 5:13])


def test_between_pixels_a_crop_is_their_mean_and_outside_of_the_view_it_is_zero(visualisations):
    between = crops(visualisations, at(12.5, 20.0), 8)
    torch.testing.assert_close(between, (visualisations[..., 8:16, 16:24] + visualisations[..., 9:17, 16:24]) / 2)
    edge = crops(visualisations, at(0.0, 32.0), 8)
    torch.testing.assert_close(edge[..., 4:, :4], visualisations[..., :4, 28:])
    assert (edge[..., :4, :] == 0).all()
    assert (edge[..., 4:] == 0).all()


def test_what_is_read_does_not_depend_on_where_in_the_view_it_lies(visualisations):
    torch.manual_seed(0)
    crop = RegionCrop(RegionCropConfig(window=8, widths=[8, 8], dim=6), channels=CHANNELS)
    moved = visualisations.roll((5, -7), (-2, -1))
    torch.testing.assert_close(crop(moved, at(19.0, 11.0)), crop(visualisations, at(14.0, 18.0)))


@pytest.mark.parametrize("view", range(len(VIEWS)))
def test_the_action_head_reads_just_the_crop_around_the_waypoint(view):
    network = small_network()
    features = _features(network)
    point = torch.tensor([0.125, -0.125, 0.0625]).expand(2, 3)
    seen = network.action_features(features, point)
    first = (pixels(point, SIZE)[0, view] - network.config.glimpse.window / 2).int().tolist()
    row, column = first
    inside, outside = (features._replace(visualisations=features.visualisations.clone()) for _ in range(2))
    inside.visualisations[:, view, :, row, column] += 9.0  # The tokens stay: what differs comes from pixels.
    outside.visualisations[:, view, :, row - 1, :] += 9.0
    outside.visualisations[:, view, :, :, column - 1] += 9.0
    assert not torch.equal(network.action_features(inside, point), seen)
    assert torch.equal(network.action_features(outside, point), seen)


def _features(network):
    config = network.config
    wide = torch.rand(2, len(VIEWS), config.channels, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    tokens = torch.rand(2, len(VIEWS), config.branch.grid**2, config.branch.dim)
    return BranchFeatures(wide, (), tokens)


@pytest.mark.parametrize(
    "wrong", [{"window": 12}, {"window": 40}, {"window": -8}, {"widths": [24, 0, 64]}, {"dim": 0}, {"widths": []}]
)
def test_sizes_that_do_not_fit_are_refused(wrong):
    with pytest.raises(ConfigError, match="region-of-interest crop"):
        RegionCropConfig(**{"window": 24, **wrong}).check(SIZE)


def test_no_region_crop_needs_no_sizes():
    RegionCropConfig(window=0, widths=[]).check(SIZE)


def test_without_a_region_crop_as_published_the_action_head_is_a_part_like_any_other():
    config = small_config()
    config.glimpse = RegionCropConfig()
    learner = Sam2ActLearner(config)
    assert learner.network.glimpse is None
    assert {id(value) for value in learner.parameter_groups()["hand"]} == set(
        map(id, learner.network.hand.parameters())
    )
    assert config_from_json("sam2act", {}).glimpse.window == 0  # Weights older than the crop have no settings of it.
