"""When spikes and networks are equal."""

import dataclasses

import numpy as np
from small_takers import checked, network, sound

import evsim
from evsim import Spikes


def test_spikes_are_equal_if_all_they_hold_is():
    assert sound() == sound() and sound() == sound().torch() and hash(sound()) == hash(sound())
    assert sound() != sound()[:1] and sound() != 1
    times = np.nextafter(sound().times, 1)
    changed = sound().replace(times, sound().units, sound().offsets)
    assert changed != sound()
    assert Spikes([0.1], [0], labels=[1]) != Spikes([0.1], [0])
    assert Spikes([0.1], [0], size=1) != Spikes([0.1], [0], size=2)


def test_networks_are_equal_to_the_last_bit(tmp_path):
    net = checked()
    net.save(tmp_path / "net.h5")
    again = evsim.Network.load(tmp_path / "net.h5")
    assert again == net and hash(again) == hash(net) and net != network() and net != 1
    for name, projection in net.projections.items():
        weight = np.nextafter(projection.weight, 9)
        others = [p for p in net.projections.values() if p.name != name]
        moved = [*others, dataclasses.replace(projection, weight=weight)]
        assert evsim.Network(net.populations.values(), moved, output=net.output) != net
    assert network().populations["out"] != evsim.Population("out", "LIF", 2, tau_mem=0.021)
