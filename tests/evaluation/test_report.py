"""One file that needs no other, safe whatever a reason says."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from embodied.evaluation.controls import Off, Swapped
from embodied.evaluation.curves import Curves
from embodied.evaluation.label_placement import LabelPlacement
from embodied.evaluation.metrics import reasons
from embodied.evaluation.preflight import Parts
from embodied.evaluation.report import Attached, Clip, html, markdown, terminal_table
from embodied.evaluation.report_episodes import choice_tables
from embodied.evaluation.report_lines import lines
from embodied.evaluation.summary import summarised
from embodied.evaluation.videos import episodes_to_show, video_name
from embodied.tasks.memorybench.base import Tier
from embodied.tasks.memorybench.reopen_drawer import ReopenDrawer
from embodied.types import Outcome
from tests.evaluation.fakes import drawn, evaluation

VOID = {"meta", "br", "path", "use", "hr"}


@pytest.fixture(scope="module")
def plan():
    return evaluation(episodes=12)


@pytest.fixture(scope="module")
def records(plan):
    return [drawn(plan.worker, job, wall_s=1.5) for job in plan.jobs()]


@pytest.fixture(scope="module")
def results(plan, records):
    return summarised(plan, records, Parts(("expert", "guesser"), "none"))


@pytest.fixture(scope="module")
def page(results, records, tmp_path_factory):
    video = tmp_path_factory.mktemp("videos") / "video.mp4"
    video.write_bytes(b"\x00film")
    return html(results, records, config="seed: 0 # <script>\n", attached=Attached(clips=[Clip(records[0], video)]))


class _Balance(HTMLParser):
    """Checks that every element is closed, and remembers what is referred to."""

    def __init__(self):
        super().__init__()
        self.open, self.sources, self.tags = [], [], set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href", "xlink:href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)


def test_the_page_is_whole_and_needs_no_other_file(page):
    parser = _Balance()
    parser.feed(page)
    assert parser.open == []
    assert {"video", "svg", "table"} <= parser.tags
    assert all(source.startswith(("data:video/mp4;base64,", "#")) for source in parser.sources)
    assert "script" not in parser.tags


def test_a_reason_cannot_become_markup(page, records):
    assert any("<b>" in record.reason for record in records)
    assert "<b>|unreachable|" not in page
    assert "&lt;b&gt;|unreachable|" in page
    assert "&lt;script&gt;" in page


def test_figures_follow_the_colour_of_the_page_and_share_no_ids(page):
    assert "currentColor" in page
    assert "#0a0b0c" not in page
    names = re.findall(r' id="([^"]+)"', page)
    assert len(names) == len(set(names))


def test_the_page_says_what_it_was_made_with(page, results):
    for fact in (
        results["run"]["cpu"],
        results["run"]["id"],
        "<dt>split</dt><dd>test</dd>",
        "all answers are equally",
        "pybullet 3.2.7",
        "seed 0",
    ):
        assert fact in page


def test_the_same_rows_give_the_same_page(results, records):
    pages = {html(results, records, config="") for _ in range(2)}
    assert len(pages) == 1


def test_a_pipe_in_a_reason_does_not_break_a_markdown_table(results, records):
    rows = [line for line in markdown(results, records).splitlines() if line.startswith("|")]
    assert any("\\|unreachable\\|" in row for row in rows)
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {11, 6}


def test_the_verdict_distinguishes_memory_from_guessing(results):
    verdicts = {(line.task, line.policy): line.conclusion for line in lines(results)}
    assert verdicts["put_block_back/strict", "expert"] == "above chance"
    assert verdicts["put_block_back/strict", "guesser"] == "like chance"
    assert verdicts["put_block_back/strict", "random"] == "never chose"


def test_the_same_mishap_at_two_places_is_one_reason(records):
    failed = replace(records[0], outcome=Outcome.FAILURE, reason="unreachable: [0.1, -0.2, 3e-05] m")
    other = replace(failed, reason="unreachable: [1, 2.5, 0.0] m")
    assert reasons([failed, other]) == {("failure", "unreachable: [...] m"): 2}


def test_videos_show_one_success_and_a_failure_of_each_other_policy(records):
    chosen = episodes_to_show(
        records, privileged=("expert", "guesser"), policies=("expert", "guesser", "random"), per_task=3
    )
    assert [(record.task, record.policy, record.outcome.value) for record in chosen] == [
        (task, policy, outcome)
        for task in ("put_block_back", "rearrange_block")
        for policy, outcome in (("expert", "success"), ("guesser", "failure"), ("random", "timeout"))
    ]
    assert len({video_name(record) for record in chosen}) == len(chosen)
    assert len(episodes_to_show(records, privileged=(), policies=("expert",), per_task=1)) == 2


def test_a_video_rather_shows_an_episode_in_which_something_moved(records):
    failed = [replace(record, outcome=Outcome.FAILURE, phases=(), policy="random") for record in records[:3]]
    failed = [replace(failed[0], sim_time_s=0.0, seed=1), replace(failed[1], seed=9), replace(failed[2], seed=5)]
    (chosen,) = episodes_to_show(failed, privileged=(), policies=("random",), per_task=2)
    assert chosen.seed == 5


# --- Controls ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tampered(plan):
    """The guesser as if it had a memory, under two controls; one swapped episode had no donor."""
    (first, task), *_ = plan.worker.tasks.items()
    worker = replace(plan.worker, controls={"off": Off(), "swapped": Swapped()}, tasks={first: task})
    controlled = replace(plan, worker=worker)
    obstacles = {policy: dict.fromkeys(worker.controls, "no memory") for policy in ("expert", "random")}
    records = []
    for job in controlled.jobs(obstacles):
        record = replace(drawn(worker, job, wall_s=1.0), control=job.control)
        if job.control == "swapped":
            donor = record.choice["chosen"] if job.seed % 3 else "patch_9"
            record = replace(record, donor=donor)
        records.append(record)
    last = max(index for index, record in enumerate(records) if record.control == "swapped")
    records[last] = replace(records[last], outcome=Outcome.INVALID, donor=None, choice=None, reason="no donor: x")
    return records, summarised(controlled, records, Parts(("expert",), "none", obstacles))


def test_every_table_has_a_row_per_task_policy_and_control(tampered):
    records, results = tampered
    wanted = [("expert", "normal"), *(("guesser", c) for c in ("normal", "off", "swapped")), ("random", "normal")]
    assert [(line.policy, line.control) for line in lines(results)] == wanted
    table = terminal_table(results).split("\n\n")[0].splitlines()
    assert "control" in table[0]
    assert "follows donor %" in table[0]
    assert [tuple(row.replace("put_block_back/strict", "").split()[:2]) for row in table[2:]] == wanted
    assert {len(line) for line in table} == {len(table[1])}
    page = markdown(results, records)
    assert page.count("guesser, swapped |") == 1 + len(
        {r.reason for r in records if r.control == "swapped" and r.reason}
    )
    assert "| guesser | swapped |" in page


def test_a_table_of_controls_says_who_followed_at_which_chance_and_how_many_had_no_donor(tampered):
    records, results = tampered
    swapped = [record for record in records if record.control == "swapped"]
    entry = results["controls"]["put_block_back/strict"]["guesser"]["swapped"]
    assert (entry["episodes"], entry["invalid"], entry["follows_donor"]["without_donor"]) == (12, 1, 1)
    assert entry["follows_donor"]["followed"] == sum(r.seed % 3 > 0 for r in swapped[:-1])
    (line,) = [line for line in lines(results) if line.control == "swapped"]
    assert line.follows.startswith(f"{100 * entry['follows_donor']['followed'] / 11:.1f} [")
    assert line.band == "0.0-54.5"
    page = html(results, records, config="")
    for fact in ("Controls of memory", line.follows, "1 of 12 swapped episodes had no donor", "the donor's choice"):
        assert fact in page
    parser = _Balance()
    parser.feed(page)
    assert parser.open == []


def test_without_controls_nothing_speaks_of_them(page, results, records):
    for text in (page, markdown(results, records), terminal_table(results)):
        assert "ontrols of memory" not in text
        assert "donor" not in text
    assert list(results) == ["run", "tasks"]


def test_what_others_have_published_of_the_same_task_is_stated_everywhere(results, records, plan):
    task = next(iter(plan.worker.tasks))
    logged = {**results, "published": {task: {"SAM2Act+": 0.84, "SAM2Act": 0.48}}}
    printed = f"Published success on {task}: SAM2Act+ 84.0 %, SAM2Act 48.0 %."
    assert printed in terminal_table(logged)
    assert printed in markdown(logged, records)
    assert printed in html(logged, records, config="")
    assert "Published" not in terminal_table(results)


def test_the_faithful_tier_knows_what_was_published_of_it_and_the_strict_one_does_not():
    tasks = {f"reopen_drawer/{tier}": ReopenDrawer(tier=tier) for tier in Tier}
    plan = evaluation()
    plan = replace(plan, worker=replace(plan.worker, tasks=tasks))
    logged = summarised(plan, [], Parts((), "none"))
    assert logged["published"] == {"reopen_drawer/faithful": {"SAM2Act+": 0.84, "SAM2Act": 0.48, "RVT-2": 0.6}}


@pytest.mark.parametrize("changed", [{"keyframe_limit": 30}, {"camera_px": 64}, {"time_limit_s": 60.0}])
def test_nothing_was_published_of_other_limits_and_cameras(changed):
    assert ReopenDrawer(tier=Tier.FAITHFUL).published
    assert ReopenDrawer(tier=Tier.FAITHFUL, **changed).published == {}


def test_learning_curves_are_on_the_page(results, records):
    stage = Curves((0.0, 1.0), {"train_loss": (2.0, 1.0)})
    page = html(results, records, config="", attached=Attached(curves={"expert": [stage]}))
    assert "Learning curves" in page
    assert "Stage 1 of" not in page
    page = html(results, records, config="", attached=Attached(curves={"expert": [stage, stage]}))
    assert "Stage 2 of 2" in page
    assert "train loss" in page


def test_videos_show_a_success_a_failure_and_a_swapped_memory_first(tampered):
    records, _ = tampered
    chosen = episodes_to_show(records, privileged=("expert",), policies=("expert", "guesser", "random"), per_task=6)
    shown = [(record.policy, record.control, record.outcome.value) for record in chosen]
    assert shown[:3] == [
        ("guesser", "normal", "success"), ("guesser", "normal", "failure"), ("guesser", "swapped", shown[2][2]),
    ]  # fmt: skip
    assert chosen[2].choice["chosen"] == chosen[2].donor
    assert shown[3:] == [
        ("guesser", "off", "failure"),
        ("expert", "normal", "success"),
        ("random", "normal", "timeout"),
    ]
    assert len({video_name(record) for record in chosen}) == 6


def test_with_few_episodes_the_verdict_is_that_they_are_too_few(records):
    plan = evaluation(episodes=2)
    few = [drawn(plan.worker, job, wall_s=1.0) for job in plan.jobs()]
    found = {(line.task, line.policy): line.conclusion for line in lines(summarised(plan, few, Parts((), "none")))}
    assert found["rearrange_block/strict", "expert"] == "too few episodes to tell"


def test_the_page_lists_every_episode_with_its_seed_and_links_its_video(page, records):
    listed = page[page.index("<h2>All episodes</h2>") :]
    assert listed.count("<tr><td") >= len(records)
    for record in records:
        assert f'<td class="number">{record.seed}</td>' in listed
    (link,) = re.findall(r'<a href="#([^"]+)">video</a>', listed)
    assert f'<figure id="{link}"><video' in page


def test_targets_stand_against_first_choices_and_wrong_choices_are_one_reason(results, records):
    guessed = [r for r in records if (r.task, r.policy) == ("put_block_back", "guesser")]
    (table,) = [
        t for t in choice_tables(results, records) if (t.task, t.policy) == ("put_block_back/strict", "guesser")
    ]
    assert sum(sum(row.values()) for row in table.counts.values()) == len(guessed)
    right = sum(bool(record.choice["correct"]) for record in guessed)
    assert sum(table.counts[name][name] for name in table.names) == right
    wrong = [replace(records[0], outcome=Outcome.FAILURE, reason=f"wrong first choice: patch_{n}") for n in range(3)]
    assert reasons(wrong) == {("failure", "wrong first choice"): 3}


def test_no_table_of_the_page_keeps_more_than_eight_columns_for_figures(page):
    heads = re.findall(r"<thead>(.*?)</thead>", page, re.DOTALL)
    assert max(head.count("<th") for head in heads) <= 8


def test_labels_find_free_places_or_are_left_out():
    labels = LabelPlacement(0.001)
    heights = [labels.place(0.0, 0.0, "button cap", size_pt=7.5) for _ in range(8)]
    assert len({height for height in heights if height is not None}) == 7
    assert heights[-1] is None
    assert labels.place(1.0, 0.0, "button cap", size_pt=7.5) == 0.0
