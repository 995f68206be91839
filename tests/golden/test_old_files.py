"""Files that ec2eb94 wrote are read for ever; `ec2eb94/README.md` says which commands made them."""

import json
import shutil
from collections import Counter, defaultdict
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from embodied.archive import file_sha256
from embodied.evaluation.dataset_index import read_dataset
from embodied.evaluation.demonstrations import Collection, collect
from embodied.evaluation.evaluator import evaluate
from embodied.evaluation.plan import Evaluation
from embodied.evaluation.preflight import Parts
from embodied.evaluation.report import markdown
from embodied.evaluation.results import ResultsFolder
from embodied.evaluation.summary import summarised
from embodied.geometry import Pose
from embodied.memory import (
    BankClient,
    BankService,
    EntitySeen,
    EventFilter,
    Forgotten,
    Interaction,
    LeaseOffice,
    LocationBelief,
    Order,
    Outbox,
    Query,
    SimulatedClock,
    SkillEnded,
    open_bank,
)
from embodied.rollout.recording.recorder import RecorderConfig
from embodied.trajectories import image_sizes, open_trajectory, read_trajectory
from embodied.types import MoveTo, Outcome
from tests.golden.evaluations import composed, inline

OLD = Path(__file__).parent / "ec2eb94"
RESULTS_RUN, CONTROLS_RUN = "579628092f0f97cf", "ed1842baa2b73a01"
RESULTS_SETTINGS = (
    "suite.tasks=[put_block_back,reopen_drawer]",
    "policy=[expert,guesser]",
    "episodes=2",
    "videos=0",
    "suite.spec=1",
)
CONTROLS_SETTINGS = (
    "suite.tasks=[put_block_back]",
    "policy=[sam2act_plus]",
    "controls=[normal,off,swapped]",
    "episodes=2",
    "suite.spec=1",
)
DEMONSTRATION = "put_block_back/strict/0.npz"


def copied(name, folder):
    """Copies an old file or folder, since reading may write beside it."""
    source = OLD / name
    return Path(shutil.copytree(source, folder / name) if source.is_dir() else shutil.copy(source, folder))


def events_of(bank, *kinds):
    return bank.changes_since(0, wanted=EventFilter(kinds=kinds), limit=10_000)


def held(bank, name, **asked):
    found = bank.where_is(name, **asked)
    return found.predicate, found.parent, found.version


# --- A bank of events of every kind ----------------------------------------------------------------------------------


@pytest.fixture
def bank(tmp_path):
    with open_bank(f"sqlite:///{copied('bank.db', tmp_path)}", clock=SimulatedClock(2000.0)) as opened:
        yield opened


def test_an_old_bank_is_sound_and_holds_events_of_every_kind(bank):
    assert bank.verify().problems == ()
    assert bank.head == 54
    assert Counter(event.kind for event in events_of(bank)) == {
        "absence_seen": 1, "entity_merged": 1, "entity_seen": 7, "episode_begun": 2, "episode_ended": 1, "forgotten": 1,
        "interaction": 1, "lease_granted": 3, "moment_stored": 3, "observed": 1, "past_closed": 1, "place_defined": 6,
        "relation_ended": 2, "relation_set": 6, "robot_registered": 2, "robot_state": 4, "skill_ended": 2,
        "subtask_ended": 1, "tool_called": 1,
    }  # fmt: skip
    seen = bank.event(14)
    assert (seen.writer, seen.writer_seq, seen.valid_time_s, seen.received_time_s) == ("eye", 2, 3.0, 1000.0)
    covariance = tuple(0.0001 * (row == column) for row in range(6) for column in range(6))
    pose, size_m = Pose((1.0, 0.5, 0.8)), (0.08, 0.08, 0.1)
    assert seen.payload == EntitySeen(
        "cup", "cup", pose, covariance, size_m, ("blue", "Tasse"), 0.9, 1, "frame/3.png"
    )  # fmt: skip
    assert bank.event(54).payload.category == "Tür"


