from typing import get_args

import pytest
from PIL import Image

from pipeline.data.sources import SOURCES, read_source
from pipeline.errors import DataError
from pipeline.params import Prepare


def test_every_name_that_the_parameters_allow_has_a_reader_and_no_reader_is_out_of_reach():
    assert set(get_args(Prepare.model_fields["source"].annotation)) == set(SOURCES)


@pytest.mark.parametrize("source", sorted(set(SOURCES) - {"elpv", "typefaces"}))
def test_no_source_is_found_in_an_empty_folder_and_the_message_says_what_to_do(tmp_path, source):
    with pytest.raises(DataError) as caught:
        read_source(Prepare(source=source, path=str(tmp_path)))
    assert str(tmp_path) in str(caught.value)
    assert caught.value.remedy


@pytest.fixture
def bursts(tmp_path):
    """Photographs in the order of their names, which say whose and when."""
    for kind in ("robin", "wren"):
        (tmp_path / kind).mkdir()
        for day in (1, 2):
            for shot in range(3):
                path = tmp_path / kind / f"nest{day}-cam{shot}_{shot}.png"
                Image.new("RGB", (4, 4)).save(path)
    return tmp_path


def groups(folder, pattern):
    source = read_source(Prepare(source="folder", path=str(folder), group_by=pattern))
    return {photo.name: photo.group for photo in source.photos}


def test_a_rule_groups_by_its_match_or_by_its_groups(bursts):
    whole = groups(bursts, r"\w+/nest\d")
    assert whole["robin/nest1-cam0_0.png"] == whole["robin/nest1-cam2_2.png"] == "robin/nest1"
    assert len(set(whole.values())) == 4
    assert set(groups(bursts, r"nest(\d)").values()) == {"1", "2"}
    assert len(set(groups(bursts, r"(robin|wren)/.*cam(\d)").values())) == 6
    assert len(set(groups(bursts, r"(robin)?.*cam(\d)").values())) == 6


def test_a_name_that_the_rule_does_not_match_is_refused_by_name(bursts):
    with pytest.raises(DataError, match=r"'wren/nest1-cam0_0\.png'.*prepare\.group_by"):
        groups(bursts, r"robin/nest\d")
