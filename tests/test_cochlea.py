"""Does the cochlea give what the program behind SHD gives, stage by stage?"""

from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.integrate import quad

from evsim.datasets.cochlea import BushyCell, Cochlea, membrane
from evsim.datasets.cochlea import cochlea as module
from evsim.datasets.cochlea.filterbank import FilterBank

DATA = Path(__file__).parent / "data" / "cochlea" / "hd_two.h5"
SETS = ("article", "default")
BEST = {  # unit: its best frequency [Hz] and the gain there, measured on the program
    50: (14075, 76),
    100: (9546, 76),
    200: (4478, 99),
    300: (2115, 134),
    400: (1001, 170),
    500: (473, 196),
    600: (221, 211),
    699: (100, 223),
}


@pytest.fixture(scope="module")
def audio():
    with h5py.File(DATA) as file:
        return file["audio"][()]


@pytest.fixture(scope="module", params=SETS)
def theirs(request):
    with h5py.File(DATA) as file:
        found = {name: values[()] for name, values in file[request.param].items()}
        return found | {"constants": request.param, "every": file.attrs["every"]}


@pytest.fixture(scope="module")
def mine(theirs, audio):
    cochlea = Cochlea(constants=theirs["constants"])
    velocity = cochlea.velocity(cochlea.sound(audio, 48000))
    return {
        "cochlea": cochlea,
        "velocity": velocity,
        "probability": cochlea.probability(velocity),
    }


def noise(n_samples, seed=0):
    return np.random.default_rng(seed).standard_normal(n_samples)


# membrane


@pytest.mark.parametrize("frequency", [50.0, 1000.0, 5000.0, 20000.0])
@pytest.mark.parametrize("place", [0.3, 1.0, 2.0, 3.5])
def test_phase_is_the_integral_of_the_wave_number(frequency, place):
    real, imaginary = (
        quad(lambda x, p=part: p(membrane.wave_number(frequency, x)), 0, place, limit=500)[0]
        for part in (np.real, np.imag)
    )
    expected = 2 / 3 * membrane.wave_number(frequency, 0.0) + real + 1j * imaginary
    assert membrane.phase(frequency, place) == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("unit", BEST)
def test_best_frequency(unit):
    best, gain = BEST[unit]
    frequency = np.arange(0.8 * best, min(1.3 * best, 24000))
    size = np.abs(membrane.velocity_gain(frequency, membrane.places(700)[unit]))
    assert frequency[size.argmax()] == pytest.approx(best, rel=2e-3, abs=1)
    assert size.max() == pytest.approx(gain, abs=0.51)


@pytest.mark.parametrize("n_samples", [2880, 2881, 4799, 9973, 16384])
def test_filter_bank_is_the_definition(n_samples):
    sound = 0.3 * noise(n_samples)
    n_steps = n_samples // 2 + 1
    spectrum = np.fft.fft(sound)[:n_steps]
    frequency = np.linspace(1, 24000, n_steps)
    velocity = FilterBank(70).velocity(sound)
    assert velocity.shape == (70, n_steps)
    for place, row in zip(membrane.places(70), velocity, strict=True):
        expected = np.fft.ifft(membrane.velocity_gain(frequency, place) * spectrum).real
        assert np.abs(row - expected).max() < 1e-6 * np.abs(expected).max()


def test_velocity_is_theirs(mine, theirs):
    velocity, expected = mine["velocity"], theirs["velocity"]
    largest = np.abs(expected).max(axis=1, keepdims=True)
    error = velocity[theirs["units"], :: theirs["every"]] - expected
    assert (np.abs(error) / largest).max() < 1e-6
    rms = np.sqrt(np.mean(velocity**2, axis=1))
    assert rms == pytest.approx(theirs["velocity_rms"], rel=1e-6)


# hair cells


def test_probability_is_theirs(mine, theirs):
    probability, expected = mine["probability"], theirs["probability"]
    error = np.abs(probability[theirs["units"], :: theirs["every"]] - expected)
    assert (error / expected.max(axis=1, keepdims=True)).max() < 1e-6
    assert probability.mean(axis=1) == pytest.approx(theirs["probability_mean"], rel=1e-6)


def test_hair_cells_rest_in_silence():
    for constants, at_rest in (("article", 0.0017), ("default", 0.0027)):
        probability = Cochlea(70, constants).probability(np.zeros((3, 5000)))
        assert np.ptp(probability) < 1e-15
        assert probability[0, 0] == pytest.approx(at_rest, abs=5e-5)


# nerve


def expected_counts(probability, refractory_steps):
    """Return the mean number of spikes of 40 fibres, per unit."""
    spike = np.zeros_like(probability.T)
    out = np.zeros(len(probability))
    for step, p in enumerate(probability.T):
        spike[step] = p * (1 - out)
        out += spike[step]
        if step >= refractory_steps:
            out -= spike[step - refractory_steps]
    return 40 * spike.sum(axis=0)


