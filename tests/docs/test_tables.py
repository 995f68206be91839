"""Tables of the docs have the names and numbers of the code."""

import inspect
import re
from dataclasses import fields

import numpy as np
import pytest

from embodied.errors import ConfigError
from embodied.evaluation import evaluate_policies
from embodied.geometry import Pose
from embodied.memory.perception.colours import lab_from_rgb, median_lab
from embodied.robots.catalogue import robot_model
from embodied.robots.commands import proprio_layout
from embodied.scenes import tabletop
from embodied.specs import ObservationSpec
from embodied.tasks.memorybench import layout, predicates, reopen_drawer
from embodied.tasks.memorybench.base import PRESS_KEYFRAMES, PRESS_TIME_S
from embodied.tasks.registry import make_task, suite_named
from embodied.tasks.teamwork import two_robots
from embodied.types import CameraImage, Observation, Request
from tests.docs.snippets import ROOT

TASKS = (ROOT / "docs" / "tasks.md").read_text()
TEN_LINES = (ROOT / "docs" / "tutorials" / "ten_lines.md").read_text()
POLICY = (ROOT / "docs" / "tutorials" / "policy.md").read_text()
MEMORYBENCH = sorted(suite_named("memorybench").tasks)


def section(page, title):
    return page.split(f"\n## {title}\n")[1].split("\n## ")[0]


def rows(text):
    """The rows of all tables in a text, by their first cell, without backticks."""
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")
    ]
    return {cell[0].replace("`", ""): cell[1:] for cell in cells if not set(cell[0]) <= set("-:")}


def quoted(names):
    return ", ".join(f"`{name}`" for name in names)


def word_of(rgba):
    return median_lab(lab_from_rgb(np.array([rgba[:3]]))).name


@pytest.mark.parametrize("name", MEMORYBENCH)
def test_a_task_of_memorybench_is_described_as_it_is(name):
    task = make_task(name, tier="strict")
    episode, found = task.sample(0), rows(section(TASKS, name))
    assert found["instruction"] == [episode.instruction]
    assert found["candidates"] == [quoted(task.candidates)]
    assert found["chance"] == [f"1 in {round(1 / task.chance(episode))}"]
    assert found["phases"] == [quoted(task.phases)]
    assert found["limits"] == [f"{episode.limits.intents} keyframes, {episode.limits.sim_time_s:g} s"]
    assert found["things"] == [", ".join(body.name for body in episode.scene.bodies)]
    numbered = re.findall(r"^\d\. `(\w+)`", section(TASKS, name), re.MULTILINE)
    assert tuple(numbered) == task.phases


def test_further_presses_lengthen_the_limits_as_described():
    assert f"adds {PRESS_KEYFRAMES} keyframes and {PRESS_TIME_S:g} s" in section(TASKS, "put_block_back")


def test_thresholds_of_phases_and_choices_are_those_of_the_predicates():
    pressed = f"down by more than {1000 * predicates.PRESS_TRAVEL_M:g} mm"
    lifted = f"more than {100 * predicates.LIFTED_M:g} cm"
    expected = {
        "put_block_back": [pressed, f"lower than {100 * predicates.LOWERED_M:g} cm"],
        "rearrange_block": [pressed, lifted, f"{lifted} up", f"{lifted} above where it lay"],
        "reopen_drawer": [
            pressed,
            f"is open by less than {100 * reopen_drawer.SHUT_M:g} cm",
            f"drawer that is open by more than {100 * reopen_drawer.SHUT_M:g} cm",
            f"drawer is open by more than {100 * reopen_drawer.REOPENED_M:g} cm",
        ],
        "two_robots": [
            f"beyond x = {two_robots.AWAY_M:g}",
            f"within {100 * two_robots.ON_SPOT_M:g} cm of the middle",
            f"more than {100 * two_robots.LIFTED_M:g} cm above the table",
        ],
    }
    for name, texts in expected.items():
        found = " ".join(section(TASKS, name).split())
        assert [text for text in texts if text not in found] == [], name
        assert set(re.findall(r"by more than (\S+ mm)", found)) <= {f"{1000 * predicates.PRESS_TRAVEL_M:g} mm"}


@pytest.mark.parametrize("option", ["patches", "distractor_presses"])
def test_ranges_of_options_are_as_described(option):
    low, high = re.search(rf"`{option}` \((\d+) to (\d+)\)", section(TASKS, "put_block_back")).groups()
    for value in (int(low), int(high)):
        make_task("put_block_back", tier="strict", options={option: value}).sample(0)
    for value in (int(low) - 1, int(high) + 1):
        with pytest.raises(ConfigError, match=option):
            make_task("put_block_back", tier="strict", options={option: value})


def test_patches_become_small_beyond_the_number_that_is_described():
    most = int(re.search(r"where there are more than (\d+)", TASKS).group(1))
    for patches, size_m in ((most, tabletop.PATCH_M), (most + 1, layout.SMALL_PATCH_M)):
        scene = make_task("put_block_back", tier="strict", options={"patches": patches}).sample(0).scene
        assert scene.body("patch_0").parts[0].shape.size_m[0] == size_m


