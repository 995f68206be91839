"""Parts from outside: found by their entry points, loaded by name, and refused in one message where they are broken."""

import sys
from pathlib import Path

import pytest

from embodied.controllers.skills.registry import SKILLS, skills_of
from embodied.errors import PluginError, UnknownNameError
from embodied.plugins import (
    code_identity,
    import_modules,
    offered,
    parts,
    recorded_use,
    require_same_code,
    shipped_code,
    source_digest,
    sources_of,
)
from embodied.robots.catalogue import robot_model, robot_names
from embodied.tasks.registry import SUITES, TASKS, make_task, sound_suites, suite_named
from embodied.testing import check_task
from launch.arguments import Arguments
from launch.parts import POLICIES, chosen_policy, policy_options
from policies.memory import TokenGrid
from policies.memory.registry import MEMORIES, memory_config
from policies.testing import check_memory
from tests.plugins.installing import install, install_outside_lab


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder on the search path, into which tests install packages."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        if str(folder) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
    for registry in (SKILLS, SUITES, TASKS, POLICIES, MEMORIES):
        registry.loaded.clear()
    source_digest.cache_clear()


def installed(site, name="other", *, group="policies", line="mine = other_module:Thing", source="Thing = 3\n"):
    return install(site, name, points={f"embodied.{group}": line}, modules={"other_module.py": source})


def test_an_installed_package_gives_a_task_a_suite_a_policy_a_skill_and_a_memory(site):
    install_outside_lab(site)
    task = make_task("open_next_drawer", options={"steps": 2})
    assert (task.steps, task.name) == (2, "open_next_drawer")
    check_task(lambda: make_task("open_next_drawer"), seeds=(0, 1))
    assert suite_named("outside").tasks == {"open_next_drawer": type(task)}
    assert suite_named("open_next_drawer").tiers == ("faithful", "strict")
    assert {suite.name for suite in sound_suites()} == {"memorybench", "teamwork", "outside", "open_next_drawer"}
    options = policy_options(Arguments(("policy=[hover]",)))()
    assert chosen_policy("hover", options).height_m == 1.1
    assert "rise" in {skill.name for skill in skills_of(robot_model("panda"))}
    grid = TokenGrid(views=1, rows=2, cols=2, dim=8, slot_dim=4)
    check_memory(lambda: memory_config("last", {"gain": 0.5}).build(grid))


def test_a_robot_of_a_package_whose_files_are_missing_is_refused_by_its_name_and_no_other(site):
    install_outside_lab(site)
    assert "ur5e_robotiq_2f_85" in robot_names()
    assert robot_model("panda").name == "panda"
    with pytest.raises(PluginError, match=r"'ur5e_robotiq_2f_85' \(embodied.robots\).*outside-lab.*airo_models"):
        robot_model("ur5e_robotiq_2f_85")


def test_nothing_is_imported_before_it_is_used(site):
    install_outside_lab(site)
    assert "open_next_drawer" in list(TASKS)
    assert "hover" in POLICIES
    policy_options(Arguments(("policy=[expert]", "output=hover")))
    assert not any(name.startswith("outside_lab") for name in sys.modules)


def test_a_name_that_nothing_fits_comes_with_the_nearest_one_from_outside(site):
    install_outside_lab(site)
    for call in (
        lambda: make_task("open_nxt_drawer"),
        lambda: suite_named("outsid"),
        lambda: memory_config("lst", {}),
        lambda: memory_config("last", {"gian": 1.0}),
    ):
        with pytest.raises(UnknownNameError, match=r"Did you mean '(open_next_drawer|outside|last|gain)'"):
            call()