def test_an_old_bank_says_where_things_are_and_were(bank):
    pose = Pose((0.6, 1.3, 0.8), (0.0, 0.0, 0.0, 1.0))
    for name in ("cup", "mug"):
        assert bank.where_is(name) == LocationBelief(name, pose, "kitchen", "", "", 1.0, 10.0, 37, 3)
    logged = {time_s: (*held(bank, "cup", as_of_s=time_s), bank.where_is("cup", as_of_s=time_s).pose.position_m)
            for time_s in (4.0, 8.2, 9.5)}  # fmt: skip
    assert logged == {
        4.0: ("in", "box", 1, (1.0, 0.5, 0.8)),
        8.2: ("held_by", "panda", 2, (0.6, 1.2, 0.8)),
        9.5: ("", "", 3, (0.6, 1.2, 0.8)),
    }
    assert (bank.contents("box", as_of_s=4.0), bank.contents("box")) == (["cup", "lid"], ["lid"])
    assert bank.contents("trolley") == ["mat"]
    assert bank.snapshot(20).where_is("cup").parent == "box"
    assert bank.where_is("key").existence == pytest.approx(0.28), "a look that found nothing"
    assert (bank.where_is("key").place, bank.where_is("door").place) == ("hall", "hall")


def test_an_old_bank_knows_its_places_and_relations(bank):
    assert [(place.name, place.level, place.parent) for place in bank.places()] == [
        ("home", "site", ""),
        ("ground", "floor", "home"),
        ("kitchen", "region", "ground"),
        ("hall", "region", "ground"),
        ("trolley", "carrier", "kitchen"),
        ("trolley/1", "slot", "trolley"),
    ]
    assert bank.places()[1].top_m == 2.8
    assert bank.places()[2].polygon == ((0.0, 0.0), (2.0, 0.0), (2.0, 2.0), (0.0, 2.0))
    assert bank.related("kitchen") == [("kitchen", "connects", "hall")]
    assert (bank.related("pen", as_of_s=5.0), bank.related("pen")) == ([("pen", "near", "cup")], [])


def test_an_old_bank_recalls_its_moments(bank):
    best, second = bank.recall(Query(embedding=np.array([0, 1, 0], "<f4"), model_id="sight", top_k=2))
    assert (best.seq, best.similarity, second.seq) == (21, 1.0, 33)
    assert second.similarity == pytest.approx(0.8)
    moment = best.moment
    assert (moment.episode, moment.robot, moment.time_s, moment.entities) == ("tidy/1", "panda", 5.0, ("cup",))
    assert moment.tokens.tolist() == [[1.5, -2.0], [0.25, 4.0]]
    assert [one.seq for one in bank.recall(Query(entities=("mug",)))] == [21], "the mug turned out to be the cup"
    assert [one.seq for one in bank.recall(Query(text_labels=("grasp",)))] == [21]
    assert [one.seq for one in bank.recall(Query(region="kitchen", order=Order.OLDEST))] == [20, 21, 33]


def test_an_old_bank_contains_actions_causes_and_robots(bank):
    done = bank.nth_interaction(-1, entity="cup")
    assert (done.seq, done.robot, done.task, done.cause) == (32, "panda", "tidy/1", (26,))
    assert done.payload == Interaction("pick_place", "cup", 5.0, 7.0, 8.0, 8.5, "box", "trolley/1", True)
    assert [event.payload for event in bank.why(34)][:1] == [SkillEnded("pick", True, "cup", 3.5)]
    assert bank.similar_episodes(np.array([0.6, 0.8], "<f4"), "words")[0] == ("tidy/1", pytest.approx(1.0))
    (ended,) = events_of(bank, "episode_ended")
    assert (ended.payload.outcome, ended.payload.phases, ended.payload.first_seq) == (
        "success", ("left", "returned"), 12
    )  # fmt: skip
    able = bank.skill_candidates("pick", (0.7, 0.5, 0.8), context="cup")
    assert [(one.robot, pytest.approx(one.success)) for one in able] == [("panda", 2 / 3), ("kuka", 1 / 2)]
    assert able[0].cost_s == pytest.approx(4.0 * 3 / 2)


def test_what_an_old_bank_has_forgotten_stays_forgotten(bank):
    (event,) = events_of(bank, "forgotten")
    assert event.payload == Forgotten("sightings that say the same", ((42, 49),), 8)
    assert [bank.event(seq) is None for seq in (41, 45, 50)] == [False, True, False]
    assert bank.where_is("ball", as_of_s=25.0).pose.position_m == (1.5, 1.5, 0.8)


def test_an_old_bank_takes_new_events_and_leases_and_its_tables_are_made_again_as_they_were(bank):
    office = LeaseOffice(bank)
    assert bank.newest_lease("sweep") == (1, "kuka", 506.0)
    assert office.acquire("sweep", "kuka", duration_s=10.0).epoch == 2
    assert bank.last_of_writer("panda") == (14, 9.0)
    asked = ("cup", "key", "lid", "mat", "ball", "panda")
    before = [bank.where_is(name) for name in asked]
    bank.rebuild()
    assert [bank.where_is(name) for name in asked] == before
    assert bank.verify().problems == ()
    assert bank.head == 55


