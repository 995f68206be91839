"""The answers of `launch.memory` as JSON, for programs: what text shows, with whole names and times of the site."""

import json
from contextlib import closing
from pathlib import Path

import pytest

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
from embodied.rollout.bank_feed.instruction_embedding import MODEL_ID, embed
from launch import memory
from launch.cli import Composed
from launch.memory import MemoryCommandConfig, What
from launch.memory_output import OutputFormat, json_text
from tests.memory.writers import EventFactory, home


@pytest.fixture
def shown(monkeypatch):
    """What a command prints, one entry per call."""
    printed = []
    monkeypatch.setattr("launch.cli.print_text", printed.append)
    return printed


@pytest.fixture
def folder(tmp_path):
    factory = EventFactory()
    with open_bank("sqlite:///site.db", root=tmp_path, clock=SimulatedClock(1e6)) as bank:
        bank.append([factory.event(place) for place in home()])
        begun = EpisodeBegun("put/7", "put the cup back", embedding=embed("put the cup back"), model_id=MODEL_ID)
        bank.append(factory.event(begun, 0.5))
        bank.append(factory.event(RobotRegistered("panda", "panda", (SkillSpec("pick"),)), 0.5, robot="panda"))
        bank.append(factory.state("panda", 0.5, 0.6))
        bank.append([factory.seen("put/7/cup", 1.0, float(t)) for t in range(1, 5)])
        interaction = Interaction("grasp", "put/7/cup", 5.0, 5.5, 6.0, 6.5)
        bank.append(factory.event(interaction, 6.5, robot="panda", cause=(4,)))
        bank.append(factory.event(SkillEnded("pick", success=True), 6.5, robot="panda"))
        bank.append(factory.moment(episode="put/7", entities=("put/7/cup",), time_s=7.0))
        bank.append(factory.event(EpisodeEnded("put/7", "success"), 8.0))
    return tmp_path


def asked(shown, folder, what, url="sqlite:///site.db", code=None, **settings):
    """Runs a command, and returns the one document that it prints."""
    config = MemoryCommandConfig(what=What(what), url=url, root=str(folder), format=OutputFormat.json, **settings)
    shown.clear()
    if code is None:
        memory.memory(Composed(config, ""))
    else:
        with pytest.raises(SystemExit) as ended:
            memory.memory(Composed(config, ""))
        assert ended.value.code == code
    (text,) = shown
    return json.loads(text)


def test_summary_and_status_are_documents(shown, folder):
    found = asked(shown, folder, "summary", limit=2)
    assert (found["kinds"]["entity_seen"], found["robots"]["panda"], found["last_s"]) == (4, 5, 8.0)
    assert found["skills"] == [{"robot": "panda", "skill": "pick", "context": "", "succeeded": 1, "failed": 0}]
    assert found["episodes"] == [{"episode": "put/7", "outcome": "success", "reason": ""}]
    assert (len(found["places"]), found["left_out"]["episodes"]) == (2, 0)
    (state,) = asked(shown, folder, "status")["banks"]
    assert (state["name"], state["head"], state["state"]) == ("site.db", found["head"], "closed")
    assert {writer["writer"] for writer in state["writers"]} == {EventFactory().seen("cup").writer}


@pytest.mark.parametrize(
    ("question", "wanted"),
    [
        ({"where": "cup"}, lambda found: found["location"]["pose"]["position_m"] == [1.0, 0.0, 0.0]),
        ({"where": "cup", "as_of_s": 0.1}, lambda found: found["location"] is None),
        ({"things": "all"}, lambda found: [one["name"] for one in found["things"]] == ["put/7/cup"]),
        ({"contents": "cup"}, lambda found: found["contents"] == []),
        ({"places": "kitchen"}, lambda found: "kitchen" in [one["name"] for one in found["places"]]),
        ({"skill": "pick"}, lambda found: found["robots"][0]["robot"] == "panda"),
        ({"similar": "put the cup"}, lambda found: found["episodes"][0]["episode"] == "put/7"),
        ({"nth": -1}, lambda found: found["events"][0]["payload"]["entity"] == "put/7/cup"),
        ({"nth": 9}, lambda found: found["events"] == []),
        ({"why": 10_000}, lambda found: found["events"] == []),
        ({"since": 0, "limit": 3}, lambda found: [event["seq"] for event in found["events"]] == [1, 2, 3]),
        ({"name": "cup"}, lambda found: found["moments"][0]["valid_time_s"] == 7.0),
        ({"name": "cup", "episode": "7"}, lambda found: found["moments"][0]["valid_time_s"] == 7.0),
    ],
)
def test_an_answer_is_one_document_with_whole_names_and_site_times(shown, folder, question, wanted):
    found = asked(shown, folder, "query", **question)
    assert wanted(found), found
    assert found["head"] > 0


