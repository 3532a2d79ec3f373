import pywt

from pipeline.params import FiGKD


def test_every_discrete_wavelet_and_mode_of_pywavelets_is_allowed():
    wavelets, modes = pywt.wavelist(kind="discrete"), pywt.Modes.modes
    assert all(FiGKD(wavelet=wavelet).wavelet == wavelet for wavelet in wavelets)
    assert all(FiGKD(mode=mode).mode == mode for mode in modes)


ORT = "name: a, runtime: onnxruntime, precision"
