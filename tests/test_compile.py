"""The cache of compiled code can't go stale, and is never a reason not to run, nor a way in."""

import os
import pickle
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import evsim

KERNELS = """
from evsim._compile import kernel
from evsim._callee import callee

@kernel
def caller(x):
    return callee(x)
"""
CALLEE = """
from evsim._compile import kernel

@kernel
def callee(x):
    return x + {step}
"""


def attempt(folder, **variables):
    """Run a kernel in a process of its own, with a cache in the folder."""
    code = "import sys; sys.path.insert(0, '.'); from evsim._caller import caller; print(caller(1))"
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder / "cache"), **variables}
    environment = {name: value for name, value in environment.items() if value is not None}
    return subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def run(folder, **variables):
    done = attempt(folder, **variables)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def make_package(folder):
    package = folder / "evsim"
    package.mkdir()
    for name in ("_compile.py", "compiling.py", "terminal.py"):
        shutil.copy(Path(evsim.__file__).parent / name, package)
    (package / "__init__.py").touch()
    (package / "_caller.py").write_text(KERNELS)
    (package / "_callee.py").write_text(CALLEE.format(step=1))
    return package


def test_a_change_in_a_callee_is_noticed(tmp_path):
    package = make_package(tmp_path)
    for step in (1, 10, 1):
        (package / "_callee.py").write_text(CALLEE.format(step=step))
        assert run(tmp_path) == 1 + step
    assert len(list((tmp_path / "cache").iterdir())) == 2  # the old text found its old cache
    assert not list(package.rglob("*.nb?"))


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    data = bytearray(path.read_bytes())
    data[-len(data) // 3] ^= 1
    path.write_bytes(data)


def replace_by_folder(path):
    path.unlink()
    path.mkdir()


class Evil:
    def __reduce__(self):
        return exec, ("import os; os.mkdir('owned')",)


DAMAGES = {
    ("nbi", "empty"): lambda path: path.write_bytes(b""),
    ("nbi", "garbage"): lambda path: path.write_bytes(b"garbage" * 100),
    ("nbi", "code"): lambda path: path.write_bytes(pickle.dumps(Evil())),
    ("nbi", "a folder"): replace_by_folder,
    ("nbi", "a pipe"): lambda path: (path.unlink(), os.mkfifo(path)),
    ("nbc", "truncated"): truncate,
    ("nbc", "a bit is flipped"): flip,
    ("nbc", "another pickle"): lambda path: path.write_bytes(pickle.dumps({"a": [1]})),
    ("nbc", "others may write"): lambda path: path.chmod(0o666),
}


@pytest.mark.skipif(os.name != "posix", reason="modes of files, pipes")
@pytest.mark.parametrize("key", DAMAGES, ids=" ".join)
def test_a_damaged_cache_is_removed_and_compiled_anew(tmp_path, key):
    kind, damage = key[0], DAMAGES[key]
    make_package(tmp_path)
    assert run(tmp_path) == 2
    for path in (tmp_path / "cache").rglob(f"*.{kind}"):
        damage(path)
    done = attempt(tmp_path)
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr
    assert done.stderr.count("cached machine code is compiled anew") == 1
    assert "Traceback" not in done.stderr and not (tmp_path / "owned").exists()
    done = attempt(tmp_path)
    assert (done.returncode, done.stdout) == (0, "2\n")
    if damage is not replace_by_folder:  # nothing of ours: it stays, and is told again
        assert done.stderr == ""


def test_code_of_another_signature_is_not_taken(tmp_path):
    make_package(tmp_path)
    assert run(tmp_path) == 2
    codes = {p.name.partition(".")[0]: p for p in (tmp_path / "cache").rglob("*.nbc")}
    shutil.copy(codes["_callee"], codes["_caller"])
    done = attempt(tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "2\n", "")


def unwritable(folder):
    (folder / "cache").write_text("a file")


def writable_by_all(folder):
    (folder / "cache").mkdir()
    (folder / "cache").chmod(0o777)


def of_another_user(folder):
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    (folder / "cache").mkdir()
    os.chown(folder / "cache", 12345, 12345)


@pytest.mark.skipif(os.name != "posix", reason="modes of files")
@pytest.mark.parametrize("spoil", [unwritable, writable_by_all, of_another_user])
def test_a_folder_that_is_no_place_for_code_is_not_used(tmp_path, spoil):
    package = make_package(tmp_path)
    spoil(tmp_path)
    (tmp_path / "tmp").mkdir()
    done = attempt(tmp_path, TMPDIR=str(tmp_path / "tmp"))
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr
    assert done.stderr.count("UserWarning") == 1 and "is kept in" in done.stderr
    assert str(tmp_path / "cache") in done.stderr
    private = tmp_path / "tmp" / f"evsim-{os.geteuid()}"
    assert list(private.rglob("*.nbc")) and private.stat().st_mode & 0o77 == 0
    assert not list(package.rglob("*.nb?"))
    assert not (tmp_path / "cache").is_dir() or not list((tmp_path / "cache").iterdir())


@pytest.mark.skipif(os.name != "posix", reason="modes of files")
def test_without_any_place_nothing_is_kept(tmp_path):
    package = make_package(tmp_path)
    unwritable(tmp_path)
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp" / f"evsim-{os.geteuid()}").touch()
    done = attempt(tmp_path, TMPDIR=str(tmp_path / "tmp"))
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr
    assert done.stderr.count("is not kept") == 1
    assert not list(tmp_path.rglob("*.nb?")) and not list(package.rglob("*.nb?"))


@pytest.mark.skipif(os.name != "posix", reason="modes of files")
def test_a_part_of_the_cache_that_others_may_write_to_is_not_used(tmp_path):
    make_package(tmp_path)
    assert run(tmp_path) == 2
    (part,) = (tmp_path / "cache").glob("*/*")
    part.chmod(0o777)
    done = attempt(tmp_path)
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr
    assert done.stderr.count("UserWarning") == 1 and str(part) in done.stderr


def test_the_users_cache_is_taken_without_a_wish(tmp_path):
    make_package(tmp_path)
    home = tmp_path / "home"
    assert run(tmp_path, NUMBA_CACHE_DIR=None, XDG_CACHE_HOME=str(home)) == 2
    assert list((home / "evsim").rglob("*.nbc")) and not (tmp_path / "cache").exists()


def test_compiling_is_told_when_it_happens_and_only_then(tmp_path):
    make_package(tmp_path)
    code = """
import sys; sys.path.insert(0, '.')
from evsim.compiling import watch
watch.show()
from evsim._caller import caller
print(caller(1), watch.seconds() > 0)
"""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    told = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-P", "-c", code],
            cwd=tmp_path, env=environment, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        told.append((done.stdout, done.stderr.count("evsim: compiling the engine, once")))
    assert told == [("2 True\n", 1), ("2 False\n", 0)]


def test_what_nobody_has_used_for_long_is_cleared(tmp_path):
    make_package(tmp_path)
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o700)
    day = 86400
    mixed, young, others = f"evsim-{'f' * 16}", f"evsim-{'a' * 16}", "1700000000000000"
    ages = {f"evsim-{i:016x}": i * day for i in range(1, 13)}  # a day, two days, ...
    ages |= {mixed: 40 * day, young: 60, others: 400 * day}
    for name, age in ages.items():
        (cache / name / "room").mkdir(parents=True)
        (cache / name / "room" / "kernel.1.nbc").touch()
        os.utime(cache / name, 2 * (time.time() - age,))
    (cache / mixed / "model.pt").touch()
    os.utime(cache / mixed, 2 * (time.time() - ages[mixed],))
    assert run(tmp_path) == 2
    left = {path.name for path in cache.iterdir()} & set(ages)
    assert left == {f"evsim-{i:016x}" for i in range(1, 9)} | {mixed, young, others}
    assert [path.name for path in (cache / mixed).iterdir()] == ["model.pt"]
    assert (cache / others / "room" / "kernel.1.nbc").exists()
    (mine,) = {path.name for path in cache.iterdir()} - set(ages)
    assert len(list((cache / mine).glob("*/*.nbc"))) == 2