# --- A bank that an evaluation wrote ----------------------------------------------------------------------------------


def test_an_old_bank_of_an_evaluation_contains_both_episodes(tmp_path):
    with open_bank(f"sqlite:///{copied('told.db', tmp_path)}") as bank:
        assert (bank.verify().problems, bank.head) == ((), 368)
        begun = [(event.valid_time_s, event.payload.episode) for event in events_of(bank, "episode_begun")]
        names = [f"d44dd653adfeb0b5/{policy}/put_block_back/strict/test/0" for policy in ("expert", "sam2act_plus")]
        assert begun == [(1000.0, names[0]), (1200.0, names[1])]
        assert [event.payload.outcome for event in events_of(bank, "episode_ended")] == ["success", "success"]
        actions = [event.payload.action for event in events_of(bank, "interaction")]
        assert actions == ["pick_place", "press", "pick_place"] * 2
        last = bank.nth_interaction(-1, entity=f"{names[0]}/block")
        assert last.payload.target == f"{names[0]}/patch_1" == bank.where_is(f"{names[0]}/block").parent
        there = bank.where_is(f"{names[1]}/block", as_of_s=1205.0)
        assert (there.predicate, there.parent) == ("on", f"{names[1]}/centre")
        moments = bank.recall(Query(episode=names[1], top_k=30, order=Order.OLDEST))
        assert len(moments) == 12
        assert {one.moment.model_id for one in moments} == {"sam2act-5afbf991ea9c"}
        assert {one.moment.embedding.shape + one.moment.tokens.shape for one in moments} == {(32, 192, 32)}
        again = bank.recall(Query(embedding=moments[3].moment.embedding, model_id="sam2act-5afbf991ea9c", top_k=1))
        assert again[0].seq == moments[3].seq


# --- An outbox --------------------------------------------------------------------------------------------------------


def test_an_old_outbox_delivers_its_parcels_and_goes_on_with_its_numbers(tmp_path):
    outbox = Outbox(copied("outbox.db", tmp_path))
    assert [(parcel.number, parcel.count) for parcel in outbox.waiting()] == [(1, 1), (3, 2), (5, 1)]
    assert outbox.events == 4
    ((events, reason),) = outbox.refused()
    assert (events[0].writer_seq, events[0].payload.object, reason) == (8, "sink", "it is in the box")
    with BankService(open_bank(":memory:")) as service, BankClient(service, outbox, writer="arm") as client:
        client.flush()
        logged = client.changes_since(0)
        assert [(event.writer, event.writer_seq, event.kind) for event in logged] == [
            ("arm", 4, "entity_seen"),
            ("arm", 6, "relation_set"),
            ("arm", 7, "moment_stored"),
            ("eye", 1, "entity_seen"),
        ]
        assert client.where_is("cup").parent == "box"
        assert client.recall(Query(episode="tidy/2"))[0].moment.position_m == (0.5, 0.0, 0.8)
        client.log(EntitySeen("mug", "cup", Pose()))
        assert client.last_of_writer("arm")[0] == 9
    with closing(Outbox(tmp_path / "outbox.db")) as emptied:
        assert emptied.waiting() == []


# --- Demonstrations ---------------------------------------------------------------------------------------------------


def test_an_old_trajectory_is_read_with_all_that_it_holds():
    path = OLD / "demonstrations" / DEMONSTRATION
    trajectory = read_trajectory(path)
    label = trajectory.label
    assert (label.episode, label.task, label.tier, label.variant, label.seed, label.split) == (
        "put_block_back/strict/train/0", "put_block_back", "strict", 3, 0, "train",
    )  # fmt: skip
    assert label.instruction.startswith("move the block to the centre, press the button")
    assert (label.goal["target"], label.choice, label.outcome, label.reason) == (
        "patch_3", "patch_3", Outcome.SUCCESS, "",
    )  # fmt: skip
    assert label.goal["candidates"] == ["patch_0", "patch_1", "patch_2", "patch_3"]
    assert label.reached == ("left", "centred", "pressed", "returned")
    assert (trajectory.robot, len(trajectory.proprio_names), len(trajectory.observations)) == ("panda", 15, 13)
    assert trajectory.intents[0] == MoveTo(
        position_m=(0.19302866334036897, -0.12292186386640971, 0.945),
        orientation=(0.9910916436557382, 0.13318165742987004, 8.155024523831483e-18, 6.068686045323445e-17),
        gripper_open=True,
        avoid_collisions=True,
    )
    assert len(trajectory.intents) == 12
    assert sum(intent.avoid_collisions for intent in trajectory.intents) == 5
    reader = open_trajectory(path)
    assert reader.label == label
    assert image_sizes(reader.features) == dict.fromkeys(
        ("front", "left_shoulder", "right_shoulder", "wrist"), (32, 32)
    )


