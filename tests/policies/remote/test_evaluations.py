"""Evaluations of a policy behind a socket: what identifies them, what is refused, and what is played again."""

import json
import logging
import threading
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from websockets.sync.server import serve

from embodied.errors import ConfigError
from embodied.evaluation.controls import CONTROLS
from embodied.evaluation.evaluator import evaluate
from embodied.evaluation.plan import Evaluation
from embodied.evaluation.report_lines import remarks
from embodied.rollout.compute import ComputeConfig
from embodied.rollout.inline import InlineCompute
from embodied.rollout.worker import WorkerConfig
from embodied.types import Decision, EpisodeRecord, Outcome, Request
from policies.remote.config import RemotePolicyConfig
from tests.evaluation.notebook import CueTask, CueWorldConfig, Notebook
from tests.fakes import FakeControllerConfig
from tests.policies.remote.servers import PolicyServer, ServingPolicy, running

NAMES = """
version: 1
robot: panda
request:
  eye: {image: front}
  prompt: {text: instruction}
answer:
  space: keyframe
  fields:
    position: {column: 0}
    orientation: {column: 3}
    gripper: {column: 7}
    avoid_collisions: {column: 8}
"""


@dataclass(kw_only=True)
class StepNotebookConfig:
    def build(self) -> "StepNotebook":
        return StepNotebook()


class StepNotebook(Notebook):
    """Knows from the request where it is, so that its carry is nothing but memory."""

    def _decide(self, request: Request) -> Decision:
        page = {"written": None, **(request.carry or {}), "turn": request.step}
        return super()._decide(replace(request, carry=page))


def plan(policy, *, controls: tuple[str, ...] = (), episodes: int = 6) -> Evaluation:
    worker = WorkerConfig(
        simulator=CueWorldConfig(),
        controller=FakeControllerConfig(),
        tasks={"bin_block/strict": CueTask()},
        policies={"remote": policy},
        controls={name: CONTROLS[name]() for name in controls},
    )
    return Evaluation(suite="bins", tier="strict", worker=worker, episodes=episodes, seed=0, salt="")


def served(url: str, **settings):
    return RemotePolicyConfig(url=url, **{"outage_s": 5.0, "answer_timeout_s": 2.0, **settings}).pinned()


def run(plan: Evaluation, folder: Path, compute=None):
    return evaluate(plan, compute=compute or InlineCompute(plan.worker), output=folder, config="", videos=0)


def rows(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "episodes.jsonl").read_bytes().splitlines()]


def played(plan: Evaluation) -> list[EpisodeRecord]:
    """Plays all episodes without writing anything."""
    with InlineCompute(plan.worker) as compute:
        return [replace(result.record, run="", wall_s=0.0) for result in compute.run(list(plan.jobs()))]


def test_controls_through_the_socket_give_the_rows_of_controls_in_the_process():
    controls = ("off", "wiped", "swapped")
    here = played(plan(StepNotebookConfig(), controls=controls))
    with running(ServingPolicy(StepNotebook()).handle) as url:
        assert here == played(plan(served(url), controls=controls))
    assert {record.control for record in here} == {"normal", *controls}
    assert {record.outcome for record in here} == {Outcome.SUCCESS, Outcome.FAILURE}


def test_a_server_that_is_cut_off_again_and_again_ends_in_the_rows_of_an_undisturbed_run():
    here = played(plan(StepNotebookConfig(), controls=("swapped",), episodes=4))
    server = ServingPolicy(StepNotebook())
    number = count()

    def cut(_, socket, message):
        if next(number) % 7 != 5:
            return False
        socket.close_socket()
        return True

    server.before = cut
    with running(server.handle) as url:
        assert here == played(plan(served(url), controls=("swapped",), episodes=4))
    assert server.log.connections > 8


def test_episodes_lost_to_an_outage_are_invalid_and_played_again_when_the_run_is_resumed(tmp_path):
    here = played(plan(StepNotebookConfig()))
    server = ServingPolicy(StepNotebook())
    number = count()
    server.before = lambda _, socket, message: next(number) in (4, 5, 8) and (socket.close_socket() or True)
    with running(server.handle) as url:
        evaluation = plan(served(url, outage_s=0.0))
        run(evaluation, tmp_path / "there")
        lost = [row for row in rows(tmp_path / "there") if row["outcome"] == "invalid"]
        assert lost and all(row["reason"].startswith("OutageError: A policy server must keep") for row in lost)
        results = run(evaluation, tmp_path / "there")
    assert results["tasks"]["bin_block/strict"]["remote"]["invalid"] == 0
    last = {row["episode"]: (row["outcome"], row["steps"]) for row in rows(tmp_path / "there")}
    assert list(last.items()) == [(record.episode, (record.outcome, record.steps)) for record in here]
    assert len(rows(tmp_path / "there")) == 6 + len(lost)


def test_a_run_does_not_depend_on_where_the_policy_is_served_but_on_what_is(tmp_path):
    (tmp_path / "token").write_text("s3cret\n")
    policy = StepNotebook()
    with running(ServingPolicy(policy).handle) as url, running(ServingPolicy(policy).handle) as other:
        same = [
            plan(served(url)).run,
            plan(served(other)).run,
            plan(served(url, answer_timeout_s=9.0, token_file=str(tmp_path / "token"))).run,
        ]
    with running(ServingPolicy(policy, weights="cd34").handle) as url:
        another = plan(served(url)).run
    assert len(set(same)) == 1
    assert another != same[0]


