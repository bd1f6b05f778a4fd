"""Reports are whole or absent: killed, two at once, replaced; and names reach the disk."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import evsim
from evsim.files import FileError, WholeFile
from evsim.files.whole_folder import WholeFolder

NAMES = ("report.txt", "check.png")
posix = pytest.mark.skipif(os.name != "posix", reason="no locks to tell a dead writer by")


def write(path: Path, text: str, overwrite: bool = False) -> None:
    with WholeFolder(path, NAMES, overwrite) as new:
        (new / "report.txt").write_text(text)


def told(path: Path) -> str:
    return (path / "report.txt").read_text()


def test_a_folder_is_whole_or_absent(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        with WholeFolder(tmp_path / "r", NAMES) as new:
            (new / "report.txt").write_text("half")
            raise KeyboardInterrupt
    assert os.listdir(tmp_path) == []
    write(tmp_path / "r", "first")
    with pytest.raises(FileExistsError, match="give --overwrite"):
        write(tmp_path / "r", "second")
    write(tmp_path / "r", "third", overwrite=True)
    assert told(tmp_path / "r") == "third" and os.listdir(tmp_path) == ["r"]


def test_an_error_about_another_file_keeps_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="elsewhere"):
        with WholeFolder(tmp_path / "r", NAMES):
            (tmp_path / "elsewhere").read_text()
    with pytest.raises(FileError, match="r: can't be written"):
        with WholeFolder(tmp_path / "r", NAMES) as new:
            (new / "none" / "report.txt").write_text("")


@posix
def test_the_second_of_two_at_once_is_refused_before_its_work(tmp_path: Path) -> None:
    with WholeFolder(tmp_path / "r", NAMES) as new:
        (new / "report.txt").write_text("first")
        with pytest.raises(FileError, match="r: is being written by another evsim; wait"):
            with WholeFolder(tmp_path / "r", NAMES, overwrite=True):
                raise AssertionError("it works")
        write(tmp_path / "r2", "another folder")
    assert told(tmp_path / "r") == "first"
    assert sorted(os.listdir(tmp_path)) == ["r", "r2"]


KILLED = """
import os, signal, sys
from pathlib import Path
from evsim.files.whole_folder import WholeFolder
rename, left = Path.rename, [int(sys.argv[2])]
def killing(self, target):
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    left[0] -= 1
    return rename(self, target)
Path.rename = killing
with WholeFolder(sys.argv[1], ("report.txt", "check.png"), overwrite=True) as new:
    (new / "report.txt").write_text("new")
    if not left[0]:
        (new / ".check.png.0123456789ab.partial").write_text("half a picture")
"""


@posix
@pytest.mark.parametrize("renames", [0, 1])
def test_what_a_killed_process_leaves_is_cleaned_up(tmp_path: Path, renames: int) -> None:
    write(tmp_path / "r", "old")
    command = [sys.executable, "-c", KILLED, str(tmp_path / "r"), str(renames)]
    assert subprocess.run(command, timeout=60).returncode == -signal.SIGKILL
    assert len(os.listdir(tmp_path)) == 3  # what it wrote, its lock, the old report somewhere
    with pytest.raises(FileExistsError, match="exists already"):
        write(tmp_path / "r", "new")  # the old report is back in its place
    assert told(tmp_path / "r") == "old"
    write(tmp_path / "r", "new", overwrite=True)
    assert told(tmp_path / "r") == "new" and os.listdir(tmp_path) == ["r"]


@posix
def test_folders_of_others_are_left_alone(tmp_path: Path) -> None:
    theirs = [".r.0123456789ab.partial", ".r.mine.partial", ".rr.0123456789ab.partial"]
    for name in theirs:
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis.txt").touch()
    (tmp_path / ".r.partial").mkdir()  # the one name that all reports had once
    (tmp_path / ".r.partial" / "report.txt").touch()
    write(tmp_path / "r", "new")
    assert sorted(os.listdir(tmp_path)) == sorted([*theirs, "r"])
    assert all((tmp_path / name / "thesis.txt").exists() for name in theirs)


@posix
def test_the_folder_of_a_new_file_is_synced_after_the_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        done.append(kind)
        fsync(descriptor)

    def renamed(*names: str) -> None:
        done.append("rename")
        replace(*names)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    with WholeFile(tmp_path / "a.txt") as temporary:
        Path(temporary).write_text("a")
    assert done == ["file", "rename", "folder"]
    done.clear()
    evsim.save_spikes(tmp_path / "s.h5", evsim.Spikes([0.1], [0], size=1, duration=1.0))
    assert done == ["file", "rename", "folder"]
