"""Who is in the sample library of training images, and what is wrong with each one's images, metadata and base image."""

from __future__ import annotations

from typing import NamedTuple

BASES = ("good", "png", "poster", "training 0", "link inside", "link outside", "cut off", "absent")
USABLE_BASES = ("good", "png", "poster", "training 0", "link inside")
LEGACIES = ("", "list", "map", "response", "one response", "both", "puzzling", "broken", "migrated")
FLAWS = (
    "copies",
    "broken files",
    "no image",
    "gaps",
    "upper case",
    "unnumbered",
    "mislabelled",
    "link",
    "folder",
    "decoys",
    "disk only",
    "bucket only",
    "neither",
    "archived",
    "no actor manifest",
    "no descriptor",
)


class TrainingPart(NamedTuple):
    """One actor as drawn; see `training_library.TrainingActor`.

    Attributes:
        name: What follows the id in the actor's name: complexion, age and sex, or what else somebody is.
        counts: Images drawn as photographs, in ink and in colour.
        why: What is to be seen in this actor.
        legacy: What metadata there is; one of LEGACIES.
        flaws: What is wrong with the files; of FLAWS.
        poor: How many of the images are poor.
        base: How the base image is; one of BASES.
        descriptor: Of those who are no humans, as their manifest has it.
        being: human, creature or robot.
    """

    name: str
    counts: tuple[int, int, int]
    why: str
    legacy: str = ""
    flaws: tuple[str, ...] = ()
    poor: int = 0
    base: str = "good"
    descriptor: str = ""
    being: str = "human"


PARTS: tuple[TrainingPart, ...] = (
    TrainingPart("european_20_female", (15, 4, 3), "two photographs too many", "list"),
    TrainingPart("kazakh_45_male", (13, 4, 3), "exactly at the target, with a manifest of ours", "migrated"),
    TrainingPart("korean_27_female", (12, 4, 4), "at the total, and each share within the tolerance", "map"),
    TrainingPart("nigerian_33_female", (26, 8, 6), "the right shares of twice the total", "list"),
    TrainingPart("irish_24_female", (6, 2, 2), "the right shares of half the total", "response"),
    TrainingPart("uzbek_58_male", (20, 0, 0), "the right total, all of it photographs", "map"),
    TrainingPart("indian_41_male", (0, 12, 0), "ink drawings alone", "response"),
    TrainingPart("mexican_29_female", (0, 0, 9), "comics alone", "list", ("no actor manifest",)),
    TrainingPart("kyrgyz_19_female", (0, 0, 0), "a base image and nothing else yet"),
    TrainingPart("italian_50_male", (0, 0, 0), "neither base image nor training images", base="absent"),
    TrainingPart("ethiopian_38_male", (9, 3, 2), "too few, and the base image is cut off", "list", base="cut off"),
    TrainingPart("mongolian_31_female", (6, 5, 0), "too few, and no base image anywhere", "response", base="absent"),
    TrainingPart("russian_70_female", (15, 5, 4), "no base image, but enough of each class", "map", base="absent"),
    TrainingPart(
        "japanese_62_male", (8, 3, 2), "too few, and the base image is a link that leads out of the library",
        base="link outside",
    ),
    TrainingPart(
        "brazilian_22_female", (10, 3, 2), "too few; the base image is a link to the poster", "list",
        base="link inside",
    ),
    TrainingPart("greek_36_male", (9, 4, 3), "exact copies under other numbers", "migrated", ("copies",)),
    TrainingPart("turkish_48_female", (11, 2, 2), "files cut off, empty and corrupt", "list", ("broken files",)),
    TrainingPart("tatar_26_male", (10, 5, 3), "numbers with gaps, and an actor without descriptor", "map",
                 ("gaps", "no descriptor")),
    TrainingPart("polish_53_female", (12, 4, 3), "requests and answers saved under the suffixes of images", "response",
                 ("decoys",)),
    TrainingPart("persian_30_male", (13, 3, 4), "suffixes in upper case; balanced all the same", "list",
                 ("upper case",)),
    TrainingPart("senegalese_44_female", (10, 4, 2), "files that the bucket lacks", "map", ("disk only",)),
    TrainingPart("finnish_29_male", (8, 3, 3), "images in the bucket that the disk lacks, noted and not noted", "list",
                 ("bucket only",)),
    TrainingPart("swedish_61_female", (7, 4, 2), "entries of images that are neither on the disk nor in the bucket",
                 "migrated", ("neither",)),
    TrainingPart("arab_34_male", (14, 4, 2), "metadata with pieces that nobody understands", "puzzling"),
    TrainingPart("ukrainian_25_female", (10, 2, 1), "metadata that was cut off", "broken"),
    TrainingPart("filipino_39_male", (14, 4, 4), "many poor images", "list", poor=7),
    TrainingPart("spanish_47_female", (11, 3, 4), "half of the prompts in one legacy file, half in the other", "both"),
    TrainingPart("household_robot", (9, 3, 2), "a robot", "list", descriptor="household robot", being="robot"),
    TrainingPart("night_watch_robot", (16, 1, 0), "a robot, mostly photographed", "migrated", descriptor="robot", being="robot"),
    TrainingPart("market_goblin", (5, 6, 7), "a creature, mostly drawn", "map", descriptor="goblin", being="creature"),
    TrainingPart("forest_creature", (0, 1, 0), "a creature with a single drawing", base="png",
                 descriptor="forest creature", being="creature"),
    TrainingPart("indonesian_23_female", (1, 0, 0), "a single photograph, and a single prediction", "one response"),
    TrainingPart("tajik_35_male", (4, 4, 4), "as many of each class, no metadata; the poster is the base image",
                 base="poster"),
    TrainingPart("french_57_male", (8, 4, 3), "training image 0 is the base image", "list", base="training 0"),
    TrainingPart("german_21_female", (17, 4, 3), "manifest entries whose URLs lead to an archive in the bucket",
                 "migrated", ("archived",)),
    TrainingPart(
        "british_66_male", (6, 2, 2), "a link, a folder, a text named .jpg, a PNG named .jpg, names without number",
        "list", ("link", "folder", "no image", "mislabelled", "unnumbered"),
    ),
)  # fmt: skip