def test_a_run_with_a_server_that_states_nothing_is_not_resumed_unless_it_is_given_an_identity(tmp_path):
    (tmp_path / "names.yaml").write_text(NAMES)
    settings = {"names": "names.yaml", "names_root": str(tmp_path)}
    server = PolicyServer(width=9)
    server.actions = lambda seen: np.float64([[0.5, 0.0, 0.1, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]])
    with running(server.handle) as url:
        run(plan(served(url, **settings)), tmp_path / "nameless")
        with pytest.raises(ConfigError, match=r"does not state its weights.*remote.*identity=TEXT"):
            run(plan(served(url, **settings)), tmp_path / "nameless")
        for _ in range(2):
            run(plan(served(url, identity="my pi0, step 30000", **settings)), tmp_path / "named")
        with pytest.raises(ConfigError, match="must hold one run"):
            run(plan(served(url, identity="another", **settings)), tmp_path / "named")


def test_parallel_episodes_of_a_server_without_sessions_are_refused_before_any_is_played(tmp_path):
    (tmp_path / "names.yaml").write_text(NAMES)
    server = PolicyServer(width=9)
    with running(server.handle) as url:
        evaluation = plan(served(url, names="names.yaml", names_root=str(tmp_path)))
        two = ComputeConfig(workers=2).build(evaluation.worker)
        with pytest.raises(ConfigError, match=r"one at a time.*2 at once.*compute.workers=1"):
            run(evaluation, tmp_path / "out", two)
    assert not server.log.messages and not (tmp_path / "out").exists()


def test_a_report_says_what_is_not_known_of_a_server(tmp_path):
    (tmp_path / "names.yaml").write_text(NAMES)
    server = PolicyServer(width=9)
    server.actions = lambda seen: np.float64([[0.5, 0.0, 0.1, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]])
    with running(server.handle) as url:
        settings = {"names": "names.yaml", "names_root": str(tmp_path)}
        results = run(plan(served(url, **settings), controls=("off",)), tmp_path / "stock")
    with running(ServingPolicy(StepNotebook()).handle) as url:
        ours = run(plan(served(url)), tmp_path / "ours")
    text = " ".join(remarks(results))
    assert "nothing proves that its memory was empty" in text and "cannot be resumed" in text
    assert "remote was not played under off: no memory" in text
    assert remarks(ours) == [
        "remote: It is served elsewhere (embodied); its server states name adder, version 1, weights ab12."
    ]
    assert "nothing proves" in (tmp_path / "stock" / "report.html").read_text()


def test_a_token_is_sent_and_stands_nowhere_else(tmp_path, caplog, monkeypatch):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("MY_TOKEN", "s3cret-token")
    server = ServingPolicy(StepNotebook())
    with running(server.handle) as url:
        policy = served(url, token_env="MY_TOKEN")
        run(plan(policy), tmp_path / "out")
    assert {headers["Authorization"] for headers in server.log.headers} == {"Api-Key s3cret-token"}
    ours = [record.getMessage() for record in caplog.records if record.name != "websockets.server"]
    assert "s3cret" not in repr((ours, policy))
    assert all("s3cret" not in file.read_text() for file in (tmp_path / "out").iterdir() if file.is_file())


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"url": ""}, "must have an address"),
        ({"url": "http://127.0.0.1:8000"}, "ws:// or wss://"),
        ({"url": "ws://127.0.0.1:abc"}, "ws:// or wss://"),
        ({"url": "ws://user:pass@127.0.0.1:8000"}, "neither user, password"),
        ({"url": "ws://127.0.0.1:8000?token=x"}, "neither user, password"),
        ({"url": "ws://10.1.2.3:8000", "token_env": "MY_TOKEN"}, "unencrypted"),
        ({"url": "ws://127.0.0.1:8000", "token_env": "NOT_SET"}, "must be set"),
        ({"url": "ws://127.0.0.1:8000", "token_file": "/nowhere"}, "readable text"),
        ({"url": "ws://127.0.0.1:8000", "token_file": "/nowhere", "token_env": "MY_TOKEN"}, "not both"),
        ({"url": "ws://127.0.0.1:8000", "replan_rows": 0}, "replan_rows"),
        ({"url": "ws://127.0.0.1:8000", "answer_timeout_s": float("nan")}, "answer_timeout_s"),
        ({"url": "ws://127.0.0.1:8000", "outage_s": -1.0}, "outage_s"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_their_rule(monkeypatch, settings, complaint):
    monkeypatch.setenv("MY_TOKEN", "s3cret-token")
    with pytest.raises(ConfigError, match=complaint) as refused:
        RemotePolicyConfig(**settings).pinned()
    assert "pass@" not in str(refused.value) and "s3cret" not in str(refused.value)


def test_a_token_that_is_refused_ends_a_run_at_once():
    with serve(lambda socket: None, "127.0.0.1", 0, process_request=forbid) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with pytest.raises(ConfigError, match="must accept the token"):
            served(f"ws://127.0.0.1:{server.socket.getsockname()[1]}")
        server.shutdown()
        thread.join()


def forbid(socket, request):
    return socket.respond(401, "no\n")
