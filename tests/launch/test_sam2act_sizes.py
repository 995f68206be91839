"""The sizes of SAM2Act that `sim_configs/policy` offers: what was published, and what two cores can train."""

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from launch import train
from launch.cli import CONFIGS
from policies.encoders.clip import PUBLISHED_END
from policies.sam2act import Sam2ActConfig
from policies.sam2act.network import Sam2Act
from tests.policies.sam2act.small import batch_of, observation

GROUPS = f"hydra.searchpath=['{(CONFIGS / 'training').as_uri()}']"


def composed(policy: str) -> Sam2ActConfig:
    train.register()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        settings = compose("train", overrides=[f"policy={policy}", "data=DIR", "output=DIR", GROUPS])
    return OmegaConf.to_object(settings).policy  # type: ignore[union-attr]


def million_parameters(policy: str) -> dict[str, float]:
    with torch.device("meta"):  # Counted, not allocated.
        network = Sam2Act(composed(policy))
    return {name: sum(one.numel() for one in part.parameters()) / 1e6 for name, part in network.named_children()}


def test_the_full_size_is_that_which_was_published():
    size = million_parameters("sam2act_full")
    assert size["coarse"] == pytest.approx(35.8, rel=0.02)
    assert size["fine"] + size["hand"] == pytest.approx(36.7, rel=0.02)
    assert size["memory"] + size["moment"] == pytest.approx(3.07, rel=0.02)
    assert size["encoder"] == pytest.approx(69.1 + 0.64, rel=0.02)  # SAM 2.1's Hiera-B+ with its FPN, and LoRA.


def test_the_small_size_is_small():
    assert sum(million_parameters("sam2act_small").values()) < 3.0


@pytest.mark.proof
def test_the_full_size_takes_a_training_step_on_random_data():
    """It takes a minute of both cores and 9 GB, of which a worker that goes on with other tests keeps the most."""
    torch.manual_seed(0)
    learner = composed("sam2act_full").build()
    cameras = learner.cameras
    words = torch.randint(1, PUBLISHED_END, (1, 77))  # Without a local folder CLIP has no vocabulary.
    words[:, 9] = PUBLISHED_END
    batch = batch_of([[observation(step, cameras=cameras) for step in range(2)]], words, cameras=cameras)
    optimiser = torch.optim.AdamW([one for one in learner.parameters() if one.requires_grad], lr=1e-4)
    before = {name: one.detach().clone() for name, one in learner.named_parameters() if one.requires_grad}
    loss, _ = learner(batch)
    loss.backward()
    optimiser.step()
    assert torch.isfinite(loss)
    after = dict(learner.named_parameters())
    still = [name for name, one in before.items() if torch.equal(after[name], one)]
    assert not still
    assert all(torch.isfinite(one).all() for one in after.values())