def test_nerve_fires_as_often_as_it_must(mine):
    loud = mine["probability"][350:] * 5  # so that the refractory time matters
    n = sum(int(mine["cochlea"].nerve_counts(loud, seed).sum()) for seed in range(4))

    def z(refractory_steps):
        expected = 4 * expected_counts(loud, refractory_steps).sum()
        return (n - expected) / np.sqrt(expected)

    assert abs(z(23)) < 3
    assert abs(z(22)) > 10 and abs(z(24)) > 10


def test_nerve_counts_of_all_units_are_theirs(mine, theirs):
    expected = expected_counts(mine["probability"], 23)
    for counts in (
        theirs["nerve_spikes"],
        mine["cochlea"].nerve_counts(mine["probability"], 5).sum(axis=1),
    ):
        z = (counts - expected) / np.sqrt(expected)
        assert abs(z.sum()) / np.sqrt(700) < 3
        assert 0.8 < np.mean(z**2) < 1.1  # refractory fibres vary a bit less than Poisson's


def test_no_seed_is_an_outlier():
    """Streams of a poor generator are biased each in its way; the tails tell."""
    probability = np.full((96, 8000), 0.0027)
    expected = expected_counts(probability[:1], 23)[0] * 96
    cochlea = Cochlea(96)
    sums = [cochlea.nerve_counts(probability, seed).sum() for seed in range(60)]
    z = (np.array(sums) - expected) / np.sqrt(expected)
    assert np.abs(z).max() < 3.3
    assert 0.7 < z.std() < 1.15


def test_counts_of_a_step_are_binomial():
    counts = Cochlea(70).nerve_counts(np.full((64, 1), 0.3), 1).astype(int)
    draws = np.concatenate(
        [Cochlea(70).nerve_counts(np.full((64, 1), 0.3), s) for s in range(150)] + [counts]
    ).astype(int)
    assert draws.mean() == pytest.approx(12, abs=4 * np.sqrt(40 * 0.3 * 0.7 / draws.size))
    assert draws.var() == pytest.approx(8.4, rel=0.06)


def test_certain_fibres_fire_together_and_rest_for_a_millisecond():
    for probability in (1.0, 7.0):
        counts = Cochlea(70).nerve_counts(np.full((40, 60), probability), 3)
        assert (counts[:, ::24] == 40).all()
        assert counts.sum() == 40 * 40 * 3


def test_no_fibre_fires_without_transmitter():
    assert Cochlea(70).nerve_counts(np.zeros((3, 1000))).sum() == 0


def test_a_units_draws_do_not_depend_on_its_neighbours():
    cochlea, probability = Cochlea(70), np.full((70, 500), 0.01)
    together = cochlea.nerve_counts(probability, (4, 2))
    assert np.array_equal(cochlea.nerve_counts(probability[:5], (4, 2)), together[:5])
    assert not np.array_equal(cochlea.nerve_counts(probability, (4, 3)), together)
    assert len({row.tobytes() for row in together}) == 70


# bushy cells


def gives_their_spikes(theirs):
    spikes = Cochlea(70).bushy(theirs["nerve_count"])
    order = np.lexsort((theirs["spike_unit"], theirs["spike_step"]))
    units, times = theirs["spike_unit"][order], theirs["spike_step"][order] / 24000
    same_units = np.array_equal(theirs["units"][spikes.units], units)
    return same_units and np.array_equal(spikes.times, times)


def test_bushy_cells_give_their_spikes(theirs):
    assert gives_their_spikes(theirs)


@pytest.mark.parametrize("wrong", [{"refractory": 0.9e-3}, {"refractory": 1.2e-3}])
def test_wrong_refractory_time_gives_other_spikes(wrong, theirs, monkeypatch):
    monkeypatch.setattr(module, "BushyCell", partial(BushyCell, **wrong))
    assert not gives_their_spikes(theirs)


def test_a_crossing_in_the_last_step_gives_no_spike():
    counts = np.zeros((2, 50), np.uint8)
    counts[0, 49] = counts[1, 48] = 200
    spikes = Cochlea(70).bushy(counts)
    assert spikes.units.tolist() == [1]
    assert spikes.times.tolist() == [48 / 24000]
    assert spikes.duration == 50 / 24000


# all together


def z_scores(blocks, theirs):
    """Compare spikes [seed, block of 50 units] with those of the program's eight seeds."""
    expected = theirs["spikes_of_seeds"][:, 1:]
    # counts vary about as Poisson's or less; an estimate from eight of them is rough
    variance = (blocks.var(axis=0, ddof=1) + expected.var(axis=0, ddof=1)) / 2
    poisson = (blocks.mean(axis=0) + expected.mean(axis=0)) / 2
    spread = np.sqrt(np.maximum(variance, 0.5 * poisson) * 2 / 8 + 0.05)
    return (blocks.mean(axis=0) - expected.mean(axis=0)) / spread


def spikes_of_seeds(cochlea, audio):
    spikes = [cochlea.encode(audio, 48000, seed) for seed in range(8)]
    return np.array([s.counts()[0].reshape(14, 50).sum(axis=1) for s in spikes])


def test_spikes_are_as_many_as_theirs(mine, theirs, audio):
    z = z_scores(spikes_of_seeds(mine["cochlea"], audio), theirs)
    assert np.abs(z).max() < 3.5
    assert np.sum(z**2) < 36  # chi squared of 14: one in a thousand


