"""NIR graphs of programs with time steps, and NIR on the command line."""

import copy
import json
import re
import sys
import warnings

import numpy as np
import pytest
from in_process import run
from small_graphs import array, chain, cuba_lif, lif, nir

import evsim
from evsim.interop import from_nir, load_nir, save_nir

STEP = 1e-4


def leaky(beta=0.9, n=2):
    """Neurons as snnTorch writes them: tau = step / (1 - beta), r = tau / step."""
    tau = STEP / (1 - beta)
    return lif(n, tau=tau, r=tau / STEP)


def synaptic(alpha=0.7, beta=0.9):
    tau_syn, tau_mem = STEP / (1 - alpha), STEP / (1 - beta)
    return cuba_lif(tau_syn=tau_syn, tau_mem=tau_mem, r=tau_mem / STEP, w_in=tau_syn / STEP)


W = nir.Linear(np.array([[0.6, -0.3], [0.2, 0.8]]))
SCALED = {
    "leaky": lambda: chain(W, leaky(), W, leaky(0.8)),
    "synaptic": lambda: chain(W, synaptic()),
    "if": lambda: chain(W, nir.IF(r=np.full(2, 1 / STEP), v_threshold=np.ones(2))),
}
UNSCALED = {
    "pulses of area 1": lambda: chain(W, lif(r=0.02), W, lif(r=0.02)),
    "currents": lambda: chain(W, cuba_lif(w_in=0.005)),
    "if": lambda: chain(W, nir.IF(r=np.ones(2), v_threshold=np.ones(2))),
    "no weights": lambda: chain(nir.Linear(np.zeros((2, 2))), leaky()),
}