def test_the_pictures_of_an_old_trajectory_are_what_they_were():
    first, *_, last = read_trajectory(OLD / "demonstrations" / DEMONSTRATION).observations
    front = first.images["front"]
    assert front.rgb[0, :2].tolist() == [[230, 235, 242], [230, 235, 242]]
    assert front.rgb[20, 10:13].tolist() == [[186, 181, 172], [26, 113, 35], [26, 113, 35]]
    assert (front.depth_m[0, 0], front.depth_m[16, 16]) == (0.0, np.float32(1.6883157))
    assert front.intrinsics.tolist() == [[43.95963871127396, 0.0, 16.0], [0.0, 43.95963871127396, 16.0], [0, 0, 1]]
    assert front.world_from_camera[:3, 3].tolist() == [1.35, 0.0, 1.58]
    assert {name: int(image.rgb.sum()) for name, image in last.images.items()} == {
        "front": 584300, "left_shoulder": 539409, "right_shoulder": 537287, "wrist": 477296,
    }  # fmt: skip
    assert (first.time_s, last.time_s, first.gripper, last.gripper) == (0.0, 12.0, 1.0, 0.8568359843788363)


def test_an_old_collection_is_whole_and_can_be_extended(tmp_path, monkeypatch):
    folder = copied("demonstrations", tmp_path)
    dataset = read_dataset(folder)
    assert (dataset.run, dataset.complete, dataset.policy, dataset.demos) == ("f4da048ae2221157", True, "expert", 1)
    (file,) = dataset.files
    assert (file.file, file.task, file.variant, file.observations) == (DEMONSTRATION, "put_block_back/strict", 3, 13)
    assert file_sha256(folder / file.file) == file.sha256
    plan = composed("suite.tasks=[put_block_back]", "suite.put_block_back.camera_px=32", "policy=[expert]")
    worker = replace(plan.worker, recorder=RecorderConfig())
    monkeypatch.setattr(Collection, "run", dataset.run)  # Its own names the code, which has changed since.
    more = collect(Collection(worker=worker, demos=2, seed=0), compute=inline(worker), output=folder, config="")
    assert more.files[0] == msgspec.structs.replace(file, robot="panda")  # The old index names no robot.
    assert [one.file for one in more.files] == [DEMONSTRATION, DEMONSTRATION.replace("0.npz", "1.npz")]


# --- Results ----------------------------------------------------------------------------------------------------------


def resumed(folder, monkeypatch):
    """Evaluates into an old folder, as if the code were that of then; returns results and the episodes played now."""
    monkeypatch.setattr(Evaluation, "run", RESULTS_RUN)
    plan, played = composed(*RESULTS_SETTINGS), []

    class Watched:
        place = "in this process"

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def run(self, jobs):
            with inline(plan.worker) as compute:
                for result in compute.run(jobs):
                    played.append((result.job.policy, result.job.episode))
                    yield result

    return evaluate(plan, compute=Watched(), output=folder, config="", videos=0), played


def test_old_rows_are_read_with_their_controls_and_donors(tmp_path):
    with ResultsFolder(copied("results", tmp_path)) as folder:
        records = folder.records(RESULTS_RUN)
    assert len(records) == 8
    assert Counter((r.task, r.policy, str(r.outcome)) for r in records) == {
        ("put_block_back", "expert", "success"): 2,
        ("put_block_back", "guesser", "failure"): 2,
        ("reopen_drawer", "expert", "success"): 2,
        ("reopen_drawer", "guesser", "failure"): 2,
    }
    last = records[-1]
    assert (last.episode, last.tier, last.variant, last.seed, last.attempt, last.control, last.donor) == (
        "reopen_drawer/strict/test/1", "strict", 0, 1, 1, "normal", None,
    )  # fmt: skip
    assert last.choice == {"chosen": "drawer_middle", "target": "drawer_bottom", "correct": False}
    assert (last.reason, last.phases) == ("wrong first choice: drawer_middle", ("closed", "pressed"))
    assert (last.steps, last.sim_time_s) == (10, 12.85)
    with ResultsFolder(copied("controls", tmp_path)) as folder:
        controlled = folder.records(CONTROLS_RUN)
    assert [(r.control, r.donor, r.choice["chosen"], str(r.outcome)) for r in controlled] == [
        ("normal", None, "patch_1", "success"),
        ("off", None, "patch_2", "failure"),
        ("swapped", "patch_2", "patch_2", "failure"),
        ("normal", None, "patch_2", "success"),
        ("off", None, "patch_1", "failure"),
        ("swapped", "patch_3", "patch_3", "failure"),
    ]


