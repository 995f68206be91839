"""What a remote policy sends and how it reads answers, in openpi's protocol, its dialects and our own."""

from dataclasses import replace

import numpy as np
import pytest

from embodied.errors import ConfigError, PathError, UnknownNameError
from embodied.robots.catalogue import robot_model
from embodied.robots.model_file import _loaded
from embodied.scenes.scene import Scene
from embodied.types import (
    ActionChunk,
    Choice,
    ControllerStatus,
    Episode,
    IntentFeedback,
    Limits,
    MemoryContext,
    Moment,
    MoveTo,
    Progress,
    Truth,
    WorldState,
)
from policies.remote.config import RemotePolicyConfig
from policies.remote.names import load_names
from tests.policies.remote.requests import LAYOUT, observation, played, request
from tests.policies.remote.servers import OURS, PolicyServer, arrays, pack, running
from tests.robots.small_robot import write_small_robot

LIBERO_KEYS = {"observation/image", "observation/wrist_image", "observation/state", "prompt"}


def built(url: str, **settings):
    return RemotePolicyConfig(url=url, **{"outage_s": 0.0, "answer_timeout_s": 5.0, **settings}).build()


def test_a_stock_server_gets_the_keys_of_libero_and_no_others():
    server = PolicyServer()
    with running(server.handle) as url:
        played(built(url), 2)
    assert [set(message) for message in server.log.messages] == [LIBERO_KEYS, LIBERO_KEYS]
    message = server.log.messages[1]
    assert message["observation/image"].shape == (224, 224, 3)
    assert message["observation/image"].dtype == np.uint8
    assert message["prompt"] == "put it back"
    expected = [0.5, 1.0, 1.0, np.pi, 0.0, 0.0, 0.02, -0.02]
    assert message["observation/state"].dtype == np.float32
    assert np.allclose(message["observation/state"], expected, atol=1e-6)


def test_the_first_rows_of_an_answer_become_a_chunk_in_our_units():
    server = PolicyServer()
    server.actions = lambda seen: np.tile(np.float32([0.2, 0, -0.1, 0, 0.1, 0, -1]), (8, 1))
    with running(server.handle) as url:
        (decision,) = played(built(url, replan_rows=3), 1)
    (chunk,) = decision.intents
    assert isinstance(chunk, ActionChunk)
    assert (chunk.space.name, chunk.space.rate_hz, chunk.values.shape) == ("ee_delta", 20.0, (3, 7))
    assert np.allclose(chunk.values[0], [0.01, 0, -0.005, 0, 0.05, 0, 1.0])


def test_steps_beyond_what_the_tool_can_do_are_clipped():
    server = PolicyServer()
    server.actions = lambda seen: np.full((1, 7), 9.0)
    with running(server.handle) as url:
        (decision,) = played(built(url), 1)
    (chunk,) = decision.intents
    assert np.allclose(chunk.values[0, :3], 0.7 / 20) and chunk.values[0, 6] == 0.0


def test_a_server_without_reset_gets_a_connection_for_each_episode():
    server = PolicyServer()
    with running(server.handle) as url:
        policy = built(url)
        first, second = played(policy, 2), played(policy, 2)
        assert server.log.connections == 3  # One to ask for metadata.
    assert np.array_equal(first[1].intents[0].values, second[1].intents[0].values)
    assert not hasattr(policy, "wiped")
    assert any("nothing proves that its memory was empty" in remark for remark in policy.remarks)


def test_robomme_is_reset_for_each_episode_and_gets_all_frames_since_the_last_request():
    server = PolicyServer("robomme", width=8)
    with running(server.handle) as url:
        policy = built(url, dialect="robomme", names="robomme", replan_rows=4)
        assert (policy.observation_spec.history, policy.observation_spec.rate_hz) == (4, 20.0)
        (first,) = played(policy, 1)
        past = tuple(observation(step) for step in range(1, 5))
        later = request(4, carry=first.carry, history=past)
        (_, again) = policy.act([replace(later, observation=past[-1])]), played(policy, 1)[0]
        assert server.log.resets == 2
    assert [len(message["front_rgb_list"]) for message in server.log.messages] == [1, 4, 1]
    assert [message["is_first_step"] for message in server.log.messages] == [True, False, True]
    assert server.log.messages[0].keys() == {
        "front_rgb_list", "wrist_rgb_list", "joint_state_list", "eef_state_list", "gripper_state_list", "task_goal",
        "is_first_step",
    }  # fmt: skip
    assert [row[1] for row in server.log.messages[1]["eef_state_list"]] == [1.0, 2.0, 3.0, 4.0]
    assert np.array_equal(first.intents[0].values, again.intents[0].values)
    assert first.intents[0].space.name == "joint_position"