def test_events_of_a_timeline_decode_as_those_of_an_export_do(shown, folder):
    found = asked(shown, folder, "timeline", name="cup", limit=2)
    assert (len(found["events"]), found["left_out"] > 0) == (2, True)
    first = found["events"][0]
    assert first.pop("withdrawn_by") is None
    with open_bank("sqlite:///site.db", root=folder, clock=SimulatedClock()) as bank:
        assert decode_event(json.dumps(first).encode()) == bank.event(first["seq"])


def test_commands_that_change_a_bank_say_what_they_did(shown, folder):
    output = str(folder / "backup.db")
    made = asked(shown, folder, "backup", output=output)
    assert asked(shown, folder, "restore", url="sqlite:///new.db", backup=output)["head"] == made["head"]
    assert asked(shown, folder, "verify")["sound"]
    seen = asked(shown, folder, "timeline", name="cup", kinds=["entity_seen"])["events"][0]["seq"]
    withdrawn = asked(shown, folder, "withdraw", seqs=[seen], reason="a wrong report")
    assert withdrawn == {"seq": made["head"] + 1, "withdrawn": [seen]}
    assert asked(shown, folder, "query", since=seen - 1, limit=1)["events"][0]["withdrawn_by"] == withdrawn["seq"]
    assert asked(shown, folder, "close_past", before_s=1.0)["seq"] == withdrawn["seq"] + 1
    assert asked(shown, folder, "reopen_past")["seq"] == withdrawn["seq"] + 2
    assert asked(shown, folder, "rebuild")["head"] == withdrawn["seq"] + 2
    assert asked(shown, folder, "retain")["left"] > 0
    assert asked(shown, folder, "export", output=str(folder / "events.jsonl"))["events"] > 0


def test_a_damaged_file_is_described_and_still_exits_with_1(shown, folder):
    content = (folder / "site.db").read_bytes()
    (folder / "site.db").write_bytes(content.replace(b"grasp", b"grasq"))
    found = asked(shown, folder, "verify", code=1)
    assert (found["sound"], found["output"]) == (False, None)
    assert "digest" in found["problems"][0]
    saved = asked(shown, folder, "verify", code=1, output=str(folder / "sound.db"))
    with open_bank("sqlite:///sound.db", root=folder) as bank:
        assert bank.head == saved["sound_events"] > 0


def test_what_an_outbox_holds_and_has_laid_aside_is_a_document(shown, tmp_path):
    with closing(Outbox(tmp_path / "arm.outbox")) as outbox:
        outbox.adopt("arm", 0)
        parcel = outbox.add([EventFactory().event(EntitySeen("cup", "cup", Pose()), writer="arm")])
        outbox.refuse(parcel, "why not\nforged")
        outbox.remove([parcel], at_once=True)
    found = asked(shown, tmp_path, "refused", url="sqlite:///arm.outbox")
    assert found["parcels"][0]["reason"] == "why not\nforged"
    assert found["parcels"][0]["events"][0]["payload"]["entity"] == "cup"
    assert asked(shown, tmp_path, "status", url="sqlite:///arm.outbox")["outboxes"][0]["laid_aside"] == 1
    again = asked(shown, tmp_path, "refused", url="sqlite:///arm.outbox", again=found["parcels"][0]["number"])
    assert again["waits_as"] > 0


def test_numbers_that_json_lacks_are_null():
    assert json.loads(json_text({"from_s": float("-inf"), "path": Path("a")})) == {"from_s": None, "path": "a"}
