"""The scenes: labels agree with the picture, and every switch does what it says."""

import re
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coursepkg.data.scenes import CLASSES, DOMAINS, KEYPOINTS, Settings, scenes, stack
from coursepkg.data.shapes import KINDS

wishes = st.fixed_dictionaries(
    {},
    optional={
        "size": st.sampled_from([32, 64, 96, (48, 80), (80, 33), 16]),
        "domain": st.sampled_from(sorted(DOMAINS)),
        "objects": st.one_of(st.integers(0, 9), st.sampled_from([(0, 2), (1, 4), (3, 9)])),
        "occlusion": st.floats(0, 0.8),
        "clutter": st.integers(0, 8),
        "classes": st.lists(st.sampled_from(CLASSES), min_size=1, unique=True).map(tuple),
    },
)
places = {"seed": st.integers(0, 2**32), "start": st.integers(0, 10_000)}
many = settings(max_examples=150)


def arrays(scene):
    """Everything about a scene, for comparison."""
    return (
        *(scene.image, scene.labels, scene.instances, scene.amodal, scene.keypoints),
        *(np.array(scene.colours), np.array(scene.place), np.array(scene.caption)),
    )


def same(one, two):
    return all(np.array_equal(a, b) for a, b in zip(arrays(one), arrays(two), strict=True))


# -- labels -------------------------------------------------------------------------------------


@many
@given(wish=wishes, **places)
def test_shapes_and_types(wish, seed, start):
    (scene,) = scenes(1, seed, start=start, **wish)
    chosen = Settings(**wish)
    shape, n = chosen.shape, len(scene.labels)
    assert scene.image.shape == (*shape, 3)
    assert scene.image.dtype == np.uint8
    assert scene.instances.shape == scene.semantic.shape == shape
    assert scene.amodal.shape == (n, *shape)
    assert scene.boxes.shape == (n, 4)
    assert scene.keypoints.shape == (n, 5, 2)
    assert scene.visible.shape == (n, 5)
    assert scene.visibility.shape == (n,)
    assert len(scene.colours) == len(scene.names) == n
    assert n <= chosen.range[1]
    assert scene.classes == chosen.classes
    assert ((scene.labels >= 0) & (scene.labels < len(chosen.classes))).all()


@many
@given(wish=wishes, **places)
def test_masks_and_boxes_agree(wish, seed, start):
    (scene,) = scenes(1, seed, start=start, **wish)
    assert set(np.unique(scene.instances)) - {0} == set(range(1, len(scene.labels) + 1))
    for k, (label, (x0, y0, x1, y1)) in enumerate(zip(scene.labels, scene.boxes, strict=True)):
        mask = scene.instances == k + 1
        inside = mask[y0:y1, x0:x1]
        assert inside.sum() == mask.sum()  # nothing outside
        assert inside[0].any()  # and each side touches
        assert inside[-1].any()
        assert inside[:, 0].any()
        assert inside[:, -1].any()
        assert (scene.semantic[mask] == label + 1).all()
        assert (scene.amodal[k] | ~mask).all()  # the visible is a part of the whole
        assert scene.visibility[k] == mask.sum() / scene.amodal[k].sum()
    assert (scene.semantic[scene.instances == 0] == 0).all()


@many
@given(wish=wishes, **places)
def test_what_is_in_front_hides_what_is_behind(wish, seed, start):
    (scene,) = scenes(1, seed, start=start, **wish)
    for k in range(len(scene.labels)):
        in_front = scene.amodal[k + 1 :].any(axis=0)
        assert not (in_front & (scene.instances == k + 1)).any()


@many
@given(wish=wishes, **places)
def test_keypoints_are_visible_where_their_thing_is(wish, seed, start):
    (scene,) = scenes(1, seed, start=start, **wish)
    height, width = scene.instances.shape
    for k, points in enumerate(scene.keypoints):
        for (x, y), visible in zip(points, scene.visible[k], strict=True):
            assert 0 <= x < width
            assert 0 <= y < height
            assert visible == (scene.instances[int(y), int(x)] == k + 1)


@settings(max_examples=60)
@given(name=st.sampled_from(CLASSES), **places)
def test_keypoints_lie_inside_the_whole_shape(name, seed, start):
    """At a size where no part is thinner than a pixel."""
    (scene,) = scenes(1, seed, start=start, classes=(name,), objects=1, size=160)
    for keypoint, (x, y) in zip(KEYPOINTS[name], scene.keypoints[0], strict=True):
        assert scene.amodal[0][int(y), int(x)], keypoint


def test_all_keypoints_of_a_whole_thing_are_visible():
    for scene in scenes(60, seed=1, objects=1, occlusion=0, size=160):
        assert scene.visible.all()


NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
WORDS = {kind.plural: name for name, kind in KINDS.items()} | {name: name for name in KINDS}


def read_count(phrase):
    number, word = phrase.split()
    return WORDS[word], NUMBERS.index(number)


def read_thing(phrase):
    """``a red car`` -> (car, red); ``a person in red`` -> (person, red); ``a car`` -> (car, '')."""
    words = [word for word in phrase.split() if word not in ("a", "an", "in")]
    (name,) = set(words) & set(KINDS)
    return name, " ".join(word for word in words if word != name)


def check_caption(scene):
    """Read the sentence with a grammar of our own; compare with the labels."""
    text = scene.caption
    if scene.place:
        assert text.endswith(" " + scene.place)
        text = text.removesuffix(" " + scene.place)
    things = sorted(zip(scene.names, scene.colours, strict=True))
    if not things:
        assert text == "nothing"
    elif len(things) > 2:
        counts = dict(map(read_count, re.split(", | and ", text)))
        assert counts == Counter(scene.names)
    else:
        phrases = re.split(" left of | above ", text)
        assert sorted(map(read_thing, phrases)) == things
        for phrase in phrases:
            article, word = phrase.split()[:2]
            assert (article == "an") == (word[0] in "aeiou")
        if len(things) == 2:
            check_relation(scene, text)


def check_relation(scene, text):
    middles = scene.boxes.reshape(2, 2, 2).mean(axis=1)  # (2 things, x and y)
    across, down = np.abs(middles[0] - middles[1])
    axis = 0 if " left of " in text else 1
    assert (across, down)[axis] >= (across, down)[1 - axis]
    first = read_thing(re.split(" left of | above ", text)[0])
    ordered = np.argsort(middles[:, axis], kind="stable")
    names = list(zip(scene.names, scene.colours, strict=True))
    assert names[ordered[0]] == first


@many
@given(wish=wishes, **places)
def test_captions_tell_the_truth(wish, seed, start):
    check_caption(scenes(1, seed, start=start, **wish)[0])


def test_captions_of_every_kind_occur():
    texts = " | ".join(s.caption for s in scenes(300, seed=5, objects=(0, 4)))
    for word in ("nothing", " left of ", " above ", " and ", "two ", "an orange", "person in "):
        assert word in texts


# -- determinism --------------------------------------------------------------------------------


@settings(max_examples=40)
@given(wishes, st.integers(0, 2**32), st.integers(1, 6), st.integers(0, 5))
def test_a_scene_depends_on_seed_and_index_alone(wish, seed, n, index):
    index = min(index, n - 1)
    inside = scenes(n, seed, **wish)[index]
    np.random.default_rng(seed).random(7)
    (alone,) = scenes(1, seed, start=index, **wish)
    assert same(inside, alone)


def test_another_process_draws_the_same():
    code = (
        "from coursepkg.data.scenes import scenes; import hashlib;"
        "print(hashlib.sha256(b''.join(s.image.tobytes() for s in scenes(20, 3))).hexdigest())"
    )
    prints = {
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout
        for _ in range(2)
    }
    assert len(prints) == 1


def test_seeds_and_indices_differ():
    images = [s.image.tobytes() for seed in (0, 1, 2) for s in scenes(30, seed)]
    assert len(set(images)) == 90


def test_a_scene_cannot_spoil_the_next():
    first = scenes(1)[0]
    first.image[:] = 0
    first.instances[:] = 0
    assert scenes(1)[0].image.any()


# -- switches -----------------------------------------------------------------------------------


@pytest.mark.parametrize("domain", DOMAINS)
def test_domains_share_their_layout(domain):
    for normal, other in zip(scenes(20, 4), scenes(20, 4, domain=domain), strict=True):
        np.testing.assert_array_equal(normal.instances, other.instances)
        np.testing.assert_array_equal(normal.amodal, other.amodal)
        np.testing.assert_array_equal(normal.keypoints, other.keypoints)
        np.testing.assert_array_equal(normal.labels, other.labels)


def test_domains_are_ordered_by_brightness():
    mean = {d: stack(scenes(80, 6, domain=d)).images.mean(axis=(1, 2, 3)) for d in DOMAINS}
    assert (mean["dark"] < 0.5 * mean["normal"]).all()
    assert (mean["bright"] > 1.1 * mean["normal"]).all()
    assert mean["sketch"].min() > 0.6


def test_a_sketch_has_no_colour_and_dark_lines():
    drawn = scenes(40, 7, domain="sketch")
    for scene in drawn:
        assert np.ptp(scene.image.astype(int), axis=2).max() == 0
        lines = scene.image[..., 0] < 128
        assert 0 < lines.mean() < 0.3
        assert scene.place == ""
        assert set(scene.colours) == {""}
    assert np.ptp(scenes(1, 7)[0].image.astype(int), axis=2).max() > 50