def test_a_chunk_that_failed_is_followed_by_the_newest_frame_alone():
    server = PolicyServer("robomme", width=8)
    with running(server.handle) as url:
        policy = built(url, dialect="robomme", names="robomme", replan_rows=4)
        (first,) = played(policy, 1)
        failed = IntentFeedback("ActionChunk", ControllerStatus.FAILED, "out of reach")
        past = tuple(observation(step) for step in range(4))
        policy.act([request(4, carry=first.carry, history=past, feedback=failed)])
    assert len(server.log.messages[1]["front_rgb_list"]) == 1


def test_roboarena_gets_a_session_and_an_endpoint_and_answers_its_reset_in_words():
    server = PolicyServer("roboarena", metadata={"needs_session_id": True})
    with running(server.handle) as url:
        policy = built(url)
        played(policy, 2)
        played(policy, 1)
        assert server.log.resets == 2
    sessions = [message["session_id"] for message in server.log.messages]
    assert sessions[0] == sessions[1] != sessions[2]
    assert {message["endpoint"] for message in server.log.messages} == {"infer"}


def test_a_bare_array_is_an_answer_too_as_dreamzero_gives_it():
    server = PolicyServer()
    server.before = lambda _, socket, message: socket.send(pack(np.full((4, 7), 0.2))) or True
    with running(server.handle) as url:
        (decision,) = played(built(url), 1)
    assert np.allclose(decision.intents[0].values[0, :3], 0.01)


def test_behavior_is_reset_without_an_answer():
    server = PolicyServer("behavior")
    with running(server.handle) as url:
        policy = built(url, dialect="behavior")
        first, second = played(policy, 2), played(policy, 2)
    assert server.log.resets == 2
    assert np.array_equal(first[1].intents[0].values, second[1].intents[0].values)


def test_episodes_of_one_server_of_ours_do_not_mix():
    server = PolicyServer("embodied", OURS)
    with running(server.handle) as url:
        policy = built(url)
        alone = played(policy, 3)
        a = b = None
        mixed = []
        for step in range(3):
            both = policy.act([request(step, carry=a), request(step + 7, carry=b)])
            a, b = (one.carry for one in both)
            mixed.append(both[0])
        assert server.log.connections == 2
    assert [one.intents for one in mixed] == [one.intents for one in alone]
    assert isinstance(alone[0].intents[0], MoveTo)
    assert not policy.one_episode_at_a_time


@pytest.mark.parametrize(("dialect", "metadata"), [("embodied", OURS), ("robomme", {}), ("roboarena", {})])
def test_a_memory_that_is_wiped_or_swapped_is_that_of_a_new_session_or_of_the_donors(dialect, metadata):
    server = PolicyServer(dialect, metadata)
    with running(server.handle) as url:
        policy = built(url, dialect=dialect)
        donor = played(policy, 3, first=10)
        own = played(policy, 2)
        goes_on = policy.act([request(5, carry=donor[-1].carry)])[0]
        swapped = policy.act([request(5, carry=policy.swapped(own[-1].carry, played(policy, 3, first=10)[-1].carry))])
        wiped = policy.act([request(5, carry=policy.wiped(own[-1].carry))])[0]
        fresh = policy.act([request(5)])[0]
    assert numbers(swapped[0]) == numbers(goes_on) != numbers(fresh)
    assert numbers(wiped) == numbers(fresh)


def numbers(decision):
    (intent,) = decision.intents
    return intent.position_m if isinstance(intent, MoveTo) else intent.values.tolist()


@pytest.mark.parametrize(("dialect", "metadata"), [("openpi", {}), ("robomme", {}), ("embodied", OURS)])
def test_neither_truth_nor_hints_nor_instance_images_cross(dialect, metadata):
    server = PolicyServer(dialect, metadata)
    goal = Choice(("left_secret", "right_secret"), "right_secret")
    episode = Episode("secret/7", "t", "strict", 1, 7, "test", "", Scene(name="empty"), Limits(), goal)
    state = WorldState(time_s=7.75, pose={}, joint={}, contact=frozenset(), held={}, robots={})
    seen = observation(0)
    instance = np.full((16, 16), 4711, np.int32)
    seen = replace(seen, images={name: replace(image, instance=instance) for name, image in seen.images.items()})
    asked = replace(
        request(),
        observation=seen,
        truth=Truth(episode, state, Progress()),
        hint=MoveTo((0.123456, 0.0, 1.0), (1.0, 0.0, 0.0, 0.0), gripper_open=True),
    )
    with running(server.handle) as url:
        policy = built(url, dialect=dialect)
        assert not policy.privileged
        policy.act([asked])
    (message,) = server.log.messages
    assert not any(array.dtype == np.int32 and 4711 in array for array in arrays(message))
    assert "secret" not in repr(message) and "0.123456" not in repr(message) and "7.75" not in repr(message)
    assert not {"truth", "hint", "instance", "expert"} & set(keys(message))


