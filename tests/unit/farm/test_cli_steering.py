"""Commands that steer jobs, one or thousands."""

from __future__ import annotations

from pathlib import Path

import pytest

from farm.cli.terminal.exits import ExitCode
from farm.job import JobState
from tests.support.fleet import render
from tests.unit.farm.test_cli import CLIP, Cli, cli

__all__ = ["cli"]


@pytest.fixture
def night(cli: Cli) -> list[str]:
    """Seven jobs of one label, newest last."""
    return [cli.submit("--label", "night", "-p", f"seed={seed}") for seed in range(7)]


def states(cli: Cli, ids: list[str]) -> set[JobState]:
    return {cli.store.get(job_id).state for job_id in ids}


def test_what_is_selected_is_canceled_after_one_question(cli: Cli, night: list[str]) -> None:
    other = cli.submit()

    asked = cli("cancel", "--label", "night")
    ended = cli("cancel", "--label", "night", "--yes", "--reason", "enough")

    assert asked.code == ExitCode.USAGE, "nobody is there to be asked"
    assert "7 jobs would be canceled: give --yes, or --dry-run to see them" in asked.err
    assert ended.out.count("canceled") == 7
    assert states(cli, night) == {JobState.CANCELED}
    assert cli.store.get(other).state is JobState.QUEUED


def test_a_handful_is_not_asked_about(cli: Cli, night: list[str]) -> None:
    assert cli("cancel", "--where", "seed=3").code == ExitCode.OK

    assert cli.store.get(night[3]).state is JobState.CANCELED
    assert states(cli, night[:3] + night[4:]) == {JobState.QUEUED}


# What a command does something to, of jobs that wait.
BEFORE = {
    "cancel": (),
    "pause": (),
    "priority": (),
    "resume": ("pause", "--yes"),
    "retry": ("cancel", "--yes"),
    "rm": ("cancel", "--yes"),
}


@pytest.mark.parametrize("command", BEFORE)
def test_a_dry_run_tells_which_jobs_and_does_nothing(cli: Cli, night: list[str], command: str) -> None:
    if BEFORE[command]:
        cli(*BEFORE[command], "--label", "night")
    before = [cli.store.get(job_id) for job_id in night]

    ended = cli(command, "--label", "night", "--dry-run")
    as_json = cli(command, "--label", "night", "--dry-run", "--json").json

    assert ended.code == ExitCode.OK
    assert [line.split()[0] for line in ended.out.splitlines()] == night[::-1]
    assert as_json == {"jobs": night[::-1], "dry_run": True}
    assert [cli.store.get(job_id) for job_id in night] == before


def test_paused_jobs_say_so_and_are_resumed(cli: Cli) -> None:
    job_id = cli.submit()

    assert cli("pause", job_id).out == f"{job_id} paused\n"
    assert "paused" in cli("ls").out
    assert f"farm resume {job_id[:12]}" in cli("show", job_id).out
    assert cli("resume", job_id).out == f"{job_id} queued\n"
    assert cli.store.get(job_id).paused_at is None


def test_a_job_is_made_more_urgent(cli: Cli) -> None:
    job_id = cli.submit()

    assert cli("priority", job_id, "--to", "1").out == f"{job_id} queued, priority 1\n"
    assert cli.store.get(job_id).spec.priority == 1


def test_what_cannot_be_done_to_a_job_is_said(cli: Cli) -> None:
    done, waiting = cli.submit(), cli.submit()
    cli("cancel", done)

    assert cli("pause", done).out == f"{done} not paused: it is canceled\n"
    assert cli("priority", done, "--to", "1").out == f"{done} not moved: it is canceled\n"
    assert cli("resume", done).out == f"{done} not resumed: it is canceled\n"
    assert cli("rm", waiting).out == f"{waiting} not removed: it is queued\n"
    assert cli("rm", done, "--json").json == {done: "canceled"}
    assert cli("show", done).code == ExitCode.NOT_FOUND


@pytest.mark.parametrize("command", ["pause", "resume", "priority", "rm", "retry"])
def test_what_its_state_forbids_ends_with_a_code_of_its_own_and_changes_nothing(
    cli: Cli, command: str
) -> None:
    done, waiting = cli.submit(), cli.submit()
    cli("cancel", done)
    refused = waiting if command in ("rm", "retry") else done
    before = cli.store.get(refused)

    assert cli(command, refused).code == ExitCode.NOT_NOW
    assert cli.store.get(refused) == before


def test_limits_that_do_nothing_without_accept_are_told(cli: Cli) -> None:
    limits = ("--limit", "width=320", "--limit", "seconds=1", "--lightning")

    alone = cli("submit", *CLIP, *limits)
    accepted = cli("submit", *CLIP, *limits, "--accept", "different")

    assert alone.err == (
        "taken so: lightning, max_width, max_seconds are without effect: they make another picture, "
        "and the job accepts near changes only (--accept different)\n"
    )
    assert accepted.err == ""


def test_what_a_job_asks_for_is_shown(cli: Cli) -> None:
    job_id = cli.submit("-p", "seed=7", "-p", "negative=blur", "-p", "preset=draft")

    shown = cli("show", job_id).out

    facts = {words[0]: words[1] for line in shown.splitlines() if len(words := line.split(maxsplit=1)) == 2}
    facts = {name: value.strip() for name, value in facts.items()}
    assert facts["prompt"] == "a fox"
    assert (facts["negative"], facts["seed"]) == ("blur", "7")
    assert facts["size"] == "480×272, 33 frames"
    assert facts["steps"] == "2 high noise, 2 low noise"
    assert "lightx2v_4steps" in facts["LoRAs"]
    assert "wan_2.1_vae.safetensors" in shown