@pytest.mark.parametrize("name", SCALED)
def test_a_graph_with_spikes_of_a_step_is_told_with_the_step(name):
    words = r"a spike lifts the voltage of '\w+' by [\d,]+ thresholds.*spike_width=0\.0001 "
    with pytest.warns(UserWarning, match=words) as told:
        from_nir(SCALED[name]())
    assert len(told) == 1 and told[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net = from_nir(SCALED[name](), spike_width=STEP)
    assert all(np.abs(p.weights).max() < 10 for p in net.projections.values())


@pytest.mark.parametrize("name", UNSCALED)
def test_a_graph_that_needs_no_width_is_imported_without_a_word(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        from_nir(UNSCALED[name]())


def test_a_step_that_a_graph_does_not_say_is_not_made_up():
    for graph in (chain(W, lif(tau=1e-3, r=1.0)), chain(W, leaky(), W, lif(tau=1e-3, r=5.0))):
        with pytest.warns(UserWarning, match="give spike_width=S .*the step .s. of that program"):
            from_nir(graph)


def test_what_runs_away_for_want_of_a_width_says_so_whatever_became_of_the_network(tmp_path):
    loop = nir.NIRGraph(
        {
            "in": nir.Input(array(1)), "w": nir.Linear(np.ones((1, 1))), "n": leaky(n=1),
            "back": nir.Linear(np.ones((1, 1))), "out": nir.Output(array(1)),
        },
        [("in", "w"), ("w", "n"), ("n", "back"), ("back", "n"), ("n", "out")],
        type_check=False,
    )  # fmt: skip
    spikes = evsim.Spikes([0.01], [0], size=1, duration=1.0)
    with pytest.warns(UserWarning, match="spike_width=0.0001"):
        net = from_nir(loop, loop_delay=1e-5)
    net.save(tmp_path / "net.h5")
    words = "population 'n'.* a spike lifts the voltage of 'n' by 10,000 thresholds.* spike_width"
    for kept in (net, copy.deepcopy(net), evsim.load_network(tmp_path / "net.h5")):
        for options in ({}, {"engine": "reference"}, {"tick": 1e-5}):
            with pytest.raises(evsim.RunawayError, match=words) as refusal:
                evsim.simulate(kept, spikes, max_rate=1e3, **options)
            assert str(refusal.value).count("its spike_width") == 1
    narrow = from_nir(loop, spike_width=STEP, loop_delay=1e-5)
    with pytest.raises(evsim.RunawayError) as refusal:
        evsim.simulate(narrow, spikes, max_rate=1e3)
    assert "spike_width" not in str(refusal.value)


# --- the command line ---


@pytest.fixture
def folder(tmp_path):
    nir.write(tmp_path / "net.nir", SCALED["leaky"]())
    spikes = evsim.Spikes(np.arange(1, 101) * 1e-3, np.arange(100) % 2, size=2, duration=0.11)
    evsim.save_spikes(tmp_path / "s.h5", spikes)
    return tmp_path


WIDTH = ("--spike-width", "1e-4")


def test_info_describes_a_graph(folder):
    done = run(folder, "info", "net.nir", *WIDTH)
    assert done.returncode == 0 and done.stderr == ""
    assert "net.nir: NIR file" in done.stdout and "n1: LIF, 2 units" in done.stdout
    assert run(folder, "info", "net.nir").stderr.count("spike_width=0.0001") == 1


def test_simulate_plot_and_check_take_a_graph(folder):
    simulate = ["simulate", "net.nir", "s.h5", "-o", "out.h5", "--engine", "reference"]
    done = run(folder, *simulate, *WIDTH, "--loop-delay", "1e-3")
    assert done.returncode == 0 and done.stderr == ""
    net = load_nir(folder / "net.nir", spike_width=1e-4)
    spikes = evsim.load_spikes(folder / "s.h5")
    found = evsim.load_result(folder / "out.h5")
    assert found.spikes == evsim.simulate(net, spikes).spikes
    info = run(folder, "info", "out.h5").stdout
    assert "spike_width: 0.0001" in info and "loop_delay: 0.001" in info
    done = run(folder, "plot", "net.nir", "-o", "net.png", *WIDTH)
    assert done.returncode == 0 and (folder / "net.png").stat().st_size > 1000
    for network in ([], ["--network", "net.nir", *WIDTH]):
        done = run(folder, "plot", "out.h5", "-o", "out.html", "--overwrite", *network)
        assert (done.returncode, done.stderr) == (0, "")  # no warning: the result notes the width
        assert "name the network" not in (folder / "out.html").read_text(encoding="utf-8")
    save_nir(folder / "other.nir", load_nir(folder / "net.nir", spike_width=2e-4))
    for words, message in (
        (["--network", "other.nir"], "other.nir: is not the network that made out.h5"),
        (["--network", "s.h5", *WIDTH], "s.h5: is no NIR graph; --spike-width is for these only"),
    ):
        done = run(folder, "plot", "out.h5", "-o", "no.html", *words)
        assert done.returncode == 2 and message in done.stderr
    (folder / "net.nir").rename(folder / "moved.nir")
    done = run(folder, "plot", "out.h5", "-o", "no.html", *WIDTH)
    assert done.returncode == 2 and "out.h5: is no NIR graph" in done.stderr
    (folder / "moved.nir").rename(folder / "net.nir")
    done = run(folder, "check", "net.nir", "s.h5", "--dt", "1e-3", "-o", "R", *WIDTH)
    report = json.loads((folder / "R" / "report.json").read_text())
    assert done.returncode in (0, 1) and report["network_file"] == "net.nir"


def test_convert_goes_there_and_back(folder):
    done = run(folder, "convert", "net.nir", "net.h5", *WIDTH)
    assert done.returncode == 0 and done.stderr == "" and "network in net.h5" in done.stdout
    net = load_nir(folder / "net.nir", spike_width=1e-4)
    assert evsim.Network.load(folder / "net.h5") == net
    assert run(folder, "convert", "net.h5", "back.nir").returncode == 0
    back = load_nir(folder / "back.nir")
    assert back.populations == net.populations and back.input == net.input
    for name, projection in net.projections.items():
        np.testing.assert_allclose(back.projections[name].weight, projection.weight, rtol=1e-15)


def test_convert_is_whole_or_absent(folder):
    save_nir(folder / "there.nir", from_nir(UNSCALED["currents"]()))
    before = (folder / "there.nir").read_bytes()
    soft = evsim.Population("soft", "LIF", 2, tau_mem=0.02, reset_mode="soft")
    into = evsim.Dense(pre="in", post="soft", weight=np.eye(2))
    evsim.Network([evsim.Population("in", "Input", 2), soft], [into]).save(folder / "soft.h5")
    for words, reason in (
        (("net.nir", "there.nir", *WIDTH), "there.nir: exists already; give --overwrite"),
        (("soft.h5", "there.nir", "--overwrite"), "reset_mode = 'soft', which NIR can't say"),
        (("soft.h5", "new.nir"), "reset_mode = 'soft', which NIR can't say"),
        (("net.nir", "new.onnx"), "new.onnx: must end in .nir .* or .h5"),
        (("soft.h5", "new.h5", *WIDTH), "soft.h5: is no NIR graph; --spike-width is for these"),
        (("s.h5", "new.nir"), "s.h5: .*format"),
        (("soft.h5", "soft.h5", "--overwrite"), "is an input of this command"),
    ):
        done = run(folder, "convert", *words)
        assert done.returncode == 2 and done.stderr.count("\n") == 1
        assert re.search(reason, done.stderr), done.stderr
    assert (folder / "there.nir").read_bytes() == before
    assert not any(path.name.startswith("new") for path in folder.iterdir())
    assert run(folder, "convert", "net.nir", "there.nir", *WIDTH, "--overwrite").returncode == 0
    assert (folder / "there.nir").read_bytes() != before


@pytest.mark.parametrize("command", ["info", "plot", "simulate", "check"])
def test_the_options_of_graphs_are_refused_elsewhere(folder, command):
    more = {"plot": ["-o", "p.png"], "simulate": ["s.h5", "-o", "o.h5"], "check": ["s.h5"]}
    model = "s.h5" if command == "info" else "digits-demo.h5"
    done = run(folder, command, model, *more.get(command, []), "--loop-delay", "1e-3")
    assert done.returncode == 2 and "is no NIR graph; --loop-delay is for these" in done.stderr


@pytest.mark.parametrize("command", [[], ["convert"], ["simulate"], ["info"]])
def test_h_is_help(tmp_path, command):
    done = run(tmp_path, *command, "-h")
    assert done.returncode == 0 and done.stdout == run(tmp_path, *command, "--help").stdout
    assert "-h, --help" in done.stdout


@pytest.mark.parametrize("command", ["info", "simulate", "convert", "plot"])
def test_without_the_package_a_command_ends_in_a_line(command, tmp_path, monkeypatch):
    save_nir(tmp_path / "net.nir", from_nir(UNSCALED["currents"]()))
    evsim.save_spikes(tmp_path / "s.h5", evsim.Spikes([0.1], [0], size=2, duration=0.2))
    words = {"simulate": ["s.h5", "-o", "o.h5"], "convert": ["n.h5"], "plot": ["-o", "o.png"]}
    monkeypatch.setitem(sys.modules, "nir", None)
    done = run(tmp_path, command, "net.nir", *words.get(command, []))
    told = "evsim: error: NIR graphs need the nir package: pip install evsim[nir]\n"
    assert (done.returncode, done.stderr) == (2, told)
