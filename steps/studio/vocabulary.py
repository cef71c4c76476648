"""The words by which people tell of people, each with what it means to the drawn world."""

from __future__ import annotations

from collections.abc import Mapping

from steps.studio.colours import COLOURS, EYE_COLOURS, HAIR_COLOURS, HAIR_SYNONYMS, SYNONYMS

PHRASES: Mapping[str, str] = {
    "clean shaven": "cleanshaven",
    "salt and pepper": "grey",
    "off white": "white",
    "middle aged": "middleaged",
    "fur hat": "furhat",
    "fur cap": "furhat",
    "trapper hat": "furhat",
    "skull cap": "skullcap",
    "head scarf": "headscarf",
    "flat cap": "cap",
    "baseball cap": "cap",
    "peaked cap": "cap",
    "eye patch": "eyepatch",
    "beauty mark": "mole",
    "polka dot": "dots",
    "polka dots": "dots",
    "zig zag": "zigzag",
    "t shirt": "tshirt",
    "tank top": "tshirt",
    "buzz cut": "buzzcut",
    "crew cut": "buzzcut",
    "shaved head": "bald",
    "shaven head": "bald",
    "bald head": "bald",
    "pony tail": "ponytail",
    "top knot": "bun",
    "shoulder length": "bob",
    "chin length": "bob",
    "pixie cut": "short",
    "close cropped": "short",
    "chain mail": "armour",
    "school attire": "casual",
    "school uniform": "uniform",
    "dark brown": "darkbrown",
    "light brown": "brown",
    "light olive": "lightolive",
    "very fair": "veryfair",
    "very pale": "veryfair",
    "very dark": "deep",
    "dark blue": "navy",
    "light blue": "blue",
    "sky blue": "blue",
    "royal blue": "blue",
    "dark red": "maroon",
    "dark green": "green",
    "light green": "green",
    "dark grey": "grey",
    "dark gray": "grey",
    "light grey": "grey",
    "light gray": "grey",
    "middle eastern": "arab",
    "central asian": "kazakh",
    "east asian": "asian",
    "south asian": "indian",
    "african american": "african",
    "without hair": "bald",
    "no hair": "bald",
    "hair loss": "balding",
}
"""Several words -> one; at most three words each."""


def _table(**meanings: str) -> dict[str, str]:
    return {word: meaning.replace("_", " ") for meaning, words in meanings.items() for word in words.split()}


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


HATS = _table(
    cap="cap beret beanie visor",
    kalpak="kalpak qalpaq kolpak ak-kalpak",
    fur_hat="furhat ushanka malakhai tymaq tymak borik",
    turban="turban sarik",
    headscarf="headscarf hijab kerchief bandana kimeshek veil",
    hood="hood hooded cowl",
    skullcap="skullcap takiya taqiyah tubeteika doppa kippah yarmulke",
) | {"hat": "cap", "headwear": "cap", "helmet": "cap", "headdress": "turban", "hats": "cap"}

OUTFITS = _table(
    armour="armour armor cuirass breastplate plate-armour",
    robe="robe robes chapan shapan caftan kaftan kimono tunic cassock cloak cape hanfu abaya",
    dress="dress gown frock sundress sari skirt",
    uniform="uniform fatigues scrubs",
    suit="suit tuxedo blazer tux",
    coat="coat overcoat parka trenchcoat trench jacket anorak raincoat",
    casual="casual shirt tshirt sweater jumper hoodie sweatshirt jersey polo blouse cardigan top vest tee pullover",
)

SECONDS = _words(
    "trousers pants jeans shorts leggings sash belt tie lapels lapel trim trims trimming trimmings lining collar cuffs"
    " stripes stripe dots zigzags zigzag checks check pattern embroidery details accents scarf chinos slacks"
    " ornaments ornament patterns piping edging spots chevrons plaid"
)

PATTERNS = _table(
    stripes="stripes striped stripe pinstripe pinstriped",
    zigzag="zigzag zigzags chevron chevrons zigzagged",
    dots="dots dotted dot spotted spots polka",
    checks="checks checked checkered chequered check plaid tartan gingham",
)