def test_jobs_are_listed_by_page_with_columns_of_ones_choice(cli: Cli, night: list[str]) -> None:
    first = cli("ls", "--columns", "job,seed,labels", "--limit", "4")
    second = cli("ls", "--columns", "job,seed", "--limit", "4", "--page", "2", "--search", "FOX")

    assert first.out.split() == [
        "job",
        "seed",
        "labels",
        *(word for seed in (6, 5, 4, 3) for word in (night[seed][:12], str(seed), "night")),
    ]
    assert "--page 2 has the next ones" in first.err
    assert second.out.split() == [
        "job",
        "seed",
        *(word for seed in (2, 1, 0) for word in (night[seed][:12], str(seed))),
    ]


@pytest.mark.parametrize("command", ["cancel", "pause", "priority", "resume", "retry", "rm"])
def test_a_dry_run_names_only_jobs_that_would_be_touched(cli: Cli, command: str) -> None:
    job_id = cli.submit()
    if command in ("cancel", "pause", "priority"):
        cli("cancel", job_id)

    assert cli(command, job_id, "--dry-run").err.startswith("0 jobs would be ")


def test_ids_are_told_as_they_are_stored(cli: Cli) -> None:
    ended = cli("submit", "--template", "wan22-t2v-a14b", "-p", "prompt=x", "--count", "1200")

    assert len(set(ended.out.split())) == 1200
    assert cli("submit", "--template", "wan22-t2v-a14b", "--count", "100001").code == ExitCode.USAGE


def test_a_job_that_fails_while_one_waits_for_it_says_why(cli: Cli) -> None:
    job_id = cli.submit("--key", "k", "-p", "seed=1")
    cli("cancel", job_id, "--reason", "not today")

    ended = cli(
        "submit", "--template", "wan22-t2v-a14b", "-p", "prompt=a fox", "-p", "seed=1", "--key", "k", "--wait"
    )

    assert ended.code == ExitCode.JOB_FAILED
    assert ended.err == f"{job_id} canceled: not today\n"


def test_the_secrets_of_an_input_are_not_shown(cli: Cli) -> None:
    address = "https://user:SECRET@example.org/x.png?token=SECRET"
    ended = cli(
        "submit", "--template", "wan22-i2v-a14b", "-p", "prompt=x", "-p", f"image={address}", "--park"
    )

    job_id = ended.out.strip()

    assert "SECRET" not in cli("show", job_id, "--json").out + cli("show", job_id).out
    assert "SECRET" not in cli("ls", "--columns", "job,image").out
    assert "example.org/x.png" in cli("show", job_id, "--json").out
    assert address in cli.store.get(job_id).spec.inputs.values(), "the worker needs it whole"


def test_a_folder_that_cannot_be_is_told(cli: Cli, tmp_path: Path) -> None:
    job_id = cli.rendered()
    (tmp_path / "file").touch()

    ended = cli("pull", job_id, "-o", str(tmp_path / "file"))

    assert ended.code == ExitCode.USAGE
    assert "cannot be a folder for files: File exists" in ended.err


def test_several_jobs_are_shown_and_as_json_they_are_a_list(cli: Cli, night: list[str]) -> None:
    other = cli.submit()

    text = cli("show", "--label", "night", "--where", "seed=3").out
    listed = cli("show", "--label", "night", "--json").json
    one = cli("show", other, "--json").json

    assert night[3] in text
    assert [job["job_id"] for job in listed] == night[::-1]
    assert one["job_id"] == other
    assert cli("show", "--label", "none", "--json").json == []
    assert cli("show").code == ExitCode.USAGE


def test_a_job_that_has_ended_is_not_canceled_and_a_canceled_one_stays_so(cli: Cli) -> None:
    made, gone = cli.submit(), cli.submit()
    render(cli.store, cli.storage, made)
    cli("cancel", gone)

    ended = cli("cancel", made)

    assert (ended.code, ended.out) == (ExitCode.NOT_NOW, f"{made} not canceled: it is succeeded\n")
    assert cli("cancel", gone).code == ExitCode.OK
    assert cli.store.get(made).state is JobState.SUCCEEDED


@pytest.mark.parametrize("comparison", ["steps>=8", "steps<=8", "steps!=8"])
def test_a_comparison_that_is_not_understood_is_refused(cli: Cli, comparison: str) -> None:
    ended = cli("ls", "--where", comparison)

    assert ended.code == ExitCode.USAGE
    assert "compares with = alone" in ended.err


def test_extras_may_be_named_one_by_one_or_together(cli: Cli, tmp_path: Path) -> None:
    job_id = cli.rendered()

    together = cli("pull", job_id, "-o", str(tmp_path / "a"), "--with", "poster,manifest")
    one_by_one = cli("pull", job_id, "-o", str(tmp_path / "b"), "--with", "poster", "--with", "manifest")

    assert together.code == one_by_one.code
    assert sorted(each.name for each in tmp_path.glob("a/*")) == sorted(
        each.name for each in tmp_path.glob("b/*")
    )


def test_a_pull_that_finds_nothing_says_so(cli: Cli, tmp_path: Path) -> None:
    cli.submit()

    assert "no jobs with a result" in cli("pull", "--state", "failed", "-o", str(tmp_path)).err


@pytest.mark.parametrize(
    "command", [["cancel"], ["pause"], ["priority", "--to", "3"]], ids=lambda each: each[0]
)
def test_of_named_jobs_none_is_touched_when_one_of_them_does_not_exist(
    cli: Cli, night: list[str], command: list[str]
) -> None:
    before = [cli.store.get(job_id) for job_id in night]

    ended = cli(*command, *night, "f" * 32)

    assert ended.code == ExitCode.NOT_FOUND
    assert "f" * 32 in ended.err
    assert [cli.store.get(job_id) for job_id in night] == before
