import pytest

from pipeline.data.sources import read_source
from pipeline.data.split import split_dataset
from pipeline.errors import DataError
from pipeline.params import Prepare

TRACKS, FRAMES = 5, 6


@pytest.fixture
def published(tmp_path, put_photos, put_text):
    base = tmp_path / "gtsrb"
    put_photos(
        base / "GTSRB/Training",
        *(
            f"{sign:05}/{track:05}_{frame:05}.ppm"
            for sign in range(43)
            for track in range(TRACKS)
            for frame in range(FRAMES)
        ),
    )
    rows = [f"{number:05}.ppm;53;54;6;5;48;49;{(16 * number) % 43}" for number in range(43)]
    header = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"
    put_text(base / "GT-final_test.csv", "\n".join([header, *rows]))
    put_photos(base / "GTSRB/Final_Test/Images", *(row.partition(";")[0] for row in rows))
    return tmp_path


def test_images_and_splits_are_as_published_and_numbers_become_signs(published, listed):
    rows = listed("gtsrb", published)
    assert rows[0] == ("gtsrb/GTSRB/Training/00000/00000_00000.ppm", "speed limit 20", "train")
    assert len([row for row in rows if row[2] == "train"]) == 43 * TRACKS * FRAMES
    named = {name.rpartition("/")[2]: sign for name, sign, split in rows if split == "test"}
    # Numbers 14, 13, 12 and 42, by what the benchmark's pictures show.
    signs = {number: named[f"{row:05}.ppm"] for row, number in _numbers().items()}
    assert [signs[n] for n in (13, 14, 17, 40)] == ["give way", "stop", "no entry", "roundabout"]
    assert len(set(named.values())) == 43


def _numbers():
    return {row: (16 * row) % 43 for row in range(43)}


def test_validation_is_carved_by_whole_tracks(published):
    prepare = Prepare(source="gtsrb", path=str(published), split="published", block=1)
    source = read_source(prepare)
    chosen = split_dataset(source, prepare)
    homes = {}
    for split in ("train", "val"):
        for index in chosen[split]:
            folder, name = source.samples[index].name.split("/")[-2:]
            homes.setdefault((folder, name[:5]), set()).add(split)
    assert len(homes) == 43 * TRACKS
    assert all(len(home) == 1 for home in homes.values())
    # A quarter of five tracks of a sign is one or two.
    assert len(chosen["val"]) in range(43 * FRAMES, 43 * 2 * FRAMES)


def test_rows_that_cannot_be_used_are_refused(published, listed, put_text):
    table = published / "gtsrb/GT-final_test.csv"
    # torchvision itself reads what is a number; a sign beyond the last one is for us to refuse.
    put_text(table, "Filename;ClassId\n00000.ppm;43\n")
    with pytest.raises(DataError, match=r"GT-final_test\.csv: '43' is not a number from 0 to 42"):
        listed("gtsrb", published)
    put_text(table, "Filename;ClassId\n../00000.ppm;4\n")
    with pytest.raises(DataError, match="is outside"):
        listed("gtsrb", published)
    put_text(table, "Name;Class\n00000.ppm;4\n")
    with pytest.raises(DataError, match="GTSRB cannot be read"):
        listed("gtsrb", published)