@pytest.mark.parametrize("theirs", ["article"], indirect=True)
@pytest.mark.parametrize(
    "wrong", [{"weight": 13_000 * 1.03}, {"tau_mem": 1.03e-3}, {"tau_syn": 0.52e-3}]
)
def test_wrong_constants_would_be_noticed(wrong, mine, theirs, audio, monkeypatch):
    monkeypatch.setattr(module, "BushyCell", partial(BushyCell, **wrong))
    z = z_scores(spikes_of_seeds(mine["cochlea"], audio), theirs)
    assert np.sum(z**2) > 60


@pytest.mark.parametrize("channels", [70, 33, 1])
def test_encode_is_the_stages_in_a_row(channels, audio):
    cochlea = Cochlea(channels)
    velocity = cochlea.velocity(cochlea.sound(audio, 48000))
    counts = cochlea.nerve_counts(cochlea.probability(velocity), 9)
    staged, spikes = cochlea.bushy(counts), cochlea.encode(audio, 48000, 9)
    assert np.array_equal(staged.times, spikes.times)
    assert np.array_equal(staged.units, spikes.units)
    assert len(spikes) == 1 and spikes.size == channels
    assert spikes.duration == staged.duration == 13721 / 24000
    assert (spikes.times < spikes.duration).all()


def test_a_seed_fixes_everything(audio):
    cochlea = Cochlea(70)
    first, again, other = (cochlea.encode(audio, 48000, seed).times for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_level_and_type_of_the_samples_do_not_matter(audio):
    cochlea = Cochlea(70)
    sound = cochlea.sound(audio, 48000)
    assert cochlea.sound(audio * 1e-170, 48000) == pytest.approx(sound, abs=1e-12)
    assert np.sqrt(np.mean(cochlea.sound(noise(48000), 48000) ** 2)) == pytest.approx(0.3, rel=0.02)


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 96000])
def test_any_rate_is_brought_to_48_khz(rate):
    """At 8 kHz the hair cells' own steps would be unstable: many times the spikes."""
    duration = 0.3
    tones = [np.sin(2 * np.pi * 500 * np.arange(round(duration * r)) / r) for r in (rate, 48000)]
    spikes = [Cochlea(70).encode(t, r) for t, r in zip(tones, (rate, 48000), strict=True)]
    assert len(spikes[0].times) == pytest.approx(len(spikes[1].times), rel=0.1)
    assert spikes[0].duration == pytest.approx(duration, abs=1e-3)


def test_a_click_in_silence_gives_few_spikes():
    click = np.zeros(24000)
    click[12000] = 1.0
    assert 0 < len(Cochlea(70).encode(click, 48000).times) < 100


# bad input


@pytest.mark.parametrize(
    ("audio", "rate", "message"),
    [
        (np.zeros(9600), 48000, "silent"),
        (np.zeros(0), 48000, "empty"),
        (np.ones(2879), 48000, "at least 0.06 s"),
        (np.ones(400), 8000, "at least 0.06 s"),
        (np.full(9600, np.nan), 48000, "sample 0 is nan"),
        (np.append(np.ones(9600), np.inf), 48000, "sample 9600 is inf"),
        (np.ones((2, 9600)), 48000, "mono"),
        (np.ones(9600, np.int32), 48000, "int32"),
        (np.ones(9600), 0, "rate = 0"),
        (np.ones(9600), -48000, "rate = -48000"),
        (np.ones(9600), float("nan"), "rate = nan"),
        (np.ones(9600), 44100.5, "rate = 44100.5"),
        (np.ones(9600), 10**9, "rate = 1000000000"),
    ],
)
def test_bad_audio_is_refused(audio, rate, message):
    with pytest.raises(ValueError, match=message):
        Cochlea(3).encode(audio, rate)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"channels": 0}, "channels = 0"),
        ({"channels": 10**9}, "channels"),
        ({"constants": "meddis"}, "'article' or 'default'"),
        ({"n_fibres": 0}, "n_fibres = 0"),
        ({"n_fibres": 256}, "n_fibres = 256"),
        ({"first_place": -0.1}, "first_place = -0.1"),
        ({"first_place": 3.5}, "first_place = 3.5, must be at least 0 and below 3.5"),
    ],
)
def test_bad_parameters_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Cochlea(**wrong)


def test_the_first_place_may_lie_anywhere():
    tone = np.sin(2 * np.pi * 440 * np.arange(4800) / 48000)
    whole, part = Cochlea(36), Cochlea(26, first_place=1.0)  # places 0.1 cm apart
    velocity, sound = part.velocity(part.sound(tone, 48000)), whole.sound(tone, 48000)
    expected = whole.velocity(sound)[10:]
    np.testing.assert_allclose(velocity, expected, rtol=0, atol=2e-6 * expected.max())


def test_bad_stage_values_are_refused():
    with pytest.raises(ValueError, match="shape"):
        Cochlea(3).probability(np.zeros(5))
    with pytest.raises(ValueError, match="nan at"):
        Cochlea(3).nerve_counts(np.full((2, 2), np.nan))