def keys(value):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from keys(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from keys(inner)


def test_a_file_of_names_of_ones_own_can_show_the_bank_and_store_moments(tmp_path):
    moment = Moment(np.float32([1, 0]), None, "theirs", 0.0, (0.0, 0.0, 0.0), "panda", "")
    (tmp_path / "mine.yaml").write_text(
        "version: 1\nrobot: panda\n"
        "request:\n  eye: {image: front}\n  bank: {memory: true}\n"
        "answer:\n  space: keyframe\n  moments: store\n  fields:\n"
        "    position: {column: 0}\n    orientation: {column: 3, form: rpy}\n    gripper: {column: 6}\n"
        "    avoid_collisions: {column: 6}\n"
    )
    server = PolicyServer()
    server.actions = lambda seen: np.float64([[0.4, 0.1, 1.0, np.pi, 0, 0, 1]])
    with running(server.handle) as url:
        policy = built(url, names="mine.yaml", names_root=str(tmp_path))
        assert policy.observation_spec.cameras == ("front",)
        (decision,) = policy.act([request(memory=MemoryContext((moment,)))])
    (message,) = server.log.messages
    assert np.array_equal(message["bank"][0]["embedding"], [1, 0])
    (keyframe,) = decision.intents
    assert keyframe.position_m == (0.4, 0.1, 1.0) and keyframe.gripper_open
    assert np.allclose(np.abs(keyframe.orientation), (1.0, 0.0, 0.0, 0.0))


GOOD = "version: 1\nrobot: panda\nrequest:\n  eye: {image: front}\nanswer:\n  space: ee_delta\n  fields:\n"
FIELDS = "    translation: {column: 0}\n    rotation: {column: 3}\n    gripper: {column: 6}\n"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (GOOD + FIELDS + "_target_: os.system\n", "_target_"),
        (GOOD.replace("image: front", "image: front, text: instruction") + FIELDS, "exactly one"),
        (GOOD.replace("image: front", "numbers: [jonts]") + FIELDS, "Did you mean 'joints'"),
        (GOOD + FIELDS.replace("gripper", "griper"), "fields of an answer"),
        (GOOD.replace("version: 1", "version: 2") + FIELDS, "version"),
        ("request: [", "must be YAML"),
        ("a: !!python/object/apply:os.system ['true']", "must be YAML"),
        (GOOD + "    translation: {column: -1}\n", "column 0 or later"),
        ("x: " + "y" * 70_000, "at most 65536 bytes"),
    ],
)
def test_a_file_of_names_that_does_not_fit_is_refused_by_its_rule(tmp_path, text, complaint):
    (tmp_path / "mine.yaml").write_text(text)
    with running(PolicyServer().handle) as url, pytest.raises((ConfigError, UnknownNameError), match=complaint):
        built(url, names="mine.yaml", names_root=str(tmp_path))


def test_a_file_of_names_lies_in_its_root(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "mine.yaml").write_text(GOOD + FIELDS)
    with running(PolicyServer().handle) as url:
        for name in ("../mine.yaml", str(tmp_path / "mine.yaml")):
            with pytest.raises(PathError, match="inside its root"):
                built(url, names=name, names_root=str(tmp_path / "inner"))
        with pytest.raises(UnknownNameError, match="Did you mean 'libero'"):
            built(url, names="libro")


def test_the_model_file_of_a_robot_lies_in_the_root_of_its_file_of_names_and_belongs_to_its_digest(tmp_path):
    root = tmp_path / "inner"
    for folder in (tmp_path, root / "robots"):
        folder.mkdir(parents=True, exist_ok=True)
        write_small_robot(folder)
    (root / "link.json").symlink_to(tmp_path / "small.json")

    def loaded(robot: str):
        (root / "mine.yaml").write_text(GOOD.replace("robot: panda", f"robot: {robot}") + FIELDS)
        return load_names("mine.yaml", str(root))

    names, digest = loaded("robots/small.json")
    assert robot_model(names.robot).name == "small"
    for outside in ("../small.json", str(tmp_path / "small.json"), str(root / "robots/small.json"), "link.json"):
        with pytest.raises(PathError, match="inside its root"):
            loaded(outside)
    with pytest.raises(PathError, match="must exist"):
        loaded("robots/none.json")
    mesh = root / "robots/gripper/meshes/palm.obj"
    mesh.write_text(mesh.read_text().replace("0.06", "0.05"))
    _loaded.cache_clear()  # A process reads a robot once.
    assert loaded("robots/small.json")[1] != digest


def test_the_layout_of_the_tests_is_that_of_the_panda():
    assert observation(0).proprio.shape == (len(LAYOUT),)


def test_a_donor_that_another_instance_has_played_is_known_in_the_same_process():
    server = PolicyServer("embodied", OURS)
    with running(server.handle) as url:
        served = RemotePolicyConfig(url=url).pinned()
        policy, donor = served.build(), served.build()
        carry = played(donor, 3, first=10)[-1].carry
        goes_on = donor.act([request(5, carry=carry)])[0]
        carry = played(donor, 3, first=10)[-1].carry
        del donor
        (swapped,) = policy.act([request(5, carry=policy.swapped(played(policy, 2)[-1].carry, carry))])
        assert server.log.connections == 2
    assert numbers(swapped) == numbers(goes_on)