def test_another_size_shows_the_same_scene():
    for small, large in zip(scenes(20, 8, size=64), scenes(20, 8, size=192), strict=True):
        np.testing.assert_array_equal(small.labels, large.labels)
        np.testing.assert_allclose(large.keypoints, 3 * small.keypoints, atol=1e-3)
        agreement = (large.semantic[1::3, 1::3] == small.semantic).mean()
        assert agreement > 0.97


def test_classes_are_drawn_from_the_choice_and_all_come_up():
    chosen = ("tree", "car", "fish")
    drawn = scenes(100, 9, classes=chosen)
    assert {name for s in drawn for name in s.names} == set(chosen)
    assert {s.classes for s in drawn} == {chosen}
    everything = Counter(name for s in scenes(300, 9) for name in s.names)
    assert len(CLASSES) >= 8
    assert min(everything[name] for name in CLASSES) > 0.5 * max(everything.values())


@pytest.mark.parametrize("n", range(6))
def test_the_number_of_things(n):
    assert {len(s.labels) for s in scenes(30, 10, objects=n)} == {n}


def test_a_thing_without_a_pixel_is_not_listed():
    """Nine things on 16 x 16 pixels do not all find room."""
    crowded = scenes(60, 10, objects=9, size=16, occlusion=0.8)
    assert min(len(s.labels) for s in crowded) < 9
    for scene in crowded:
        assert len(scene.labels) == len(set(np.unique(scene.instances)) - {0})
        assert (scene.visibility > 0).all()


def test_a_range_of_things_is_used_to_both_ends():
    assert {len(s.labels) for s in scenes(60, 11, objects=(1, 4))} == {1, 2, 3, 4}


@pytest.mark.parametrize("size", [32, 64, (48, 80)])
def test_without_occlusion_everything_is_whole(size):
    for scene in scenes(80, 12, objects=(1, 5), occlusion=0, size=size):
        assert (scene.visibility == 1).all()


def test_occlusion_hides_parts_but_no_more_than_allowed():
    least = []
    for occlusion in (0.2, 0.4, 0.8):
        drawn = scenes(80, 13, objects=(2, 5), occlusion=occlusion, size=128)
        for scene in drawn:
            for k, whole in enumerate(scene.amodal):
                rows, columns = np.nonzero(whole)
                area = (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
                hidden = (whole & (scene.instances != k + 1)).sum()
                assert hidden / area <= occlusion
        least.append(np.mean([s.visibility.mean() for s in drawn]))
    assert 1 > least[0] > least[1] > least[2]
    assert least[1] < 0.98
    assert least[2] < 0.92


def test_single_things_can_be_occluded():
    part = np.array([s.visibility[0] for s in scenes(200, 14, objects=1, occlusion=0.5)])
    assert part.min() < 0.85
    assert (part == 1).mean() > 0.2


def test_clutter_changes_the_picture_and_no_label():
    for bare, messy in zip(scenes(20, 15, clutter=0), scenes(20, 15, clutter=6), strict=True):
        np.testing.assert_array_equal(bare.instances, messy.instances)
        np.testing.assert_array_equal(bare.keypoints, messy.keypoints)
        assert bare.caption == messy.caption
    covered = []
    for clutter in (2, 8):
        pairs = zip(
            scenes(40, 15, objects=0, clutter=0),
            scenes(40, 15, objects=0, clutter=clutter),
            strict=True,
        )
        change = [np.abs(a.image.astype(int) - b.image).max(axis=2) > 60 for a, b in pairs]
        covered.append(np.mean(change))
    assert 0.02 < covered[0] < covered[1]


def test_backgrounds_are_many():
    drawn = scenes(200, 16)
    assert len({s.place for s in drawn}) >= 8


def test_individuals_vary_in_pose_scale_and_colour():
    cars = scenes(120, 17, classes=("car",), objects=1, occlusion=0)
    front, rear = np.array([s.keypoints[0, :2] for s in cars]).transpose(1, 0, 2)
    facing = front[:, 0] > rear[:, 0]
    assert 0.3 < facing.mean() < 0.7
    tilt = np.degrees(np.arctan2(*(np.abs(front - rear).T[::-1])))
    assert tilt.std() > 3
    area = np.array([s.amodal.sum() for s in cars])
    assert area.max() > 2 * area.min()
    assert len({s.colours for s in cars}) >= 6


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"size": 15}, "size=15 .*at least 16"),
        ({"size": (64, 8)}, "size=8 .*at least 16"),
        ({"classes": ()}, r"classes=\(\) .*bird"),
        ({"classes": ("car", "unicorn")}, "unicorn.*choose"),
        ({"classes": ("car", "car")}, "different"),
        ({"domain": "fog"}, "domain='fog' .*sketch"),
        ({"objects": 10}, "objects=10 "),
        ({"objects": (3, 2)}, r"objects=\(3, 2\)"),
        ({"objects": -1}, "objects=-1"),
        ({"occlusion": 0.9}, "occlusion=0.9"),
        ({"clutter": -1}, "clutter=-1"),
    ],
)
def test_settings_out_of_range_are_refused(wish, message):
    with pytest.raises(ValueError, match=message):
        scenes(1, **wish)


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"size": 32.5}, "size=32.5 is not an integer"),
        ({"size": (32,)}, "size=(32,) has 1 entries; use an integer or (height, width)"),
        ({"objects": 2.5}, "objects=2.5 is not an integer"),
        ({"objects": True}, "objects=True is not an integer"),
        ({"objects": (1.5, 2)}, "objects=1.5 is not an integer"),
        (
            {"objects": (1, 2, 3)},
            "objects=(1, 2, 3) has 3 entries; use an integer or (least, most)",
        ),
        ({"clutter": 2.5}, "clutter=2.5 is not an integer"),
        ({"occlusion": "a"}, "occlusion='a' cannot be drawn; give a fraction"),
        ({"domain": ["x"]}, "domain=['x'] cannot be drawn; choose from"),
        ({"n": 1.5}, "n=1.5 is not an integer"),
        ({"seed": -1}, "seed=-1 is too small"),
        ({"seed": 0.5}, "seed=0.5 is not an integer"),
        ({"start": 0.5}, "start=0.5 is not an integer"),
    ],
)
def test_what_is_of_another_type_is_refused_by_name(wish, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        scenes(**{"n": 1} | wish)


def test_numpy_numbers_are_as_good_as_pythons():
    ours = scenes(2, 5, start=1, size=32, objects=2, clutter=1, occlusion=0.5)
    one, two, half = np.int64(1), np.int64(2), np.float64(0.5)
    wish = {"size": np.int64(32), "objects": two, "clutter": one, "occlusion": half}
    theirs = scenes(two, np.int64(5), start=one, **wish)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a.image, b.image)


