import pytest
import torch

from embodied.errors import ConfigError
from policies.encoders.config import ConvolutionalConfig
from policies.encoders.convolutional import IMAGES_AT_A_TIME
from policies.encoders.sizes import CHANNELS, COLOURS


def images(count: int, *, channels: int = len(CHANNELS), size: int = 32) -> torch.Tensor:
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(0))


def test_maps_run_from_fine_to_coarse_with_the_promised_channels_and_sides():
    encoder = ConvolutionalConfig(widths=(16, 24, 32)).build()
    maps = encoder(images(2))
    assert encoder.strides == (2, 4, 8)
    assert tuple(one.shape[1] for one in maps) == encoder.channels == (16, 24, 32)
    assert tuple(one.shape[2] for one in maps) == encoder.sides(32) == (16, 8, 4)


def test_a_batch_equals_its_images_one_by_one():
    torch.manual_seed(0)
    encoder = ConvolutionalConfig().build()
    batch = images(7)
    alone = [encoder(one) for one in batch.split(1)]
    for together, parts in zip(encoder(batch), zip(*alone, strict=True), strict=True):
        torch.testing.assert_close(together, torch.cat(parts), rtol=1e-4, atol=1e-5)


def test_many_images_are_encoded_as_a_few_of_them_are():
    torch.manual_seed(0)
    encoder = ConvolutionalConfig(widths=(8, 16)).build()
    batch = images(IMAGES_AT_A_TIME + 5, size=16)
    maps = encoder(batch)
    for few in (slice(0, 3), slice(IMAGES_AT_A_TIME - 2, IMAGES_AT_A_TIME + 5)):
        for whole, part in zip(maps, encoder(batch[few]), strict=True):
            torch.testing.assert_close(whole[few], part, rtol=1e-4, atol=1e-5)


def test_colours_lie_where_they_are_named():
    assert CHANNELS[COLOURS] == ("red", "green", "blue")


def test_what_else_is_in_the_batch_changes_nothing():
    torch.manual_seed(0)
    encoder = ConvolutionalConfig().build()
    batch = images(3)
    before = encoder(batch)
    batch[1:] = 9.0
    for one, other in zip(before, encoder(batch), strict=True):
        assert torch.equal(one[0], other[0])


def test_every_weight_learns_and_an_eleventh_channel_is_seen():
    encoder = ConvolutionalConfig(inputs=11, blocks=2).build()
    batch = images(2, channels=11)
    maps = encoder(batch)
    torch.stack([one.square().mean() for one in maps]).sum().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in encoder.parameters())
    batch[:, 10] += 1.0
    assert not torch.allclose(maps[0], encoder(batch)[0])


@pytest.mark.parametrize("wrong", [{"widths": (30,)}, {"widths": ()}, {"widths": (0,)}, {"inputs": 0}, {"blocks": -1}])
def test_sizes_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigError, match="encoder"):
        ConvolutionalConfig(**wrong).build()
