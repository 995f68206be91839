"""Payloads as perception code has them: arrays and scalars of NumPy, and covariances as filters give them."""

import numpy as np
import pytest

from embodied.errors import MemoryBankError
from embodied.geometry import Pose
from embodied.memory import EntitySeen, Event, PlaceDefined, RobotReported, open_bank

PLAIN = EntitySeen("cup", "cup", Pose(), tuple(np.eye(6).ravel().tolist()), (0.5, 0.25, 0.125), ("red", "round"), 0.5)


def appended(payload):
    with open_bank(":memory:") as bank:
        bank.append(Event("panda", 1, 0.0, payload, robot="panda"))
        return bank.changes_since(0)[0].payload


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_arrays_and_scalars_are_kept_as_plain_values(dtype):
    seen = EntitySeen(
        "cup", "cup", Pose(), np.eye(6, dtype=dtype), np.array([0.5, 0.25, 0.125], dtype), np.array(["red", "round"]),
        dtype(0.5),
    )  # fmt: skip
    assert appended(seen) == PLAIN
    assert appended(EntitySeen(np.str_("cup"), "cup", Pose(), labels=(np.str_("red"),))).labels == ("red",)


def test_a_polygon_may_be_an_array_of_corners():
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
    assert appended(PlaceDefined("home", "site", polygon=corners)).polygon == ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0))


def test_numbers_of_other_kinds_are_taken_too():
    assert appended(RobotReported(Pose(), battery=np.float16(0.5))).battery == 0.5


@pytest.mark.parametrize("wrong", [np.zeros((2, 3)), np.array(["a", "b", "c"]), np.array([1j, 2j, 3j])])
def test_arrays_that_do_not_fit_are_refused(wrong):
    with pytest.raises(MemoryBankError, match="entity_seen"):
        appended(EntitySeen("cup", "cup", Pose(), size_m=wrong))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e9])
def test_singular_covariances_are_taken_and_negative_ones_refused(dtype, scale):
    random = np.random.default_rng(0)
    for _ in range(20):
        factor = random.normal(size=(6, 3))
        matrix = (scale * factor @ factor.T).astype(dtype)
        assert appended(EntitySeen("cup", "cup", Pose(), matrix)).covariance
        with pytest.raises(MemoryBankError, match="semi-definite"):
            appended(EntitySeen("cup", "cup", Pose(), matrix - dtype(0.01 * scale) * np.eye(6, dtype=dtype)))
