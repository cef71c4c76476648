"""Who is in the sample library, what is wrong with each one's picture, and what ought to be done about it."""

from __future__ import annotations

from typing import NamedTuple

FLAWS = (
    "none",
    "comic",
    "grainy",
    "dark",
    "poster only",
    "training only",
    "out of focus",
    "moved",
    "enlarged",
    "cut off",
    "somebody else",
    "nobody",
    "absent",
)


class Part(NamedTuple):
    """One actor as written; see `sample_library.SampleActor`."""

    origin: str
    age: int
    sex: str
    description: str
    outfit: str
    flaw: str = "none"
    expected: str = "skip"
    why: str = "sharp, and the person described"
    place: str = "studio"
    shot: str = "half"
    legacy: str = ""


PARTS: tuple[Part, ...] = (
    Part(
        "european", 16, "male",
        "16 year old young man, with european complexion, short brown hair, blue eyes and freckles",
        "Casual high school attire: green t-shirt with white stripes and white trousers",
        legacy="prompt_list",
    ),
    Part(
        "kazakh", 45, "male",
        "45 year old man, a storyteller of the steppe, with kazakh complexion, short black hair, dark eyes and a black"
        " moustache",
        "Folk-tale attire: long blue robe with a gold zigzag pattern and a gold sash, tall white kalpak",
        shot="full", place="steppe", legacy="prompt_map",
    ),
    Part(
        "korean", 27, "female",
        "27 year old woman, with korean complexion, a black bob haircut, brown eyes and arched eyebrows",
        "Office attire: grey suit with a teal tie",
        flaw="out of focus", expected="recreate_blurry", why="the whole picture is out of focus",
    ),
    Part(
        "kazakh", 35, "male",
        "35 year old man, an eagle hunter, with kazakh complexion, short black hair and a black beard",
        "Hunting attire: maroon coat with a beige scarf, brown fur hat",
        flaw="moved", expected="recreate_blurry", why="the camera moved: motion blur from left to right",
    ),
    Part(
        "nigerian", 33, "female",
        "33 year old woman, with deep skin, curly black hair, brown eyes",
        "Festive attire: yellow dress with purple dots and a purple belt",
        flaw="enlarged", expected="recreate_blurry", why="enlarged from a picture of 64 x 96 pixels",
    ),
    Part(
        "irish", 24, "female",
        "24 year old woman, with irish complexion, long red hair, green eyes, freckles",
        "Elegant attire: green dress with a white belt",
        flaw="somebody else", expected="recreate_mismatch", why="another person: an old woman in other clothes",
        legacy="response",
    ),
    Part(
        "uzbek", 58, "male",
        "58 year old man, a potter, with tan skin, grey hair in a buzz cut, a long grey beard",
        "Traditional attire: green robe with white stripes and a white sash, black skullcap",
        flaw="nobody", expected="recreate_mismatch", why="a market stall with nobody in the picture", place="market",
    ),
    Part(
        "indian", 41, "male",
        "41 year old man, with indian complexion, short black hair, thick eyebrows and a black goatee",
        "Festive attire: white robe with a red sash, orange turban",
        flaw="absent", expected="create_base_image", why="there is no image of this actor anywhere",
    ),
    Part(
        "mexican", 29, "female",
        "29 year old woman, with mexican complexion, dark brown hair in braids, dark eyes",
        "Market-day attire: red dress with a white zigzag pattern and a white belt",
        flaw="poster only", why="no base image, but the poster frame is sharp and shows the person described",
        legacy="prompt_list",
    ),
    Part(
        "kyrgyz", 19, "female",
        "19 year old young woman, a rider from the mountains, with kyrgyz complexion, black hair in braids, brown eyes",
        "Riding attire: purple coat with a pink scarf, white fur hat",
        flaw="training only", why="no base image, but training image 0 is sharp and shows the person described",
        place="snow",
    ),
    Part(
        "italian", 50, "male",
        "50 year old man, with italian complexion, curly grey hair, round glasses",
        "Evening attire: navy suit with a maroon tie",
        flaw="cut off", expected="recreate_blurry", why="the file is cut off half way: no viewer can show it whole",
        legacy="broken",
    ),
    Part(
        "ethiopian", 38, "male",
        "38 year old man, with dark brown skin, black hair in a buzz cut, a short black beard",
        "Casual attire: orange t-shirt and grey trousers",
        flaw="grainy", why="film grain, but sharp, and the person described",
    ),
    Part(
        "mongolian", 31, "female",
        "31 year old woman, with mongolian complexion, long black hair, dark eyes",
        "Winter attire: red coat with a white scarf",
        flaw="dark", why="taken by moonlight, but sharp, and the person described", place="night", legacy="prompt_map",
    ),
    Part(
        "russian", 70, "female",
        "70 year old elderly woman, a village teacher, with fair skin, white hair in a bun, blue eyes, round glasses",
        "Warm attire: blue coat with white checks and a white scarf",
        place="snow", legacy="response",
    ),
    Part(
        "japanese", 62, "male",
        "62 year old man, with japanese complexion, short grey hair, dark eyes, clean-shaven",
        "Formal attire: black suit with a red tie",
        shot="portrait",
    ),
    Part(
        "brazilian", 22, "female",
        "22 year old woman, with brown skin, brown hair in a ponytail, brown eyes",
        "Comic-book attire: teal t-shirt with yellow dots and yellow trousers",
        flaw="comic", why="drawn as a comic, sharp, and the person described", place="steppe",
    ),
)  # fmt: skip
