import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from policies.heads.upsampling import CACHED_NUMBERS, ConvexUpsampling, convex_upsampling

SIZES = st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4))


def drawn(images: int, channels: int, ratio: int, height: int, width: int, *, seed: int = 0) -> tuple:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(images, channels, height, width, generator=generator, dtype=torch.float64)
    logits = 3 * torch.randn(images, 9 * ratio**2, height, width, generator=generator, dtype=torch.float64)
    return values, logits


def pixel_by_pixel(values: torch.Tensor, logits: torch.Tensor, ratio: int) -> torch.Tensor:
    """The definition, one fine pixel after the other."""
    images, channels, height, width = values.shape
    finer = torch.empty(images, channels, ratio * height, ratio * width, dtype=values.dtype)
    for image in range(images):
        for row in range(ratio * height):
            for column in range(ratio * width):
                y, x = row // ratio, column // ratio
                within = (row % ratio) * ratio + column % ratio
                weights = logits[image, within :: ratio**2, y, x].softmax(0)
                around = [
                    values[image, :, min(max(y + dy, 0), height - 1), min(max(x + dx, 0), width - 1)]
                    for dy in (-1, 0, 1)
                    for dx in (-1, 0, 1)
                ]
                finer[image, :, row, column] = torch.stack(around, -1) @ weights
    return finer


@settings(max_examples=20)  # Pixel by pixel in Python.
@given(sizes=SIZES, seed=st.integers(0, 99))
def test_each_fine_pixel_is_the_weighted_mean_of_the_nine_coarse_ones_around_it(sizes, seed):
    values, logits = drawn(*sizes, seed=seed)
    torch.testing.assert_close(convex_upsampling(values, logits, sizes[2]), pixel_by_pixel(values, logits, sizes[2]))


@given(sizes=SIZES, constant=st.floats(-9, 9), seed=st.integers(0, 99))
def test_a_constant_map_stays_constant_to_its_borders(sizes, constant, seed):
    values, logits = drawn(*sizes, seed=seed)
    finer = convex_upsampling(torch.full_like(values, constant), logits, sizes[2])
    torch.testing.assert_close(finer, torch.full_like(finer, constant))


@given(sizes=SIZES, seed=st.integers(0, 99))
def test_fine_pixels_stay_within_the_coarse_ones_around_them(sizes, seed):
    values, logits = drawn(*sizes, seed=seed)
    ratio = sizes[2]
    padded = functional.pad(values, (1, 1, 1, 1), mode="replicate")
    highest = functional.interpolate(functional.max_pool2d(padded, 3, 1), scale_factor=ratio)
    lowest = functional.interpolate(-functional.max_pool2d(-padded, 3, 1), scale_factor=ratio)
    finer = convex_upsampling(values, logits, ratio)
    assert (finer <= highest + 1e-9).all()
    assert (finer >= lowest - 1e-9).all()


def test_gradients_reach_values_and_weights_as_finite_differences_say():
    values, logits = drawn(2, 2, 2, 2, 3)
    assert torch.autograd.gradcheck(
        lambda v, w: convex_upsampling(v, w, 2), (values.requires_grad_(), logits.requires_grad_())
    )


def test_the_layer_makes_maps_finer_and_a_batch_equals_its_images_one_by_one():
    torch.manual_seed(0)
    layer = ConvexUpsampling(6, 3, 4)
    features = torch.randn(5, 6, 4, 7)
    finer = layer(features)
    assert finer.shape == (5, 3, 16, 28)
    torch.testing.assert_close(finer, torch.cat([layer(one) for one in features.split(1)]))


def test_many_images_are_upsampled_as_each_alone_and_so_are_their_gradients():
    values, logits = drawn(70, 4, 2, 16, 16)
    assert values.numel() * 4 > 2 * CACHED_NUMBERS  # Taken in several parts.

    def learnt(images: slice):
        parts = [one[images].clone().requires_grad_() for one in (values, logits)]
        finer = convex_upsampling(*parts, 2)
        finer.square().sum().backward()
        return [finer.detach(), *(part.grad for part in parts)]

    whole = learnt(slice(None))
    for image in (0, 31, 32, 69):
        alone = learnt(slice(image, image + 1))
        for one, other in zip(alone, whole, strict=True):
            torch.testing.assert_close(one, other[image : image + 1])


def test_no_images_give_none():
    assert convex_upsampling(torch.zeros(0, 2, 3, 3), torch.zeros(0, 36, 3, 3), 2).shape == (0, 2, 6, 6)