# Cells of the tables in old reports, and what the report says in their place by now.
CHANGED_CELLS = {
    "like chance": "too few episodes to tell",  # Of so few choices no number would lie outside the band of chance.
    # Choices have a table of their own in report.html, so reasons no longer name them: their episodes are added up.
    **{f"wrong first choice: {one}": "wrong first choice" for one in ("drawer_middle", "drawer_top")},
    **{f"wrong first choice: patch_{number}": "wrong first choice" for number in range(4)},
}


def tables(report, *, changed=()):
    """Returns all rows of a report's tables, cells that have `changed` in new words, and the last cell where it counts.

    The counts of rows that have become equal are added up.
    """
    rows = defaultdict(int)  # A Counter would compare equal without the rows that count nothing.
    for line in report.splitlines():
        cells = line.removeprefix("| ").removesuffix(" |").split(" | ")
        cells = [dict(changed).get(cell, cell) for cell in cells]
        if line.startswith("| ") and cells[-1].isdigit():
            rows[tuple(cells[:-1])] += int(cells[-1])
        elif line.startswith("| "):
            rows[tuple(cells)] += 1
    return rows


def test_resuming_old_results_plays_nothing_that_is_done_and_makes_the_report_again(tmp_path, monkeypatch):
    folder = copied("results", tmp_path)
    before = json.loads((folder / "results.json").read_text())
    rows, report = ((folder / name).read_bytes() for name in ("episodes.jsonl", "report.md"))
    for name in ("results.json", "report.md", "report.html"):
        (folder / name).unlink()
    results, played = resumed(folder, monkeypatch)
    assert played == []
    assert (folder / "episodes.jsonl").read_bytes() == rows
    assert json.loads((folder / "results.json").read_text())["tasks"] == results["tasks"] == before["tasks"]
    assert results["run"]["wall_s"] == before["run"]["wall_s"]
    assert tables((folder / "report.md").read_text()) == tables(report.decode(), changed=CHANGED_CELLS)
    assert len(tables((folder / "report.md").read_text())) == 8, (
        "two headings, two policies on two tasks, and a reason for each task"
    )
    assert RESULTS_RUN in (folder / "report.html").read_text()


def test_old_rows_under_controls_give_the_results_and_tables_that_they_gave(tmp_path):
    folder = copied("controls", tmp_path)
    with ResultsFolder(folder) as opened:
        records = opened.records(CONTROLS_RUN)
    plan = composed(*CONTROLS_SETTINGS)
    results = summarised(plan, records, Parts(privileged=(), renderer="opengl"))
    before = json.loads((folder / "results.json").read_text())
    assert (results["tasks"], results["controls"]) == (before["tasks"], before["controls"])
    assert tables(markdown(results, records)) == tables((folder / "report.md").read_text(), changed=CHANGED_CELLS)


def test_old_results_that_were_interrupted_are_finished_by_playing_what_is_left(tmp_path, monkeypatch):
    folder = copied("results", tmp_path)
    before = json.loads((folder / "results.json").read_text())
    rows = (folder / "episodes.jsonl").read_bytes()
    (folder / "episodes.jsonl").write_bytes(rows[:-100])  # As a kill in the middle of the last row leaves it.
    results, played = resumed(folder, monkeypatch)
    assert played == [("guesser", "reopen_drawer/strict/test/1")]
    assert results["tasks"] == before["tasks"]
    whole = (folder / "episodes.jsonl").read_bytes().splitlines()
    assert whole[:7] == rows.splitlines()[:7]
    known = {"variation": "variant", "first_choice": "choice"}
    before = {known.get(name, name): value for name, value in json.loads(rows.splitlines()[7]).items()}
    assert json.loads(whole[7]) | {"wall_s": 0} == before | {"wall_s": 0}
