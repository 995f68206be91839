import pytest
import torch
from safetensors.torch import load_file, save_file

from embodied.errors import ConfigError, PathError
from policies.encoders.config import HieraConfig
from policies.encoders.hiera import HieraEncoder, vision_model
from policies.encoders.sizes import COLOURS, SHAPES, HieraShape, HieraSize

TOY = HieraShape(width=16, heads=1, blocks=(1, 1, 2, 1), global_blocks=(3,), background=7)
IN_MILLIONS = {HieraSize.tiny: 27.2, HieraSize.small: 34.3, HieraSize.base_plus: 69.1}


def toy(*, weights: str = "", seed: int = 0) -> HieraEncoder:
    torch.manual_seed(seed)
    return HieraEncoder(TOY, rank=2, weights=weights)


@pytest.fixture(scope="module")
def encoder() -> HieraEncoder:
    return toy()


@pytest.fixture
def published(tmp_path):
    """A file as transformers saves it, of a toy; and the network that it holds."""
    torch.manual_seed(7)
    model = vision_model(TOY)
    path = tmp_path / "toy.safetensors"
    save_file(model.state_dict(), path)
    return path, model


def images(count: int, *, size: int = 64) -> torch.Tensor:
    return torch.rand(count, 10, size, size, generator=torch.Generator().manual_seed(0))


def test_maps_have_the_published_sizes_whatever_the_size_of_the_image(encoder):
    for size in (64, 224):
        maps = encoder(images(1, size=size))
        assert [tuple(one.shape[1:]) for one in maps] == [(32, 64, 64), (64, 32, 32), (256, 16, 16)]
        assert tuple(one.shape[1] for one in maps) == encoder.channels
        assert tuple(one.shape[2] for one in maps) == encoder.sides(size)


def test_a_batch_equals_its_images_one_by_one(encoder):
    batch = images(3)
    with torch.no_grad():
        alone = [encoder(one) for one in batch.split(1)]
        for together, parts in zip(encoder(batch), zip(*alone, strict=True), strict=True):
            torch.testing.assert_close(together, torch.cat(parts), rtol=1e-4, atol=1e-5)


def test_colours_alone_are_seen(encoder):
    batch = images(1)
    with torch.no_grad():
        before = encoder(batch)
        other = torch.rand_like(batch)
        other[:, COLOURS] = batch[:, COLOURS]
        assert all(torch.equal(one, two) for one, two in zip(before, encoder(other), strict=True))
        other[:, COLOURS] *= 0.5
        assert not torch.allclose(before[2], encoder(other)[2])


def test_only_corrections_of_queries_and_values_and_the_narrowing_convolutions_learn(encoder):
    learning = {name: weight for name, weight in encoder.named_parameters() if weight.requires_grad}
    corrected = {name.split(".lora_")[0] for name in learning if "lora" in name}
    blocks = [f"_vision.backbone.blocks.{block}.attn.qkv" for block in range(sum(TOY.blocks))]
    assert corrected == {f"{block}.{part}" for block in blocks for part in ("query", "value")}
    assert {name for name in learning if "lora" not in name} == {
        f"_narrow.{layer}.{kind}" for layer in ("conv_s0", "conv_s1") for kind in ("weight", "bias")
    }
    encoder.zero_grad()
    torch.stack([one.square().mean() for one in encoder(images(1))]).sum().backward()
    learns = {name for name, weight in encoder.named_parameters() if weight.grad is not None}
    assert learns == learning.keys()
    # Corrections start as zero: their second factor alone has a gradient at first.
    assert all(learning[name].grad.abs().sum() > 0 for name in learning if "lora_A" not in name)


def test_where_stages_widen_every_row_of_query_and_value_is_corrected(encoder):
    widening = encoder._vision.backbone.blocks[1].attn.qkv
    assert (widening.query.in_features, widening.query.out_features) == (16, 32)
    assert widening.value.lora_B["default"].weight.shape == (32, 2)


