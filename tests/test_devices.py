"""Layers and spikes on other devices than the CPU: moved, made there, refused by name."""

import copy
from types import SimpleNamespace

import pytest
import torch

from evsim import Spikes
from evsim import gradients as g
from evsim.gradients import dense
from evsim.gradients.tensors import refuse_elsewhere

CELLS = {"tau_mem": 0.02, "tau_syn": 0.005}
LAYERS = {
    "CubaLIF": lambda: g.CubaLIF(
        2, 3, **CELLS, delay="synaptic", recurrent="dense", recurrent_delay="axonal"
    ),
    "conv": lambda: g.CubaLIF(2, 3, **CELLS, learn="tau_mem", recurrent="conv"),
    "SRM": lambda: g.SRM(2, 3, 0.008, delay="axonal"),
    "CubaLI": lambda: g.CubaLI(2, 3, **CELLS),
    "LI": lambda: g.LI(2, 3, 0.02),
    "Delay": lambda: g.Delay(2),
}


def sound():
    return Spikes([0.01, 0.02, 0.03], [0, 1, 1], [0, 2, 3], size=2, duration=0.1, labels=[1, 0])


def made_on_meta(make):
    with torch.device("meta"):
        return make()


def test_what_lies_on_a_gpu_is_refused_with_both_ways_out():
    # Stands for a tensor on a device that the machine of the tests need not have.
    elsewhere = SimpleNamespace(is_meta=False, is_cpu=False, device=SimpleNamespace(type="cuda"))
    with pytest.raises(ValueError, match=r"'cuda'.*CPU; \.to\('cpu'\).*gradients\.dense"):
        refuse_elsewhere("CubaLIF", "its weight is", elsewhere)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("way", [made_on_meta, lambda make: make().to("meta")])
def test_a_layer_without_values_is_made_filled_and_refused_by_name(name, way):
    torch.manual_seed(0)
    ready, layer = LAYERS[name](), way(LAYERS[name])
    groups = g.parameter_groups(layer)
    assert [group["name"] for group in groups] == [n for n, _ in layer.named_parameters()]
    torch.optim.Adam(groups)
    g.keep_delays(layer)
    assert layer.delay_limits() == ready.delay_limits()
    assert type(ready).__name__ in repr(copy.deepcopy(layer))
    what = {"Delay": "delay", "conv": "tau_mem"}.get(name, "weight")
    kind = type(layer).__name__
    with pytest.raises(ValueError, match=rf"^{kind}: its {what} is on the device 'meta'.*assign"):
        layer(sound())
    layer.load_state_dict(ready.state_dict(), assign=True)
    found, expected = layer(sound()), ready(sound())
    assert found.equal(expected) if torch.is_tensor(found) else found == expected


def test_one_parameter_elsewhere_is_named():
    layer = LAYERS["CubaLIF"]()
    layer.threshold = layer.threshold.to("meta")
    with pytest.raises(ValueError, match="^CubaLIF: its threshold is on the device 'meta'"):
        layer(sound())


def test_a_dense_layer_without_values_is_refused_by_name():
    layer = made_on_meta(lambda: dense.CubaLIF(2, 3, **CELLS, dt=1e-3))
    with pytest.raises(ValueError, match="^CubaLIF: its weight is on the device 'meta'"):
        layer(torch.zeros(1, 5, 2))


@pytest.mark.parametrize(
    "taker", [g.first_spikes, g.spike_counts, LAYERS["CubaLIF"](), LAYERS["Delay"]()]
)
def test_spikes_without_values_are_refused(taker):
    with pytest.raises(ValueError, match="the spikes are on the device 'meta'"):
        taker(sound().to("meta"))


def test_spikes_move_as_tensors_do():
    times = sound().torch().times.requires_grad_()
    spikes = sound().torch().replace(times, sound().torch().units, sound().torch().offsets)
    for moved in (
        spikes.to("cpu"), spikes.to(torch.device("cpu"), non_blocking=True),
        spikes.to(torch.float64), spikes.to("cpu", torch.float64), sound().to("cpu"),
    ):  # fmt: skip
        assert moved == sound() and all(
            torch.is_tensor(getattr(moved, name))
            for name in ("times", "units", "offsets", "labels")
        )
    spikes.to("cpu").times.sum().backward()
    assert times.grad.tolist() == [1, 1, 1]
    meta = spikes.to("meta")
    assert meta.times.is_meta and meta.labels.is_meta and meta.size == 2
    with pytest.raises(TypeError, match="times are float64, not torch.float32"):
        spikes.to(torch.float32)


def test_a_trainer_that_moves_batches_moves_spikes():
    """As Lightning does: what has a ``to`` is moved, whole batches and inside of them."""

    def moved(data):
        if callable(getattr(data, "to", None)):
            return data.to(torch.device("cpu"), non_blocking=True)
        return type(data)(map(moved, data))

    spikes, labels = moved((sound(), torch.tensor([1, 0])))
    assert spikes == sound() and torch.is_tensor(spikes.times)
    assert LAYERS["CubaLI"]()(spikes).shape == (2, 3)


def test_lightning_moves_spikes():
    apply_func = pytest.importorskip("lightning.fabric.utilities.apply_func")
    spikes, _ = apply_func.move_data_to_device((sound(), 1), torch.device("cpu"))
    assert spikes == sound() and torch.is_tensor(spikes.times)


def test_a_raster_lies_where_the_spikes_do():
    assert dense.to_raster(sound(), 1e-2).device.type == "cpu"
    assert dense.to_raster(sound().torch(), 1e-2, device="meta").is_meta


def test_what_a_layer_is_made_with_is_shown():
    layer = g.CubaLIF(
        2, 3, [0.02, 0.03, 0.04], 0.005, delay="synaptic", max_delay=0.1, recurrent="conv",
        mask=torch.tensor([[True, False]] * 3),
    )  # fmt: skip
    assert repr(layer) == (
        "CubaLIF(2, 3, tau_mem=0.02...0.04, tau_syn=0.005, delay='synaptic', max_delay=0.1, "
        "recurrent='conv', mask=3 of 6)"
    )
    assert repr(g.CubaLIF(2, 3, **CELLS)) == "CubaLIF(2, 3, tau_mem=0.02, tau_syn=0.005)"
    assert repr(g.SRM(2, 3, 0.01)) == "SRM(2, 3, tau_syn=0.01)"
    li = g.LI(2, 3, 0.02, output="integral", tau_output=0.2)
    assert repr(li) == "LI(2, 3, tau_mem=0.02, output='integral', tau_output=0.2)"
    grid = dense.CubaLIF(2, 3, **CELLS, delay="axonal", dt=1e-3)
    assert repr(grid).endswith("tau_syn=0.005, delay='axonal', max_delay=0.06, dt=0.001)")
