"""Commands that are composed in one process, as tests do, do not disturb each other."""

import pytest
from hydra.core.config_store import ConfigStore
from hydra.errors import ConfigCompositionException

from launch import train
from tests.config_store import restored_config_store
from tests.golden.evaluations import composed

SETTINGS = ("policy=[expert]", "episodes=1")


def test_an_evaluation_is_composed_after_a_training_in_one_process():
    with restored_config_store():
        train.register()
        assert "policy" in ConfigStore.instance().repo
        with pytest.raises(ConfigCompositionException, match="Could not override 'policy'"):
            composed(*SETTINGS)
    assert "policy" not in ConfigStore.instance().repo
    assert list(composed(*SETTINGS).worker.policies) == ["expert"]
