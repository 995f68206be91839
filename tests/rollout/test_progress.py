"""What a person sees of a run that takes long."""

import io
import re
import time
from dataclasses import replace

import pytest

from embodied.rollout import progress
from embodied.rollout.inline import InlineCompute
from embodied.rollout.job import JobResult
from embodied.rollout.progress import Tally, with_progress
from embodied.types import Outcome
from tests.evaluation.fakes import drawn
from tests.rollout.test_worker import CONFIG, JOB


class Screen(io.StringIO):
    """A terminal of no known width, or a file."""

    def __init__(self, *, terminal):
        super().__init__()
        self.isatty = lambda: terminal


def results(*outcomes):
    jobs = [replace(JOB, seed=seed) for seed in range(len(outcomes))]
    record = drawn(CONFIG, JOB, wall_s=0.1)
    return jobs, [JobResult(job, replace(record, outcome=end)) for job, end in zip(jobs, outcomes, strict=True)]


OUTCOMES = (Outcome.SUCCESS, Outcome.FAILURE, Outcome.INVALID, Outcome.SUCCESS)


def test_outside_a_terminal_a_line_says_how_many_are_done_how_they_ended_and_how_long_it_takes(monkeypatch, caplog):
    monkeypatch.setattr(progress.sys, "stderr", Screen(terminal=False))
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.05)
    caplog.set_level("INFO")
    jobs, played = results(*OUTCOMES)

    def slowly():
        yield from played[:3]
        until = time.monotonic() + 10.0
        while "3 of 4" not in caplog.text and time.monotonic() < until:
            time.sleep(0.01)
        yield played[3]

    assert list(with_progress(slowly(), jobs)) == played
    assert re.search(r"3 of 4 episodes after 0 s: success 50 %, invalid 1, 0 s left", caplog.text)


def test_in_a_terminal_the_bar_shows_success_and_invalid_episodes_even_where_it_has_no_width(monkeypatch):
    screen = Screen(terminal=True)
    monkeypatch.setattr(progress.sys, "stderr", screen)
    jobs, played = results(*OUTCOMES)
    assert list(with_progress(played, jobs)) == played
    last = screen.getvalue().strip().rpartition("\r")[2]
    assert "4/4" in last
    assert "success 67 %, invalid 1" in last


def test_chains_count_by_their_episodes_and_replays_are_videos():
    chain = replace(JOB, later=(replace(JOB, seed=1), replace(JOB, seed=2)))
    assert progress._tally([chain, JOB]).total == 4
    assert progress._tally([replace(JOB, video=True)]).unit == "video"
    assert progress._tally(iter([chain])).total is None


@pytest.mark.parametrize(("seconds", "text"), [(12.3, "12 s"), (600.0, "10 min"), (11100.0, "3 h 05 min")])
def test_durations_are_written_as_people_read_them(seconds, text):
    assert f"after {text}: " in Tally(None).line(seconds)


def test_before_the_first_result_neither_a_rate_nor_the_time_left_is_claimed():
    assert Tally(5).line(60.0) == "0 of 5 episodes after 60 s: success -, invalid 0"


def test_this_process_says_that_it_plays():
    assert InlineCompute(CONFIG).place == "in this process"
