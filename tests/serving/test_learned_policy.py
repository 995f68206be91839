"""A network behind the server decides as it does in its own process, in batches and after a restart."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from embodied.codec import decision_from_plain, request_to_plain
from embodied.memory import open_bank
from embodied.serving import SessionMoments
from tests.policies.sam2act.small import request, small_policy
from tests.serving.clients import asked, client, served

SEEDS = {"a": range(5), "b": range(20, 25), "c": range(40, 45)}


def in_process(seeds) -> list[np.ndarray]:
    policy, carry, places = small_policy(), None, []
    for step, seed in enumerate(seeds):
        (decision,) = policy.act([request(seed, step=step, carry=carry)])
        carry = decision.carry
        places.append(action(decision))
    return places


def action(decision) -> np.ndarray:
    (intent,) = decision.intents
    return np.array([*intent.position_m, *intent.orientation, intent.gripper_open, intent.avoid_collisions])


def through(connection, session: str, seeds, *, first: int = 0) -> list[np.ndarray]:
    found = []
    for step, seed in enumerate(seeds, first):
        message = {"request": request_to_plain(request(seed, step=step)), "session_id": session}
        found.append(action(decision_from_plain(asked(connection, message)["decision"])))
    return found


def test_sessions_that_share_batches_get_the_decisions_of_the_process_within_rounding():
    def play(name: str) -> list[np.ndarray]:
        with client(server) as connection:
            return through(connection, name, SEEDS[name])

    with served(small_policy(), window_s=0.05) as server, ThreadPoolExecutor(3) as pool:
        found = dict(zip(SEEDS, pool.map(play, SEEDS), strict=True))
    for name, seeds in SEEDS.items():
        np.testing.assert_allclose(found[name], in_process(seeds), atol=1e-5)


def test_a_session_goes_on_after_a_restart_with_the_memory_that_its_bank_holds(tmp_path):
    url, seeds = f"sqlite:///{tmp_path}/bank.db", SEEDS["a"]
    found = []
    for part, first in ((seeds[:3], 0), (seeds[3:], 3)):
        with (
            open_bank(url) as bank,
            served(small_policy(), moments=SessionMoments(bank)) as server,
            client(server) as connection,
        ):
            found += through(connection, "a", part, first=first)
    np.testing.assert_allclose(found, in_process(seeds), atol=1e-5)
    forgotten = [action(small_policy().act([replace(request(seeds[3], step=3))])[0])]
    assert not np.allclose(found[3:4], forgotten, atol=1e-5)
