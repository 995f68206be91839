"""A learned policy through the command line of evaluations, under all controls of its memory."""

import json

import torch

from launch.parts import POLICIES
from policies.policy import save_pretrained
from policies.sam2act import MemoryChoice, MemoryKind, Sam2ActConfig
from tests.launch.test_cli import enter
from tests.policies.sam2act.small import small_config

CONTROLS = ("normal", "off", "wiped", "swapped", "oracle")


def test_a_learned_policy_is_played_under_every_control(tmp_path):
    torch.manual_seed(0)
    config = small_config()
    config.cameras, config.language.words = Sam2ActConfig().cameras, 32
    learner = config.build()
    folder, output = tmp_path / "weights", tmp_path / "out"
    story = {"curves": [{"step": 10, "loss": 2.0}, {"step": 20, "loss": 1.0}]}
    save_pretrained(folder, learner, family="sam2act", tensors=learner.state_dict(), training=story)
    done = enter(
        tmp_path,
        "compute=inline", "suite.tasks=[put_block_back]", "policy=[sam2act_plus]", "episodes=1", "videos=0",
        f"policy_options.sam2act_plus.weights={folder}", f"controls=[{','.join(CONTROLS)}]", f"output={output}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (output / "episodes.jsonl").read_text().splitlines()]
    assert {row.get("control", "normal") for row in rows} == set(CONTROLS)
    results = json.loads((output / "results.json").read_text())
    assert results["run"]["privileged"] == []
    assert "sam2act_plus" in (output / "report.md").read_text()


def test_every_learned_policy_has_a_name_of_its_own():
    learned = [config.weights for config in POLICIES.own.values() if hasattr(config, "weights")]
    assert len(set(learned)) == len(learned) == 2
    assert MemoryChoice().kind is MemoryKind.off