BROKEN = {
    "an import that fails": ("import no_such_library\n", r"ModuleNotFoundError: No module named 'no_such_library'\."),
    "an error at import": ("raise RuntimeError('no licence')\n", r"RuntimeError: no licence\."),
    "an exit at import": ("raise SystemExit(3)\n", r"SystemExit: 3\."),
    "a missing attribute": ("Other = 3\n", r"AttributeError: .*Thing"),
    "a wrong type": ("Thing = 3\n", r"TypeError: 'mine' must be a dataclass with build\(\), not int\."),
    "no build": (
        "from dataclasses import dataclass\n\n@dataclass\nclass Thing:\n    a: int = 1\n",
        r"TypeError: 'mine' must be a dataclass with build\(\), not Thing\.",
    ),
    "a field that no setting can have": (
        "from dataclasses import dataclass\n\n@dataclass\nclass Thing:\n    a: object = 1\n    b: complex = 1j\n"
        "    def build(self):\n        return self\n",
        r"TypeError: Thing must have fields that settings can have",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_part_is_one_error_that_names_package_entry_point_and_cause(site, what):
    source, cause = BROKEN[what]
    installed(site, source=source)
    with pytest.raises(PluginError, match=cause) as caught:
        POLICIES["mine"]
    assert "'mine' (embodied.policies) = other_module:Thing of package 'other'" in str(caught.value)
    assert str(caught.value).endswith("Repair the package, or uninstall it.")


def test_a_broken_part_stops_only_what_uses_it(site, caplog):
    installed(site, source="raise RuntimeError('no licence')\n")
    install(site, "skills", points={"embodied.skills": "mine = other_module:Thing"}, modules={})
    assert POLICIES["expert"] is not None
    assert "mine" not in policy_options(Arguments(("policy=[expert]", "output=mine")))().__dict__
    assert "mine" not in policy_options(Arguments(("--help",)))().__dict__
    assert "no licence" in caplog.text
    assert "pick" in {skill.name for skill in skills_of(robot_model("panda"))}
    with pytest.raises(PluginError, match="no licence"):
        policy_options(Arguments(("policy=mine",)))


def test_a_name_belongs_to_one_package(site):
    installed(site, "one", line="expert = other_module:Thing\ntwice = other_module:Thing")
    install(site, "two", points={"embodied.policies": "twice = other_module:Thing"}, modules={})
    with pytest.raises(PluginError, match=r"Got 'expert'\. It is offered by this project and by 'expert'.*'one'"):
        POLICIES["expert"]
    with pytest.raises(PluginError, match=r"Got 'twice'.*'one' and by .*'two'|Got 'twice'.*'two' and by .*'one'"):
        POLICIES["twice"]
    assert POLICIES["guesser"] is not None


def test_two_checkpoints_of_one_kind_have_labels_of_the_user(tmp_path):
    given = ("policy=[a,b]", "policy_options.a.kind=sam2act", "policy_options.b.kind=sam2act_plus")
    options = policy_options(Arguments(given))()
    assert (options.a.kind, options.a.weights) == ("sam2act", "sam2act-memorybench")
    a, b = (chosen_policy(name, options) for name in "ab")
    assert type(a) is type(b)
    assert (a.weights, b.weights) == ("sam2act-memorybench", "sam2act_plus-memorybench")
    assert a.digest != b.digest
    assert not hasattr(a, "kind")


def test_edited_code_from_outside_has_another_identity_and_other_packages_do_not_count(site):
    install_outside_lab(site)
    install(
        site, "unrelated", points={"embodied.policies": "u = unrelated_module:U"}, modules={"unrelated_module.py": ""}
    )
    with recorded_use() as used:
        assert POLICIES["hover"]
    before = sources_of(used, [])
    assert before.keys() == {"outside-lab"}
    assert before["outside-lab"]["version"] == "1.2"
    assert sources_of([], ["outside_lab.tasks"]) == before
    path = site / "outside_lab" / "policies.py"
    path.write_text(path.read_text().replace("1.1", "1.2"))
    source_digest.cache_clear()
    assert sources_of(used, [])["outside-lab"]["sha256"] != before["outside-lab"]["sha256"]


NAMED = "from typing import Any\n\nimport {helper}\n\nEMBODIED: Any = {{}}\n"


@pytest.mark.parametrize(
    ("module", "files", "edited"),
    [
        ("beside", {"beside.py": NAMED.format(helper="a_helper"), "a_helper.py": "import another\n", "another.py": ""},
         "another.py"),
        ("beside", {"beside.py": NAMED.format(helper="kit.tools"), "kit/__init__.py": "", "kit/tools.py": ""},
         "kit/tools.py"),
        ("lab.named", {"lab/__init__.py": "", "lab/named.py": NAMED.format(helper="math"), "lab/other.py": ""},
         "lab/__init__.py"),
        ("lab.named", {"lab/__init__.py": "", "lab/named.py": "def late():\n    from . import other\n\nEMBODIED = {}\n",
                       "lab/other.py": ""}, "lab/other.py"),
    ],
)  # fmt: skip
def test_an_edited_helper_of_a_named_module_is_other_code_and_its_neighbours_do_not_count(site, module, files, edited):
    for name, source in {**files, "unused.py": ""}.items():
        (site / name).parent.mkdir(exist_ok=True)
        (site / name).write_text(source)
    import_modules([module])
    try:
        before = sources_of([], [])[module]
        for name, same in (("unused.py", True), (edited, False)):
            (site / name).write_text("VALUE = 2\n")
            source_digest.cache_clear()
            assert (sources_of([], [])[module] == before) is same
            if not same:
                with pytest.raises(PluginError, match="code of every node"):
                    require_same_code({module: f"SHA-256 {before['sha256']}"})
    finally:
        parts._named.pop(module)


def test_offers_are_found_again_after_the_search_path_has_changed(site):
    assert "hover" not in offered("policies")
    install_outside_lab(site)
    sys.path.append(str(site / "nothing"))
    try:
        assert "hover" in offered("policies")
    finally:
        sys.path.remove(str(site / "nothing"))


def test_a_worker_refuses_a_module_that_is_not_the_drivers():
    require_same_code({"json": f"SHA-256 {source_digest('json')}"})
    with pytest.raises(PluginError, match=r"code of every node.*json"):
        require_same_code({"json": f"SHA-256 {'0' * 64}"})


def test_a_worker_refuses_code_and_libraries_that_are_not_the_drivers_and_names_both():
    here = code_identity()
    assert {"embodied", "policies", "launch", "numpy"} <= here.keys()
    require_same_code(here)
    for name, other in (("embodied", f"SHA-256 {'0' * 64}"), ("numpy", "version 1.0"), ("gone_lab", "SHA-256 1")):
        with pytest.raises(PluginError, match="must be that of the driver") as refused:
            require_same_code({**here, name: other})
        assert f"{other} on the driver" in str(refused.value)
        assert here.get(name, "not found") in str(refused.value)


def test_code_is_shipped_up_to_a_limit():
    assert [Path(path).name for path in shipped_code(100)][:3] == ["embodied", "policies", "launch"]
    assert shipped_code(1) == []
