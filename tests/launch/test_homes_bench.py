"""The benchmark of homes measures and writes its pictures."""

from types import SimpleNamespace

import pytest
from PIL import Image

from embodied.errors import ConfigError
from embodied.simulators.bullet import BulletConfig
from launch.benchmarks.homes import HomesBenchConfig, measure


def test_it_measures_homes_and_writes_contact_sheets(tmp_path):
    run = SimpleNamespace(seed=5, folder=tmp_path / "homes", simulator=BulletConfig())
    result = measure(run, HomesBenchConfig(homes=2, frames=3, rested=1))
    assert result["seeds"] == [5, 6]
    assert 0.0 < result["frame_ms"]["min"] <= result["frame_ms"]["max"]
    assert 200 < result["parts"]["min"] <= result["parts"]["max"] < 1000
    assert 0.0 < result["moved_m"][0] < 0.005
    with Image.open(run.folder / "homes.png") as sheet:
        assert len(sheet.convert("RGB").crop((0, 16, 288, 304)).getcolors(maxcolors=300)) > 20
    assert (run.folder / "objects.png").stat().st_size > 10_000


def test_counts_out_of_range_are_refused():
    with pytest.raises(ConfigError, match=r"homes\.homes"):
        HomesBenchConfig(homes=0).check()
