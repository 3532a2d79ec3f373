import pytest

from pipeline.data.sources import read_source
from pipeline.data.split import split_dataset
from pipeline.errors import DataError
from pipeline.params import Prepare

SYNSETS = ("n02124075", "n02012849", "n03126707", "n01443537")


@pytest.fixture
def published(tmp_path, put_photos, put_text):
    put_text(tmp_path / "wnids.txt", "\n".join(SYNSETS))
    put_text(
        tmp_path / "words.txt",
        "n00001740\tentity\nn01443537\tgoldfish, Carassius auratus\nn02012849\tcrane\n"
        "n02124075\tEgyptian cat\nn03126707\tcrane\n",
    )
    for synset in SYNSETS:
        put_photos(
            tmp_path / "train" / synset / "images", *(f"{synset}_{n}.JPEG" for n in range(4))
        )
        put_text(
            tmp_path / "train" / synset / f"{synset}_boxes.txt", f"{synset}_0.JPEG\t0\t0\t9\t9\n"
        )
    rows = [f"val_{n}.JPEG\t{synset}\t0\t0\t62\t62\n" for n, synset in enumerate(SYNSETS[::-1])]
    put_text(tmp_path / "val/val_annotations.txt", "".join(rows))
    put_photos(tmp_path / "val/images", *(f"val_{n}.JPEG" for n in range(4)))
    put_photos(tmp_path / "test/images", "test_0.JPEG", "test_1.JPEG")
    return tmp_path


def test_its_validation_set_is_the_test_split_and_its_unlabelled_test_set_is_left_out(
    published, listed
):
    names = ("Egyptian cat", "crane (n02012849)", "crane (n03126707)", "goldfish")
    assert listed("tiny_imagenet", published) == [
        *(
            (f"train/{synset}/images/{synset}_{n}.JPEG", name, "train")
            for synset, name in zip(SYNSETS, names, strict=True)
            for n in range(4)
        ),
        *((f"val/images/val_{n}.JPEG", name, "test") for n, name in enumerate(names[::-1])),
    ]


def test_validation_is_carved_from_train(published):
    prepare = Prepare(source="tiny_imagenet", path=str(published), split="published", block=1)
    source = read_source(prepare)
    chosen = split_dataset(source, prepare)
    assert [len(chosen[split]) for split in ("train", "val", "test")] == [12, 4, 4]
    assert {source.samples[i].label for i in chosen["val"]} == {0, 1, 2, 3}


def test_what_is_missing_is_named(published, listed, put_text):
    put_text(published / "words.txt", "n02124075\tEgyptian cat\n")
    with pytest.raises(DataError, match=r"words\.txt: has no entry for 'n02012849'"):
        listed("tiny_imagenet", published)
    put_text(published / "val/val_annotations.txt", "val_0.JPEG\tn99999999\t0\t0\t62\t62\n")
    with pytest.raises(DataError, match=r"'n99999999' is not in wnids\.txt"):
        listed("tiny_imagenet", published)
    put_text(published / "val/val_annotations.txt", "val_0.JPEG\n")
    with pytest.raises(DataError, match=r"val_annotations\.txt, line 1: .* 6 columns"):
        listed("tiny_imagenet", published)
    put_text(published / "wnids.txt", "n00000000\n")
    with pytest.raises(DataError, match="train/n00000000/images: is missing"):
        listed("tiny_imagenet", published)