def test_the_task_of_two_robots_is_described_as_it_is():
    task = make_task("two_robots", tier="")
    episode, found = task.sample(0), rows(section(TASKS, "two_robots"))
    assert found["instruction"] == [episode.instruction]
    assert all(spot in found["candidates"][0] for spot in episode.goal.candidates)
    assert found["chance"] == [f"1 in {round(1 / task.chance(episode))}"]
    assert found["limits"] == [f"{episode.limits.intents} intents of all robots, {episode.limits.sim_time_s:g} s"]
    assert found["robots"] == [", ".join(robot.name for robot in episode.scene.robots)]
    cameras = episode.scene.cameras
    assert found["cameras"] == [f"{quoted(camera.name for camera in cameras)}, {cameras[0].width_px} x 128 px"]
    assert re.findall(r"`(away|moved|fetched)`", found["phases"][0]) == ["away", "moved", "fetched"]


def test_things_on_the_table_have_the_colours_and_sizes_of_the_scene():
    found = rows(section(TASKS, "The table of MemoryBench"))
    block = tabletop.block("block", 0.0, 0.0, 0.0)
    bodies = {body.name: body for body in tabletop.button(Pose())[0]}
    bodies |= {body.name: body for body in tabletop.chest(Pose(), opened="drawer_top", detent=None)[0]}
    coloured = {
        "block": block,
        "patch": tabletop.patch("patch", Pose()),
        "centre": tabletop.centre_mark(Pose()),
        "button base": bodies["button_base"],
        "button cap": bodies["button_cap"],
        "drawers": bodies["drawer_top"],
    }
    for name, body in coloured.items():
        assert found[name][0] == word_of(body.parts[0].rgba), name
    sizes = {
        "block": [f"{100 * tabletop.BLOCK_M:g} cm", f"{1000 * tabletop.BLOCK_KG:g} g"],
        "patch": [f"{100 * tabletop.PATCH_M:g} cm", f"{100 * layout.SMALL_PATCH_M:g} cm"],
        "centre": [f"{100 * tabletop.PATCH_M:g} cm"],
        "button base": [f"{100 * tabletop.BUTTON_M:g} cm", f"{100 * tabletop.BUTTON_BASE_HEIGHT_M:g} cm"],
        "button cap": [
            f"{100 * length_m:g} cm"
            for length_m in (tabletop.BUTTON_CAP_M, tabletop.BUTTON_TOP_M, tabletop.BUTTON_TRAVEL_M)
        ],
        "drawers": [f"{100 * tabletop.DRAWER_OPEN_M:g} cm open"],
    }
    for name, texts in sizes.items():
        assert all(text in found[name][1] for text in texts), name
    assert found["table top"] == [f"z = {tabletop.TABLE_TOP_M:g}"]
    ranges = [f"{axis} from {low:g} to {high:g}" for axis, (low, high) in zip("xyz", tabletop.WORKSPACE_M, strict=True)]
    assert found["workspace"] == [", ".join(ranges)]
    x, y, z = tabletop.ROBOT_BASE_M
    assert found["base of the robot"] == [f"({x:g}, {y:g}, {z:g}), facing +x"]


def test_the_cameras_are_where_the_page_says():
    found = rows(section(TASKS, "The table of MemoryBench"))
    cameras = make_task("put_block_back", tier="strict").sample(0).scene.cameras
    for camera in cameras:
        place, view = found[camera.name]
        assert view == f"{np.degrees(camera.fov_y_rad):.0f} degrees"
        if camera.mount is None:
            x, y, z = camera.pose.position_m
            assert place.startswith(f"({x:g}, {y:g}, {z:g})")
        assert f"{camera.width_px} x {camera.height_px} px" in TASKS
    assert quoted(camera.name for camera in cameras[:3]) in TEN_LINES


def test_the_entries_of_proprio_are_those_of_the_panda():
    layout_of_panda = proprio_layout(robot_model("panda"))
    assert f"`proprio` of the Panda has {len(layout_of_panda)} entries" in TEN_LINES
    listed = {}
    for entries, cells in rows(section(TEN_LINES, "What a request contains")).items():
        if re.fullmatch(r"\d+( to \d+)?", entries):
            first, _, last = entries.partition(" to ")
            listed[int(first), int(last or first)] = re.findall(r"`(\w+)`", cells[0])
    assert [place for span in listed for place in range(span[0], span[1] + 1)] == list(range(len(layout_of_panda)))
    for (first, last), names in listed.items():
        own = layout_of_panda[first : last + 1]
        assert tuple(names) in (own, (own[0], own[-1]))


def test_attributes_and_arguments_are_those_of_the_code():
    contained = rows(section(TEN_LINES, "What a request contains"))
    images = {field.name for field in fields(CameraImage)} - {"instance"}
    assert images <= set(contained)
    for name in contained:
        if name.startswith("request."):
            _, attribute, *more = re.split(r"[.\[]", name)
            assert attribute in {field.name for field in fields(Request)}, name
            if attribute == "observation":
                assert more[0] in {field.name for field in fields(Observation)}, name
    parameters = inspect.signature(evaluate_policies).parameters
    described = rows(section(TEN_LINES, "The evaluation"))
    assert set(described) - {"argument"} == set(parameters) - {"policies"}
    for name in set(described) - {"argument", "output"}:
        assert described[name][0] == f"`{parameters[name].default!r}`".replace("'", '"'), name
    spec = rows(section(POLICY, "The rules"))
    assert {name: cells[0] for name, cells in spec.items() if name != "field"} == {
        field.name: f"`{field.default}`" for field in fields(ObservationSpec)
    }