def test_before_it_learns_it_sees_as_the_published_network_does(published):
    path, model = published
    ours, batch = toy(weights=str(path)), images(1, size=256)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    normal = (batch[:, COLOURS] - mean[:, None, None]) / std[:, None, None]
    with torch.no_grad():
        expected = model(pixel_values=normal).fpn_hidden_states
        torch.testing.assert_close(ours(batch)[2], expected[2])
        torch.testing.assert_close(ours(batch)[0], ours._narrow["conv_s0"](expected[0]))


def test_a_file_of_all_of_sam_serves_too_and_brings_the_narrowing_convolutions(published, tmp_path):
    path, _ = published
    whole = {f"vision_encoder.{name}": value for name, value in load_file(path).items()}
    for name, width in (("conv_s0", 32), ("conv_s1", 64)):
        whole[f"mask_decoder.{name}.weight"] = torch.full((width, 256, 1, 1), 0.01)
        whole[f"mask_decoder.{name}.bias"] = torch.zeros(width)
    save_file(whole, tmp_path / "whole.safetensors")
    one, other = toy(weights=str(path)), toy(weights=str(tmp_path / "whole.safetensors"))
    with torch.no_grad():
        assert torch.equal(one(images(1))[2], other(images(1))[2])
    assert (other._narrow["conv_s1"].weight == 0.01).all()


def test_what_it_has_learnt_is_saved_and_loaded(published, tmp_path):
    learnt = toy(weights=str(published[0]))
    with torch.no_grad():
        for weight in learnt.parameters():
            if weight.requires_grad:
                weight.add_(0.05)
        save_file(learnt.state_dict(), tmp_path / "learnt.safetensors")
        fresh = toy(seed=5)
        fresh.load_state_dict(load_file(tmp_path / "learnt.safetensors"))
        assert all(torch.equal(one, two) for one, two in zip(learnt(images(1)), fresh(images(1)), strict=True))


def test_weights_that_are_not_there_are_refused(tmp_path):
    with pytest.raises(PathError, match=r"must exist.*Nothing is downloaded"):
        toy(weights=str(tmp_path / "none.safetensors"))


def test_a_file_that_pickles_is_refused_unread(tmp_path):
    path = tmp_path / "sam.pt"
    torch.save({"weights": torch.ones(3)}, path)
    with pytest.raises(ConfigError, match=r"must be a safetensors file.*sam\.pt.*Convert"):
        toy(weights=str(path))


def test_weights_that_lack_tensors_are_refused_by_name(published):
    path, _ = published
    weights = load_file(path)
    for name in [name for name in weights if "mlp" in name]:
        del weights[name]
    save_file(weights, path)
    with pytest.raises(ConfigError, match=r"It lacks backbone\.blocks\.0\.mlp.*and 15 more\."):
        toy(weights=str(path))


def test_weights_of_another_size_are_refused_by_shape(published):
    path, _ = published
    weights = load_file(path)
    weights["backbone.blocks.0.attn.qkv.weight"] = torch.zeros(48, 8)
    save_file(weights, path)
    with pytest.raises(ConfigError, match=r"other shapes for backbone.*qkv\.weight \(48, 8\), not \(48, 16\)"):
        toy(weights=str(path))


@pytest.mark.parametrize("size", list(HieraSize))
def test_the_published_sizes_have_the_published_numbers_of_parameters(size):
    with torch.device("meta"):  # Counted without memory.
        encoder = HieraEncoder(SHAPES[size])
    frozen = sum(weight.numel() for weight in encoder.parameters() if not weight.requires_grad)
    assert frozen / 1e6 == pytest.approx(IN_MILLIONS[size], abs=0.05)
    if size is HieraSize.base_plus:
        corrections = sum(weight.numel() for name, weight in encoder.named_parameters() if "lora" in name)
        assert corrections == 663_040


def test_base_plus_runs_through_on_shapes_alone():
    with torch.device("meta"):
        maps = HieraConfig().build()(torch.rand(2, 10, 224, 224))
    assert [tuple(one.shape) for one in maps] == [(2, 32, 64, 64), (2, 64, 32, 32), (2, 256, 16, 16)]


def test_a_rank_out_of_range_is_refused():
    with pytest.raises(ConfigError, match="rank >= 1"):
        HieraConfig(rank=0).build()
