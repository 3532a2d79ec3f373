import pywt

from pipeline.params import load_params
from tests.pipeline.params.own_file import FILE


def test_changed_keeps_all_other_values():
    distill = load_params(FILE).distill
    changed = distill.changed({"figkd.level": 3, "lr": 0.5})
    assert (changed.figkd.level, changed.lr) == (3, 0.5)
    assert changed.changed({"figkd.level": distill.figkd.level, "lr": distill.lr}) == distill


def test_every_discrete_wavelet_and_mode_of_pywavelets_is_allowed():
    distill = load_params(FILE).distill
    for wavelet in pywt.wavelist(kind="discrete"):
        assert distill.changed({"figkd.wavelet": wavelet}).figkd.wavelet == wavelet
    for mode in pywt.Modes.modes:
        assert distill.changed({"figkd.mode": mode}).figkd.mode == mode
