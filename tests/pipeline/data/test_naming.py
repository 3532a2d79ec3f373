import pytest

from pipeline.data.naming import data_name


@pytest.mark.parametrize(
    ("source", "origin", "name"),
    [
        ("folder", "garden birds", "garden birds"),
        ("elpv", "https://github.com/zae-bayern/elpv-dataset", "elpv"),
        ("folder", "", "folder"),
    ],
)
def test_own_images_have_the_name_of_their_folder(source, origin, name):
    assert data_name(source, origin) == name
