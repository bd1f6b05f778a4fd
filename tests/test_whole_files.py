"""Files are whole or absent: interrupted, killed, on a full disk."""

import os
import signal
import subprocess
import sys

import h5py
import pytest
from small_files import (
    same_results,
    some_network,
    some_result,
    some_spikes,
)

import evsim
from evsim.files import FileError, ResultWriter, WholeFile

WRITERS = {
    "spikes": lambda path, **options: evsim.save_spikes(path, some_spikes(), **options),
    "network": lambda path, **options: evsim.save_network(path, some_network(), **options),
    "result": lambda path, **options: evsim.save_result(path, some_result(), **options),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_existing_files_are_kept_unless_asked(tmp_path, write):
    path = tmp_path / "a.h5"
    path.write_text("precious")
    with pytest.raises(FileExistsError, match=r"a\.h5: exists already"):
        write(path)
    assert (path.read_text(), os.listdir(tmp_path)) == ("precious", ["a.h5"])
    write(path, overwrite=True)
    assert h5py.is_hdf5(path) and os.listdir(tmp_path) == ["a.h5"]


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_files_have_ordinary_permissions(tmp_path, write):
    write(tmp_path / "a.h5")
    (tmp_path / "b").touch()
    assert (tmp_path / "a.h5").stat().st_mode == (tmp_path / "b").stat().st_mode


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_interrupted_write_leaves_nothing(tmp_path, error):
    with pytest.raises(error):
        with ResultWriter(tmp_path / "r.h5") as writer:
            writer.append(some_result())
            assert len(os.listdir(tmp_path)) == 1
            raise error
    assert os.listdir(tmp_path) == []


def test_an_interrupted_write_leaves_the_file_that_was_there(tmp_path):
    evsim.save_result(tmp_path / "r.h5", some_result())
    with pytest.raises(KeyboardInterrupt):
        with ResultWriter(tmp_path / "r.h5", overwrite=True) as writer:
            writer.append(some_result(7))
            raise KeyboardInterrupt
    assert os.listdir(tmp_path) == ["r.h5"]
    same_results(evsim.load_result(tmp_path / "r.h5"), some_result())


def test_a_file_that_appears_meanwhile_is_kept(tmp_path):
    with pytest.raises(FileExistsError):
        with WholeFile(tmp_path / "a.txt") as temporary:
            open(temporary, "w").close()
            (tmp_path / "a.txt").write_text("first")
    assert (os.listdir(tmp_path), (tmp_path / "a.txt").read_text()) == (["a.txt"], "first")


def test_writing_where_there_is_no_folder(tmp_path):
    with pytest.raises(FileError, match=r"a\.h5: the folder .* does not exist"):
        evsim.save_spikes(tmp_path / "no" / "a.h5", some_spikes())
    with pytest.raises(FileError, match="is a folder"):
        evsim.save_spikes(tmp_path, some_spikes(), overwrite=True)


ENDLESS = """
import sys, numpy as np, evsim
from evsim.files import ResultWriter
spikes = evsim.Spikes(np.linspace(0, 0.9, 3000), np.zeros(3000, int), size=1, duration=1.0)
result = evsim.Result(spikes={"out": spikes}, duration=1.0)
with ResultWriter(sys.argv[1]) as writer:
    while True:
        writer.append(result)
        print("written", flush=True)
"""


def start_endless(path):
    command = [sys.executable, "-c", ENDLESS, str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "written\n"
    return process


def end(process):
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.mark.skipif(os.name == "nt", reason="no locks to tell a dead writer by")
def test_a_killed_writer_leaves_no_result_and_the_next_one_cleans_up(tmp_path):
    path = tmp_path / "r.h5"
    for n_appended in (0, 3, 20):
        process = start_endless(path)
        for _ in range(n_appended):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        end(process)
        assert not path.exists()
    assert len(os.listdir(tmp_path)) == 1  # each run removed what the one before left
    evsim.save_result(path, some_result())
    assert os.listdir(tmp_path) == ["r.h5"]


@pytest.mark.skipif(os.name == "nt", reason="no signals of this kind")
def test_ctrl_c_at_any_moment_leaves_nothing(tmp_path):
    for n_appended in (0, 1, 2, 5):
        process = start_endless(tmp_path / "r.h5")
        for _ in range(n_appended):
            process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) in (1, -signal.SIGINT)
        end(process)
        assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.name == "nt", reason="no locks to tell a dead writer by")
def test_the_temporary_file_of_a_living_writer_is_left_alone(tmp_path):
    path = tmp_path / "r.h5"
    process = start_endless(path)
    try:
        evsim.save_result(path, some_result())
        assert len(os.listdir(tmp_path)) == 2
        assert process.stdout.readline() == "written\n"
    finally:
        end(process)


FULL = """
import resource, signal, sys
import numpy as np, evsim
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
spikes = evsim.Spikes(np.linspace(0, 0.9, 100_000), np.zeros(100_000, int), size=1, duration=1.0)
try:
    evsim.save_spikes(sys.argv[1], spikes)
except evsim.FileError as error:
    print("refused:", error)
"""


@pytest.mark.skipif(os.name == "nt", reason="no limit of file sizes")
def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path):
    command = [sys.executable, "-c", FULL, str(tmp_path / "a.h5")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, os.listdir(tmp_path)) == (0, []), done.stderr
    assert done.stdout.startswith(f"refused: {tmp_path / 'a.h5'}: can't be written")
