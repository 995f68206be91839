"""The command line of memory banks, and evaluations that log their episodes to one."""

import json
import math
import os
import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from embodied.errors import ConfigError, EmbodiedError, UnknownNameError
from embodied.geometry import Pose
from embodied.memory import (
    EntitySeen,
    EpisodeBegun,
    EpisodeEnded,
    Interaction,
    Outbox,
    RobotRegistered,
    SimulatedClock,
    SkillEnded,
    SkillSpec,
    decode_event,
    open_bank,
)
from launch.memory_query import QuerySettings
from launch.memory_text import answer, json_lines, timeline
from tests.memory.writers import EventFactory, home

ROOT = Path(__file__).parents[2]


def enter(folder, door, *arguments):
    """Runs a door as a person would."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error::SyntaxWarning"}
    return subprocess.run(
        [sys.executable, "-m", f"launch.{door}", *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip


def payload(folder, *arguments, code=0):
    done = enter(folder, "memory", *arguments)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout if code < 2 else done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    factory = EventFactory()
    with open_bank("sqlite:///site.db", root=folder, clock=SimulatedClock(1e6)) as bank:
        bank.append([factory.event(place) for place in home()])
        bank.append(factory.event(RobotRegistered("panda", "panda", (SkillSpec("pick"),)), robot="panda"))
        bank.append(factory.state("panda", 0.5))
        bank.append([factory.seen("cup", 1.0, float(t)) for t in range(10)])
        bank.append(factory.put("cup", "in", "kitchen", time_s=9.0))
        interaction = Interaction("pick_place", "cup", 9.0, 9.5, 10.0, 10.5, source="shelf", target="table")
        bank.append(factory.event(interaction, 10.5, robot="panda", cause=(4,)))
        bank.append(factory.event(SkillEnded("pick", success=True), 10.5, robot="panda"))
        bank.append(factory.moment(entities=("cup",), time_s=11.0))
    return folder


def test_a_summary_counts_what_is_there(folder):
    text = payload(folder, "summary", "url=sqlite:///site.db")
    assert "18 events up to number 18, from 0.00 s to 11.00 s" in text
    assert re.search(r"entity_seen +10\n", text)
    assert re.search(r"kitchen +region of home\n", text)
    assert re.search(r"panda pick +1 of 1, Beta\(2, 1\)\n", text)


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ({"where": "cup"}, r"at +\(1\.000, 0\.000, 0\.000\) m\n +in +kitchen\n +place +kitchen\n +since +9\.00 s"),
        ({"where": "cup", "as_of_s": 3.5}, r"since +3\.00 s, event 8"),
        ({"contents": "kitchen"}, r"^cup$"),
        ({"skill": "pick", "near_m": [0.6, 0.0, 0.0]}, r"panda +1\.5 s, success 67 %, 0\.10 m away"),
        ({"why": 16}, r" 4 .*idle at[^\n]*\n.* 16  panda  pick place: cup from shelf to table"),
        ({"nth": -1, "name": "cup", "robot": "panda"}, r"10\.50 s +16  panda  pick place: cup"),
        ({"since": 16}, r"17  panda  skill pick: success\n.* 18  panda  moment stored \(m, 4 values\) cup"),
        ({"name": "cup"}, r"11\.00 s +18  panda +\(0\.00, 0\.00, 0\.00\) m  m  cup"),
        ({"name": "cup", "to_s": 10.0}, r"^No moments fit"),
        ({"where": "cup", "as_of_s": -1.0}, r"^No location of cup has been recorded by -1 s\.$"),
        ({"skill": "pick", "near": "cup", "name": "cup"}, r"panda +2\.0 s, success 50 %, 0\.50 m away"),
        ({"nth": -1, "action": "pick place"}, r"10\.50 s +16  panda  pick place: cup"),
        ({"nth": -1, "action": "pick_place"}, r"10\.50 s +16  panda  pick place: cup"),
        ({"nth": 1, "name": "kitchen", "action": "pick place"}, r"^There is no such interaction"),
        ({"why": 99}, r"^There is no such event"),
        ({"since": 18}, r"^Nothing has changed since event 18; the newest event is 18\.$"),
        ({"since": 9999}, r"^Nothing has changed since event 9999; the newest event is 18\.$"),
        ({"since": 16, "kinds": ["interaction"]}, r"^Nothing that fits has changed since event 16; the newest"),
        ({"since": 0, "limit": 1}, r"^ +0\.00 s +1 +home is a site$"),
    ],
    ids=str,
)
def test_a_query_is_answered(folder, asked, wanted):
    with open_bank("sqlite:///site.db", root=folder) as bank:
        assert re.search(wanted, "\n".join(answer(bank, QuerySettings(**asked))), re.MULTILINE)


@pytest.fixture(scope="module")
def worlds():
    """A bank of eleven episodes, in each of which there is a block and a chest with two handles."""
    factory = EventFactory()
    with open_bank(":memory:") as bank:
        for number in range(11):
            name = f"run/expert/task/{number}"
            bank.append(factory.event(EpisodeBegun(name, "tidy up")))
            for thing in ("block", "top/handle", "low/handle"):
                bank.append(factory.seen(f"{name}/{thing}", float(number)))
        bank.append([factory.seen("run/expert/task/3/key"), factory.seen("handle")])
        yield bank


def test_the_end_of_a_name_is_enough_where_only_one_ends_so(worlds):
    def where(**asked):
        return next(answer(worlds, QuerySettings(**asked)))

    assert where(where="key") == "run/expert/task/3/key"
    assert where(where="4/block") == "run/expert/task/4/block"
    assert where(where="4/top/handle") == "run/expert/task/4/top/handle"
    assert where(where="block", episode="task/7") == where(where="7/block") == "run/expert/task/7/block"
    assert where(where="handle") == where(where="handle", episode="task/7") == "handle", "what fits whole goes first"
    lines = list(timeline(worlds, QuerySettings(name="3/block", kinds=["entity_seen"])))
    assert "run/expert/task/3/block" in lines[0]
    (line,) = json_lines(worlds, QuerySettings(name="key"))
    assert '"run/expert/task/3/key"' in line


def test_a_name_of_another_episode_is_described_as_one(worlds):
    for typed in ("task/3/block", "3/block", "key", "run/expert/task/3/block", "3/top/handle"):
        for asked in ({"where": typed}, {"contents": typed}, {"nth": 1, "name": typed}):
            with pytest.raises(ConfigError, match=r"task/3/\S+' belongs to another episode than 'run/expert/task/7'"):
                list(answer(worlds, QuerySettings(**asked, episode="task/7")))
    with pytest.raises(ConfigError, match=r"'run/expert/task/1/block' belongs to another episode than .*task/10'"):
        list(answer(worlds, QuerySettings(where="1/block", episode="task/10")))
    with pytest.raises(UnknownNameError, match="An episode in this bank must be one that exists"):
        list(answer(worlds, QuerySettings(where="3/block", episode="task/77")))


def test_the_end_of_several_names_lists_ten_of_them_and_how_many_more(worlds):
    with pytest.raises(ConfigError, match="may be any of 11") as several:
        list(answer(worlds, QuerySettings(where="block")))
    assert len(re.findall(r"  run/expert/task/\d+/block\n", str(several.value))) == 10
    assert "... and 1 more" in str(several.value)
    assert "episode=" in str(several.value)


@pytest.fixture(scope="module")
def slots():
    """A bank of two episodes that began at 1,000 s and 1,200 s of the site, in each of which a cup is moved at 5 s."""
    factory = EventFactory()
    with open_bank(":memory:") as bank:
        for name, start_s in (("run/expert/task/0", 1000.0), ("run/expert/task/1", 1200.0)):
            cup = f"{name}/cup"
            bank.append(factory.event(EpisodeBegun(name, "tidy up"), start_s, task=name))
            bank.append([factory.seen(cup, float(second), start_s + second) for second in range(10)])
            moved = Interaction("pick_place", cup, start_s + 5.0, start_s + 5.5, start_s + 6.0, start_s + 6.5)
            bank.append(factory.event(moved, start_s + 9.0, robot="panda", task=name))
            bank.append(factory.moment(episode=name, time_s=start_s + 9.5, entities=(cup,)))
            bank.append(factory.event(EpisodeEnded(name, "success"), start_s + 12.0, task=name))
        yield bank


def test_with_an_episode_times_count_from_its_beginning(slots):
    def ask(**asked):
        return "\n".join(answer(slots, QuerySettings(**asked)))

    for episode, number in (("task/0", 2), ("task/1", 16)):
        assert f"since    3.00 s, event {number + 3}" in ask(where="cup", episode=episode, as_of_s=3.5)
        assert ask(where="cup", episode=episode, as_of_s=-1.0) == "No location of cup has been recorded by -1 s."
        assert re.search(rf"^ +9\.50 s +{number + 11}  panda .* cup$", ask(name="cup", episode=episode, from_s=9.0))
        assert ask(name="cup", episode=episode, to_s=9.0).startswith("No moments fit")
        assert re.search(r"9\.00 s$", ask(things="all", episode=episode))
        assert re.search(r"3\.00 s$", ask(things="all", episode=episode, as_of_s=3.0))
        assert re.search(rf"^ +9\.00 s +{number + 10}  panda  pick place: cup", ask(nth=-1, episode=episode))
        assert ask(nth=-1, episode=episode, to_s=8.0) == "There is no such interaction."
        lines = list(timeline(slots, QuerySettings(episode=episode, from_s=8.0, to_s=9.0, kinds=["entity_seen"])))
        assert lines == ["Nothing that fits has happened."]  # Sightings here belong to no episode.
        lines = list(timeline(slots, QuerySettings(episode=episode, kinds=["interaction"])))
        assert [line.split()[:2] for line in lines] == [["9.00", "s"]]
        (line,) = json_lines(slots, QuerySettings(episode=episode, from_s=8.0, kinds=["interaction"]))
        assert json.loads(line)["valid_time_s"] == {"task/0": 1009.0, "task/1": 1209.0}[episode]
    assert "since    1003.00 s" in ask(where="0/cup", as_of_s=1003.5)
    assert "1209.00 s" in ask(nth=-1)


def test_an_unknown_name_is_answered_with_the_nearest_end(worlds):
    for asked, hint in (
        ({"where": "blok"}, "'block'"), ({"where": "top/handel"}, "'top/handle'"), ({"episode": "taks/7"}, "'task/7'"),
        ({"where": "lock", "episode": "task/7"}, "'block'"), ({"where": "10/blokc"}, "'10/block'"),
    ):  # fmt: skip
        with pytest.raises(UnknownNameError, match=f"Did you mean {hint}"):
            list(answer(worlds, QuerySettings(**asked)))
    with pytest.raises(UnknownNameError, match=r"Known, by their ends:\n  block\n  handle\n  key$"):
        list(answer(worlds, QuerySettings(where="zzz")))


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ({"skill": "pikc"}, r"skill .* must be one that exists\. .*Did you mean 'pick'\?"),
        ({"skill": "pick", "near_m": [0.4, math.nan, 0.8]}, "`near_m` must be a point"),
        ({"skill": "pick", "near_m": [0.4, 0.8]}, "`near_m` must be a point"),
        ({"nth": 1, "robot": "pnada"}, r"robot .* must be one that exists\. .*Did you mean 'panda'\?"),
        ({"name": "kitchem"}, r"Did you mean 'kitchen'\?"),
        ({"place": "kitchn"}, r"place .* must be one that exists\. .*Did you mean 'kitchen'\?"),
        ({"nth": 1, "action": "press"}, r"An action .* must be one that exists\. .*:\n  pick_place$"),
        ({"nth": 1, "action": "pick plac"}, r"Did you mean 'pick_place'\?"),
        ({"nth": 0}, r"`nth` must count from 1, or from -1 backwards\. Got 0"),
        ({"why": 0}, r"`why` must be a whole number from 1\. Got 0"),
        ({"why": -3}, "`why` must be a whole number from 1"),
        ({"since": -5}, r"`since` must be a whole number from 0\. Got -5"),
        ({"similar": "?!"}, r"An instruction must have words\. Got '\?!'"),
        ({"from_s": math.nan}, "An interval of time must have"),
        ({"where": "cup", "as_of_s": math.nan}, "`as_of_s` must be a number that is not NaN"),
    ],
    ids=str,
)
def test_an_invalid_query_is_refused_with_the_nearest_valid_name(folder, asked, wanted):
    with open_bank("sqlite:///site.db", root=folder) as bank, pytest.raises(EmbodiedError, match=wanted):
        list(answer(bank, QuerySettings(**asked)))


def test_the_door_answers_too(folder):
    assert "event 8" in payload(folder, "query", "url=sqlite:///site.db", "where=cup", "as_of_s=3.5")


def test_a_timeline_lists_in_order_and_what_was_left_out(folder):
    lines = payload(folder, "timeline", "url=sqlite:///site.db").splitlines()
    assert [line.split()[2] for line in lines] == ["1", "2", "3", "15", "16", "17"]
    shown = payload(
        folder, "timeline", "url=sqlite:///site.db", "name=cup", "kinds=[entity_seen]", "limit=2", "from_s=5"
    )
    assert shown.splitlines()[-1] == "... 3 more; limit=5 shows all"


def test_a_timeline_of_a_thing_in_an_episode_contains_that_thing_there():
    factory = EventFactory()

    def seen(thing, task):
        return factory.event(EntitySeen(thing, "cube", Pose()), task=task)

    with open_bank(":memory:") as bank:
        bank.append(factory.event(EpisodeBegun("run/1", "tidy up")))
        bank.append([seen(thing, "run/1") for thing in ("run/1/cup", "run/1/pot", "kitchen", "kitchen")])
        bank.append(seen("kitchen", "run/2"))
        logged = {
            name: len(list(timeline(bank, QuerySettings(name=name, episode="run/1")))) for name in ("cup", "kitchen")
        }
        assert logged == {"cup": 1, "kitchen": 2}
        assert len(list(timeline(bank, QuerySettings(name="kitchen")))) == 3


def test_an_export_reads_back_as_the_same_events(folder):
    assert "18 events" in payload(folder, "what=export", "url=sqlite:///site.db", "output=events.jsonl")
    lines = (folder / "events.jsonl").read_text().splitlines()
    with open_bank("sqlite:///site.db", root=folder) as bank:
        assert [decode_event(line) for line in lines] == bank.changes_since(0)
    few = payload(folder, "export", "url=sqlite:///site.db", "kinds=[interaction]").splitlines()
    assert [json.loads(line)["seq"] for line in few] == [16]


def test_a_sound_file_is_reported_to_be_and_a_damaged_one_names_the_event_and_gives_its_prefix(folder):
    assert "site.db is sound: 18 events" in payload(folder, "verify", "url=sqlite:///site.db")
    content = (folder / "site.db").read_bytes()
    assert content.count(b"shelf") >= 1
    (folder / "bad.db").write_bytes(content.replace(b"shelf", b"shelg"))
    text = payload(folder, "verify", "url=sqlite:///bad.db", code=1)
    assert "Event 16 does not match its digest." in text
    again = re.search(r"python -m launch\.memory (verify .*)", text).group(1)
    assert "Events 1 to 15 are sound; they are in" in payload(folder, *again.split(), code=1)
    with open_bank("sqlite:///bad-sound.db", root=folder) as bank:
        assert bank.head == 15
        assert bank.where_is("cup").parent == "kitchen"
    assert "must be intact" in payload(folder, "summary", "url=sqlite:///bad.db", code=2)


def test_retention_says_what_it_forgot(folder):
    (folder / "lean.db").write_bytes((folder / "site.db").read_bytes())
    text = payload(folder, "retain", "url=sqlite:///lean.db", "retention.fresh_s=0")
    assert re.search(r"8 +sightings that say the same\n +11 +events are left", text)
    assert "The projections are made again" in payload(folder, "rebuild", "url=sqlite:///lean.db")


def test_an_operator_withdraws_a_wrong_event(folder):
    (folder / "wrong.db").write_bytes((folder / "site.db").read_bytes())
    with open_bank("sqlite:///wrong.db", root=folder) as bank:
        last = bank.history("cup", kinds=("entity_seen",))[-1]
    found = payload(folder, "withdraw", "url=sqlite:///wrong.db", f"seqs=[{last.seq}]", "reason='a reflection'")
    assert f"{last.seq}  cup" in found
    assert f"(withdrawn by {bank_head(folder)})" in payload(folder, "timeline", "url=sqlite:///wrong.db", "name=cup")


def bank_head(folder):
    with open_bank("sqlite:///wrong.db", root=folder) as bank:
        assert bank.event(bank.head).writer == "site/operator"
        return bank.head


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["query", "url=sqlite:///none.db"], "must be a file that exists"),
        (["look", "url=sqlite:///site.db"], "Known: summary, query"),
        (["query", "url=sqlite:///site.db", "where=cupp"], "Did you mean 'cup'?"),
        (["query", "url=sqlite:///site.db", "where=cup", "as_of_s=nan"], "`as_of_s` must be a number that is not NaN"),
        (["query", "url=sqlite:///site.db", "nth=0"], "`nth` must count from 1"),
        (["query", "url=sqlite:///site.db", "nth=x"], "'nth' must be a whole number. Got 'x'"),
        (["query", "url=sqlite:///site.db", "similar=?!"], "similar=\"'put it back!'\""),
        (["query", "url=sqlite:///site.db", "similar='?!'"], "An instruction must have words. Got '?!'"),
        (["query", "url=sqlite:///site.db", "limit=0"], "limit must be at least 1"),
        (["summary", "url=sqlite:///../site.db", "root=."], "must lie inside its root"),
        (["export", "url=sqlite:///site.db", "output=site.db"], "must be a new file"),
        (["summary"], "'url' must be given"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_invalid_arguments_are_refused_in_one_message(folder, arguments, wanted):
    assert wanted in payload(folder, *arguments, code=2)
    assert not (folder / "none.db").exists()


def test_what_an_outbox_has_laid_aside_is_listed_and_sent_again(tmp_path):
    factory = EventFactory()
    with closing(Outbox(tmp_path / "arm.outbox")) as outbox:
        outbox.adopt("arm", 0)
        for text, payload_ in (("two parents", factory.put("cup", "in", "sink")), ("too late", factory.seen("cup"))):
            parcel = outbox.add([msgspec.structs.replace(payload_, writer="arm", writer_seq=0)])
            outbox.refuse(parcel, text)
            outbox.remove([parcel], at_once=True)
        arguments = ("refused", "url=sqlite:///arm.outbox")
        listed = payload(tmp_path, *arguments)
        assert re.search(
            r"2 parcels are laid aside.*parcel 1: 1 events of arm\n +two parents\n.*cup.*sink", listed, re.S
        )
        assert "has it open" in payload(tmp_path, *arguments, "again=1", code=2)
    assert "waits as parcel 3" in payload(tmp_path, *arguments, "again=1")
    open_bank(f"sqlite:///{tmp_path}/run.db").close()
    assert "the 1 events of parcel 2" in payload(tmp_path, *arguments, "again=2", "bank=sqlite:///run.db")
    assert "Laid aside: none" in payload(tmp_path, *arguments, "again=2", code=2)
    assert "no parcel is laid aside" in payload(tmp_path, *arguments)
    with open_bank(f"sqlite:///{tmp_path}/run.db") as bank:
        assert [event.kind for event in bank.changes_since(0)] == ["relation_set", "entity_seen"]
    assert "must be an outbox" in payload(tmp_path, "refused", "url=sqlite:///run.db", code=2)


def test_a_bank_that_another_process_owns_is_read_as_of_its_newest_event_and_not_changed(folder):
    (folder / "busy.db").write_bytes((folder / "site.db").read_bytes())
    with open_bank("sqlite:///busy.db", root=folder) as bank:
        factory = EventFactory()
        factory.numbers["panda"] = bank.last_of_writer("panda")[0]
        bank.append(factory.seen("cup", 3.0, 20.0))
        for what in ("verify", "retain", "rebuild"):
            assert f"Process {os.getpid()} has it open" in payload(folder, what, "url=sqlite:///busy.db", code=2)
        done = enter(folder, "memory", "query", "url=sqlite:///busy.db", "where=cup")
        assert done.returncode == 0, done.stderr
        assert "Another process has the bank open: the answer is as of event 19." in done.stderr
        assert "at       (3.000, 0.000, 0.000) m" in done.stdout
        assert bank.head == 19


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluated")
    command = [
        "compute=inline", "suite.tasks=[put_block_back]", "suite.spec=1", "policy=[expert]", "episodes=1", "videos=0",
        "salt=5a17", "memory.url=sqlite:///run.db", "memory.truth_url=sqlite:///truth.db", "output=out",
    ]  # fmt: skip
    done = enter(folder, "evaluate", *command)
    assert done.returncode == 0, done.stderr
    return folder, command


def test_an_evaluation_logs_what_was_true_in_the_bank_of_the_truth(evaluated):
    folder, _ = evaluated
    record = json.loads((folder / "out" / "episodes.jsonl").read_text().splitlines()[-1])
    episode = f"{record['run']}/expert/{record['episode']}"
    with open_bank("sqlite:///truth.db", root=folder) as bank:
        interactions = [event.payload.action for event in bank.history("panda", kinds=("interaction",))]
        assert interactions == ["pick_place", "press", "pick_place"]
        first, last = (bank.nth_interaction(n, entity=f"{episode}/block").payload for n in (1, -1))
        assert first.source == last.target == bank.where_is(f"{episode}/block").parent
        (end,) = bank.history(kinds=("episode_ended",))
        assert (end.payload.episode, end.payload.outcome) == (episode, "success")


def test_the_bank_of_the_truth_says_who_can_what_which_episodes_are_alike_and_what_places_there_are(evaluated):
    folder, _ = evaluated
    with open_bank("sqlite:///truth.db", root=folder) as bank:

        def ask(**asked):
            return "\n".join(answer(bank, QuerySettings(**asked)))

        assert re.search(
            r"panda +\d\.\d s, success 75 %, 0\.\d\d m away", ask(skill="pick", near="block", name="block")
        )
        assert "No robot can pick there" in ask(skill="pick", near_m=[9.0, 0.0, 0.0])
        skills = {event.payload.skill for event in bank.history("panda", kinds=("skill_ended",))}
        assert skills == {"move", "pick", "place", "press"}
        assert re.search(
            r"put_block_back/strict/test/0 +0\.\d+  move the block to the centre", ask(similar="put it back")
        )
        places = ask(places="strict/test/0", as_of_s=1.0)
        assert re.search(
            r"^  \S+/test/0 +site\n    \S+/table +carrier, x -0\.50 to 0\.90 m.*\n      \S+ +slot", places, re.M
        )
        assert "slot" in ask(places="all")
        at = bank.where_is(bank.nth_interaction(-1, action="pick_place").payload.entity)
        assert at.place == at.parent
        with pytest.raises(ConfigError, match="must have words"):
            ask(similar="?")
    text = payload(folder, "summary", "url=sqlite:///truth.db", "limit=3")
    assert re.search(r"Places, the last 3 of \d+\n( +\S+ +slot of .*\n){3}\n", text)


def test_its_report_shows_the_timeline_and_the_things_from_above(evaluated):
    folder, _ = evaluated
    text = (folder / "out" / "report.html").read_text()
    section = text[text.index("What the memory banks hold") : text.index("How far episodes came")]
    assert section.count("<svg") == 4
    for words in ("held by panda", "pick and place block", "on centre", "patch 3", "returned", "seconds on the site"):
        assert words in section, words
    assert re.search(r"pick place: block from patch_\d to centre", section)


def test_the_bank_of_beliefs_answers_by_names_of_its_own_and_says_what_things_look_like(evaluated):
    folder, _ = evaluated
    with open_bank("sqlite:///run.db", root=folder) as bank:
        first = bank.nth_interaction(1, action="pick_place").payload
        ended = bank.history(kinds=("episode_ended",))
        assert [event.payload.outcome for event in ended] == ["ended"]
    assert re.fullmatch(r".*/panda/object-\d{4}", first.entity)
    name = first.entity.rpartition("/")[2]
    text = payload(folder, "query", "url=sqlite:///run.db", f"where={name}")
    assert re.search(r"looks +green box object\n", text)
    assert re.search(r"  on +\S+/panda/object-\d{4}\n", text)
    assert "(memory.identity=own)" in (folder / "out" / "report.md").read_text()
    assert json.loads((folder / "out" / "results.json").read_text())["run"]["memory"] == {
        "identity": "own", "labels": "own", "look_hz": 2.0,
    }  # fmt: skip


def test_playing_it_again_logs_nothing_twice(evaluated):
    folder, command = evaluated
    heads = {}
    for name in ("run", "truth"):
        with open_bank(f"sqlite:///{name}.db", root=folder) as bank:
            heads[name] = bank.head
    done = enter(folder, "evaluate", *command[:-1], "output=again")
    assert done.returncode == 0, done.stderr
    for name, head in heads.items():
        with open_bank(f"sqlite:///{name}.db", root=folder) as bank:
            assert bank.head == head > 0


def test_workers_on_ray_log_to_one_owner(tmp_path):
    done = enter(
        tmp_path, "evaluate", "compute.workers=2", "suite.tasks=[put_block_back]", "policy=[expert,guesser]",
        "episodes=1", "videos=0", "memory.url=sqlite:///run.db", "output=out",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with open_bank("sqlite:///run.db", root=tmp_path) as bank:
        ended = bank.history(kinds=("episode_ended",))
        assert [event.payload.outcome for event in ended] == ["ended", "ended"], (
            "what came of it is the judge's to know"
        )
        assert not bank.verify().problems


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        (["memory.url=run.db", "compute=inline"], "must name an SQLite file"),
        (["memory.url=sqlite:///:memory:"], "must lie in a file"),
        (["memory.url=sqlite:///run.db", "memory.capacity=0"], "memory.capacity"),
        (["memory.url=sqlite:///run.db", "memory.look_hz=21"], "memory.look_hz must lie in"),
        (["memory.url=sqlite:///run.db", "memory.truth_url=sqlite:///run.db"], "must name two banks"),
        (["memory.truth_url=sqlite:///run.db"], "must stand beside one of beliefs"),
        (["memory.url=sqlite:///run.db", "memory.pose_rate_hz=0"], "memory.pose_rate_hz must lie in"),
        (["memory.ulr=sqlite:///run.db"], "Did you mean memory.url?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_bank_that_cannot_be_is_refused_before_anything_is_played(tmp_path, settings, wanted):
    done = enter(tmp_path, "evaluate", "output=out", *settings)
    assert done.returncode == 2
    assert wanted in done.stderr
    assert not list(tmp_path.iterdir())


def test_benches_of_memory_go_through_the_door_of_benches(tmp_path):
    few = ["memory_faults.kills=1", "memory_faults.flips=2", "memory_faults.writers=2"]
    done = enter(tmp_path, "bench", "what=memory_faults", "seed=7", "output=faults.json", *few)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "faults.json").read_text())
    assert (result["kills"]["kills"], result["kills"]["lost"], result["flips"]["missed"]) == (1, 0, 0)
    done = enter(tmp_path, "bench", "what=memory", "memory.top_k=0", "output=memory.json")
    assert done.returncode == 2
    assert "memory" in done.stderr


def test_things_are_listed_with_their_looks_place_and_last_sighting(tmp_path):
    factory = EventFactory()
    with open_bank("sqlite:///things.db", root=tmp_path, clock=SimulatedClock(1e6)) as bank:
        bank.append([factory.event(place) for place in home()])
        names = [f"run/{episode}/panda/object-000{number}" for episode in (1, 2) for number in (1, 2)]
        for number, (name, colour) in enumerate(zip(names, ("green", "red") * 2, strict=True), start=1):
            seen = EntitySeen(name, "cube", Pose((float(number), 0.0, 0.5)), labels=(colour,))
            bank.append(factory.event(seen, 10.0 * number))
        every = list(answer(bank, QuerySettings(things="all")))
        assert every[0].split() == ["name", "looks", "where", "last", "seen"]
        assert len(every) == 5
        assert re.search(r"^1/panda/object-0001 +green cube .*\(1\.00, 0\.00, 0\.50\) m +10\.00 s$", every[1])
        red = list(answer(bank, QuerySettings(things="red")))[1:]
        assert [row.split() for row in red] == [every[2].split(), every[4].split()]
        (early,) = list(answer(bank, QuerySettings(things="all", as_of_s=10.0)))[1:]
        assert early.split()[0] == "object-0001"  # No other thing was known by then.
        assert list(answer(bank, QuerySettings(things="all", limit=1)))[-1] == "... 3 more; limit=4 shows all"
        with pytest.raises(UnknownNameError, match="Did you mean 'green'"):
            list(answer(bank, QuerySettings(things="gren")))
