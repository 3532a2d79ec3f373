import pytest
from PIL import Image
from pydantic import ValidationError

from pipeline.data.sources import DataSource, Listing, Sample, read_source
from pipeline.errors import DataError
from pipeline.params import Prepare, prepare_model
from pipeline.plugins import SOURCES

WITHOUT_PATH = {"elpv", "typefaces"}


@pytest.mark.parametrize("source", sorted(set(SOURCES.names()) - WITHOUT_PATH))
def test_an_empty_folder_is_an_error_with_a_remedy(tmp_path, source):
    with pytest.raises(DataError) as caught:
        read_source(Prepare(source=source, path=str(tmp_path)))
    assert str(tmp_path) in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize("source", SOURCES.names())
def test_a_source_that_needs_a_path_is_refused_without_one(source):
    if source in WITHOUT_PATH:
        Prepare(source=source)
    else:
        with pytest.raises(ValidationError, match=f"'{source}' needs `path`"):
            Prepare(source=source)


@pytest.mark.parametrize("source", ["elpv", "typefaces", "eurosat"])
def test_published_splits_are_refused_for_a_source_without_them(source):
    with pytest.raises(ValidationError, match=f"'{source}' publishes no splits"):
        Prepare(source=source, path="anywhere", split="published")


def test_an_unknown_source_is_refused_with_close_names():
    with pytest.raises(ValidationError, match=r"'food100'.*food101"):
        Prepare(source="food100", path="anywhere")


@pytest.fixture
def owls(tmp_path, monkeypatch):
    """A source as another package would add it."""
    SOURCES.names()
    monkeypatch.setattr(SOURCES, "_entries", dict(SOURCES._entries))

    @SOURCES.register("owls")
    class Owls(DataSource):
        """Images of owls.

        Args:
            limit: Maximum number of images per class.
        """

        license = "MIT"
        publishes_splits = False

        def __init__(self, *, limit: int = 9) -> None:
            self.limit = limit

        def read(self, path):
            files = [path / f"{number}.png" for number in range(2 * self.limit)]
            samples = [Sample(f, f.name, n % 2) for n, f in enumerate(files)]
            return Listing(["barn", "tawny"], samples)

    for number in range(20):
        Image.new("RGB", (4, 4)).save(tmp_path / f"{number}.png")
    prepare_model.cache_clear()
    yield tmp_path
    prepare_model.cache_clear()


def test_a_registered_source_gets_its_options_as_parameters(owls):
    model = prepare_model()
    assert len(read_source(model(source="owls", path=str(owls))).samples) == 18
    dataset = read_source(model(source="owls", path=str(owls), owls={"limit": 2}))
    assert len(dataset.samples) == 4
    assert (dataset.name, dataset.license, dataset.origin) == ("owls", "MIT", owls.name)
    with pytest.raises(ValidationError, match="limit"):
        model(source="owls", path=str(owls), owls={"limit": "two"})
    assert "owls" in model.model_json_schema()["properties"]["source"]["enum"]


@pytest.fixture
def bursts(tmp_path):
    """Images whose names contain a nest and a camera."""
    for kind in ("robin", "wren"):
        (tmp_path / kind).mkdir()
        for day in (1, 2):
            for shot in range(3):
                path = tmp_path / kind / f"nest{day}-cam{shot}_{shot}.png"
                Image.new("RGB", (4, 4)).save(path)
    return tmp_path


def groups(folder, pattern):
    dataset = read_source(Prepare(source="folder", path=str(folder), group_by=pattern))
    return {sample.name: sample.group for sample in dataset.samples}


def test_group_by_uses_the_match_or_its_capture_groups(bursts):
    whole = groups(bursts, r"\w+/nest\d")
    assert whole["robin/nest1-cam0_0.png"] == whole["robin/nest1-cam2_2.png"] == "robin/nest1"
    assert len(set(whole.values())) == 4
    assert set(groups(bursts, r"nest(\d)").values()) == {"1", "2"}
    assert len(set(groups(bursts, r"(robin|wren)/.*cam(\d)").values())) == 6
    assert len(set(groups(bursts, r"(robin)?.*cam(\d)").values())) == 6


def test_a_name_without_a_match_is_refused(bursts):
    with pytest.raises(DataError, match=r"'wren/nest1-cam0_0\.png'.*prepare\.group_by"):
        groups(bursts, r"robin/nest\d")
