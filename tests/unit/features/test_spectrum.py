"""Figures of waveforms where a formula tells them."""

import numpy as np
import pytest

from nightmill.features.spectrum import at_orders, envelopes, in_bands, spectrum
from nightmill.features.waveform import figures

RATE, SIZE = 1000.0, 1000
TIME = np.arange(SIZE) / RATE


def test_all_power_of_a_wave_is_at_its_frequency():
    frequency, power = spectrum(3 * np.sin(2 * np.pi * 120 * TIME)[None] + 7, RATE)
    assert frequency[power[0].argmax()] == 120
    assert power[0].sum() * frequency[1] == pytest.approx(3**2 / 2)


def test_the_envelope_of_a_swelling_wave_is_how_it_swells():
    swell = 1 + 0.5 * np.cos(2 * np.pi * 10 * TIME)
    assert envelopes((swell * np.sin(2 * np.pi * 200 * TIME))[None])[0] == pytest.approx(swell, abs=1e-9)


def test_orders_are_multiples_of_each_rows_own_speed_and_nothing_is_known_beyond_the_spectrum():
    waves = np.stack([np.sin(2 * np.pi * 100 * TIME), np.sin(2 * np.pi * 150 * TIME)])
    found = at_orders(*spectrum(waves, RATE), np.array([50.0, 75.0]), [2.0, 3.0, 8.0])
    assert found[0, 0] == pytest.approx(found[1, 0])
    assert (found[:, 1] < 1e-12 * found[:, 0]).all()
    assert np.isfinite(found[0, 2]) and np.isnan(found[1, 2])
    assert np.isnan(at_orders(*spectrum(waves, RATE), np.array([np.nan, 0.0]), [2.0])).all()


def test_narrow_bands_without_a_frequency_have_the_nearest_one():
    frequency, power = spectrum(np.random.default_rng(0).normal(size=(2, 32)), RATE)
    found = in_bands(frequency, power, 20)
    assert found.shape == (2, 20)
    assert (found[:, 0] == power[:, 1]).all()
    assert np.isfinite(found).all()


def test_a_flat_line_has_no_kurtosis():
    found = figures(np.full((1, 8), 2.0), ["rms", "peak", "kurtosis", "crest"])
    assert found[0, :2].tolist() == [0, 0]
    assert np.isnan(found[0, 2:]).all()