HAIR_NOUNS = _words("hair haired hairs hairstyle haircut locks")
HAIR_STYLES = _table(
    bald="bald hairless balding",
    buzzed="buzzcut buzzed",
    bob="bob bobbed",
    braids="braids braid braided plaits plait plaited pigtails cornrows",
    bun="bun chignon updo",
    ponytail="ponytail",
    curly="curly curls afro frizzy dreadlocks wavy coils coily kinky",
)
HAIR_LENGTHS = _table(short="short cropped", long="long flowing", buzzed="shaved shaven", bob="medium")

BEARDS = _table(
    moustache="moustache mustache moustaches mustaches moustached mustached",
    goatee="goatee",
    beard="beard bearded beards",
)
SHAVEN = _words("cleanshaven beardless")

MARKS = _table(
    scar="scar scarred scars",
    freckles="freckles freckled freckle",
    mole="mole",
    glasses="glasses spectacles eyeglasses sunglasses bespectacled",
    eyepatch="eyepatch",
)

BROWS = _table(thin="thin slender", straight="straight", arched="arched", thick="thick bushy heavy")

SKIN_NOUNS = _words("skin skinned complexion complexioned")
SKIN_ADJECTIVES = {
    **_table(
        very_fair="veryfair pale porcelain ivory white alabaster",
        fair="fair light rosy pink peach",
        light_olive="lightolive olive beige medium",
        tan="tan tanned golden bronze weathered sallow copper",
        brown="brown",
        dark_brown="darkbrown dark chocolate",
        deep="deep ebony black",
    )
}
ORIGINS = _table(
    very_fair="nordic scandinavian swedish norwegian finnish irish icelandic",
    fair="european caucasian russian german french british english slavic polish ukrainian american",
    light_olive="asian kazakh chinese japanese korean mongolian mediterranean italian greek turkish tatar uyghur",
    tan="kyrgyz uzbek tajik turkmen latino latina hispanic mexican arab arabic persian iranian spanish",
    brown="indian pakistani brazilian polynesian indonesian filipino filipina",
    dark_brown="african ethiopian afro-american",
    deep="nigerian sudanese senegalese",
)

MALE = _words(
    "man boy male gentleman guy father grandfather king prince husband son brother uncle lad batyr monk men mr"
)
FEMALE = _words("woman girl female lady mother grandmother queen princess wife daughter sister aunt lass women mrs ms")
HE = _words("he his him himself")
SHE = _words("she her hers herself")

AGES: Mapping[str, int] = {
    **dict.fromkeys(_words("child kid toddler schoolboy schoolgirl"), 10),
    **dict.fromkeys(_words("teen teenager teenage adolescent student"), 16),
    **dict.fromkeys(_words("middleaged mature"), 47),
    **dict.fromkeys(_words("elderly senior elder grandfather grandmother grandpa grandma aged"), 68),
}
TENS: Mapping[str, int] = {
    "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90,
    "twenties": 25, "thirties": 35, "forties": 45, "fifties": 55, "sixties": 65, "seventies": 75, "eighties": 85,
    "ten": 10, "twelve": 12, "fifteen": 15, "sixteen": 16, "seventeen": 17, "eighteen": 18, "nineteen": 19,
}  # fmt: skip
UNITS: Mapping[str, int] = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
}  # fmt: skip

NEGATIONS = _words("no without not never lacks lacking lack hasn't isn't doesn't neither nor minus sans")
BREAKS = _words("with in on over under of by wearing wears has is but underneath above below featuring")

EYES = _words("eyes eyed eye")
BROW_NOUNS = _words("brows brow eyebrows eyebrow")

# Things that a colour may belong to though we draw them in colours of their own: theirs must go to nobody else.
OTHER_NOUNS = _words(
    "shoes boots sandals sneakers buttons background backdrop horse gloves"
    " socks necklace earrings jewelry lips nails bag"
    " backpack watch medal medals buckle face body build smile teeth nose undershirt"
)
COLOUR_WORDS = frozenset(COLOURS) | frozenset(SYNONYMS)
ADJECTIVES = (
    COLOUR_WORDS
    | frozenset(HAIR_COLOURS)
    | frozenset(HAIR_SYNONYMS)
    | frozenset(EYE_COLOURS)
    | frozenset(SKIN_ADJECTIVES)
    | frozenset(HAIR_LENGTHS)
    | frozenset(BROWS)
)