def test_other_bad_arguments():
    with pytest.raises(TypeError, match="colour"):
        scenes(1, colour="red")
    with pytest.raises(ValueError, match="n=-1"):
        scenes(-1)
    with pytest.raises(ValueError, match="start=-1"):
        scenes(1, start=-1)
    assert scenes(0) == []


# -- batches ------------------------------------------------------------------------------------


def test_stack():
    drawn = scenes(12, 18, objects=(0, 3), size=(32, 48))
    batch = stack(drawn)
    assert batch.images.shape == (12, 3, 32, 48)
    assert batch.images.dtype == np.float32
    assert batch.images.flags.c_contiguous
    for k, scene in enumerate(drawn):
        np.testing.assert_allclose(batch.images[k].transpose(1, 2, 0) * 255, scene.image, atol=1e-4)
        np.testing.assert_array_equal(batch.semantic[k], scene.semantic)
        counts = [scene.names.count(name) for name in CLASSES]
        assert batch.present[k].tolist() == counts


def test_labels_of_single_things():
    drawn = scenes(20, 19, objects=1)
    np.testing.assert_array_equal(stack(drawn).labels, [s.labels[0] for s in drawn])
    with pytest.raises(ValueError, match="objects=1"):
        _ = stack(scenes(5, objects=2)).labels


def test_what_does_not_stack():
    with pytest.raises(ValueError, match="0 scenes"):
        stack([])
    with pytest.raises(ValueError, match="2 kinds"):
        stack(scenes(1, size=32) + scenes(1, size=64))


def test_the_data_are_neither_trivial_nor_impossible():
    """A linear classifier on small pictures is above chance and far below perfect."""
    from sklearn.linear_model import RidgeClassifier

    train, test = (stack(scenes(n, s, objects=1, size=32)) for n, s in ((1200, 0), (400, 1)))
    x, y = (  # averages of 2 x 2 pixels, flat: (N, 768)
        b.images.reshape(-1, 3, 16, 2, 16, 2).mean(axis=(3, 5)).reshape(-1, 768)
        for b in (train, test)
    )
    model = RidgeClassifier(alpha=30).fit(x, train.labels)
    right = (model.predict(y) == test.labels).mean()
    chance = 1 / len(CLASSES)
    assert chance + 4 * (chance * (1 - chance) / 400) ** 0.5 < right < 0.7
