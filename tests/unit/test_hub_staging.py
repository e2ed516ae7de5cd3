import subprocess
import sys

import pytest

from enrich.errors import ModelMissing, StoreError, UsageError
from enrich.hub.staging import install, remove, size_text, staging


def filled(folder, text):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(text)


def test_what_is_staged_becomes_the_model_in_one_step(tmp_path):
    with staging(tmp_path, "birds") as folder:
        filled(folder, "new")
        assert not (tmp_path / "birds").exists()
        assert install(tmp_path, "birds") == tmp_path / "birds"

    assert (tmp_path / "birds/config.json").read_text() == "new"
    assert not folder.exists()


def test_the_old_model_is_replaced_whole(tmp_path):
    filled(tmp_path / "birds", "old")
    (tmp_path / "birds/more.txt").write_text("of the old one")
    with staging(tmp_path, "birds") as folder:
        filled(folder, "new")
        install(tmp_path, "birds")

    assert [path.name for path in (tmp_path / "birds").iterdir()] == ["config.json"]
    assert [path.name for path in (tmp_path / ".incoming").iterdir()] == [".lock-birds"]


def test_a_failure_leaves_what_is_staged_for_another_time(tmp_path):
    with pytest.raises(KeyboardInterrupt), staging(tmp_path, "birds") as folder:
        filled(folder, "half")
        raise KeyboardInterrupt

    with staging(tmp_path, "birds") as again:
        assert (again / "config.json").read_text() == "half"


def test_a_process_that_died_between_two_renames_loses_no_model(tmp_path):
    filled(tmp_path / ".incoming/.old-birds", "old")

    with staging(tmp_path, "birds"):
        assert (tmp_path / "birds/config.json").read_text() == "old"


def test_a_process_that_died_before_it_tidied_up_leaves_nothing_for_long(tmp_path):
    filled(tmp_path / "birds", "new")
    filled(tmp_path / ".incoming/.old-birds", "old")

    with staging(tmp_path, "birds"):
        assert (tmp_path / "birds/config.json").read_text() == "new"
    assert not (tmp_path / ".incoming/.old-birds").exists()


def test_two_processes_are_not_at_one_model(tmp_path):
    program = f"""
from pathlib import Path
from enrich.hub.staging import staging
with staging(Path({str(tmp_path)!r}), "birds"):
    print("mine", flush=True)
    input()
"""
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "mine\n"
        with pytest.raises(UsageError, match="another process is pulling or removing birds now"):
            staging(tmp_path, "birds").__enter__()
        with pytest.raises(UsageError, match="another process"):
            remove(tmp_path, "birds")
        with staging(tmp_path, "fishes"):
            pass
        other.kill()
        other.wait()
        with staging(tmp_path, "birds"):  # a lock dies with its process
            pass


def test_a_store_that_cannot_be_written_is_an_error_of_ours(tmp_path):
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(StoreError, match=r"cannot be written: (Not a directory|File exists)"):
        staging(tmp_path / "file", "birds").__enter__()


def test_removing_takes_the_model_and_what_is_staged_of_it(tmp_path):
    filled(tmp_path / "birds", "x")
    with staging(tmp_path, "birds") as folder:
        filled(folder, "half")

    assert remove(tmp_path, "birds") == tmp_path / "birds"
    assert not (tmp_path / "birds").exists()
    assert not folder.exists()
    with pytest.raises(ModelMissing, match='no model "birds"'):
        remove(tmp_path, "birds")
    with pytest.raises(UsageError, match="cannot be a model"):
        remove(tmp_path, "../birds")


def test_removing_a_link_leaves_what_it_leads_to(tmp_path):
    filled(tmp_path / "elsewhere/birds", "mine")
    (tmp_path / "models").mkdir()
    (tmp_path / "models/birds").symlink_to(tmp_path / "elsewhere/birds")

    remove(tmp_path / "models", "birds")
    assert (tmp_path / "elsewhere/birds/config.json").exists()
    assert not (tmp_path / "models/birds").is_symlink()


@pytest.mark.parametrize(
    ("count", "text"), [(7, "7 bytes"), (2_000, "2.0 kB"), (3_500_000, "3.5 MB"), (8 * 10**9, "8.0 GB")]
)
def test_sizes_are_said_for_people(count, text):
    assert size_text(count) == text
