"""The output folder: refused at once when it cannot be used, held by one run at a time, free when that is gone."""

import os
import signal
from pathlib import Path

import pytest

from tests.trainers import runs
from tests.trainers.runs import Plan, execute, fail, finish, said, start
from trainers.folder import claim, digest, provenance


class Unread:
    """Data that must not be touched."""

    def __len__(self) -> int:
        raise AssertionError("the data was read")


@pytest.mark.parametrize("place", ["file/out", "file", "/proc/none/out"])
def test_a_folder_that_cannot_be_written_is_refused_before_the_data(
    tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(runs.toys, "Rows", lambda rows: Unread())
    with pytest.raises(ValueError, match=r"The output folder .* cannot be written .*--train\.out"):
        execute(Plan(tmp_path / place))
    with pytest.raises(AssertionError, match="the data was read"):
        execute(Plan(tmp_path / "fine"))


def test_the_other_process_does_not_wait_for_one_that_was_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    plan = Plan(tmp_path / "file", task_options={"idle": False})
    codes = fail(plan, 2)  # within 15 seconds of the first, or it fails
    assert 0 not in codes and "cannot be written" in said(plan)


def hold(plan: Plan) -> None:
    """Claim the folder, fork a child that outlives this process as a loader worker may, and wait to be killed."""
    claim(plan.out)
    if os.fork() == 0:
        (plan.out / "child").write_text(str(os.getpid()))
        signal.pause()
    (plan.out / "held").write_text(str(os.getpid()))
    signal.pause()


def test_a_folder_is_held_by_one_run_and_free_when_it_is_killed(tmp_path: Path) -> None:
    plan = Plan(tmp_path / "run", {"steps": 1})
    (holder,) = start(plan, then=hold)
    try:
        for name in ("held", "child"):
            while not (plan.out / name).exists() or not (plan.out / name).read_text():
                assert holder.is_alive(), said(plan)
                holder.join(0.02)
        with pytest.raises(ValueError, match=rf"is in use by process {holder.pid} on .*--train\.out"):
            execute(plan)
    finally:
        holder.kill()
        finish([holder])
    child = int((plan.out / "child").read_text())
    try:
        os.kill(child, 0)  # still there, and still without a claim
        execute(plan)
    finally:
        os.kill(child, signal.SIGKILL)
    claim(plan.out)  # again by the same process: nothing happens


def test_what_made_a_run_is_written_down() -> None:
    made = provenance()
    assert made["packages"].keys() >= {"torch", "accelerate"} and made["python"].startswith("3.")
    assert not any(part.startswith("/") for part in made["command"][:1])


def test_a_digest_is_of_the_content() -> None:
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest([1, 2]) != digest([2, 1])
