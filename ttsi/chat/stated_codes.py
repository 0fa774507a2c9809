"""Stated codes: whether an English text names the language, country, currency or unit that a value abbreviates.

Inputs: a text; a value such as "fr", "en-US", "DE", "EUR" or "lb". Outputs: whether the text names it ("French",
"Germany", "euros", "pounds"). Only common codes of ISO 639-1, ISO 3166-1 and ISO 4217, the states of the USA and units
of measure. The paper (arXiv:2510.07841) checks no values.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ttsi.words import stem

_LANGUAGES = """
ar arabic; bg bulgarian; bn bengali; cs czech; da danish; de german; el greek; en english; es spanish; et estonian;
fa persian,farsi; fi finnish; fr french; he hebrew; hi hindi; hr croatian; hu hungarian; id indonesian; it italian;
ja japanese; ko korean; lt lithuanian; lv latvian; ms malay; nl dutch; no norwegian; pl polish; pt portuguese;
ro romanian; ru russian; sk slovak; sl slovenian; sr serbian; sv swedish; ta tamil; te telugu; th thai; tr turkish;
uk ukrainian; ur urdu; vi vietnamese; zh chinese,mandarin
"""
_COUNTRIES = """
ae united arab emirates,uae,emirati; ar argentina,argentine; at austria,austrian; au australia,australian;
be belgium,belgian; br brazil,brazilian; ca canada,canadian; ch switzerland,swiss; cl chile,chilean;
cn china,chinese; co colombia,colombian; cz czech; de germany,german; dk denmark,danish; eg egypt,egyptian;
es spain,spanish; fi finland,finnish; fr france,french; gb united kingdom,uk,britain,british,england,english;
gr greece,greek; hk hong kong; hu hungary,hungarian; id indonesia,indonesian; ie ireland,irish; il israel,israeli;
in india,indian; it italy,italian; jp japan,japanese; ke kenya,kenyan; kr south korea,korea,korean;
mx mexico,mexican; my malaysia,malaysian; ng nigeria,nigerian; nl netherlands,holland,dutch; no norway,norwegian;
nz new zealand; pe peru,peruvian; ph philippines,filipino; pk pakistan,pakistani; pl poland,polish;
pt portugal,portuguese; ro romania,romanian; ru russia,russian; sa saudi arabia,saudi; se sweden,swedish;
sg singapore; th thailand,thai; tr turkey,turkish; tw taiwan,taiwanese; ua ukraine,ukrainian;
uk united kingdom,gb,britain,british,england; us united states,usa,u s,america,american; vn vietnam,vietnamese;
za south africa,south african
"""
_CURRENCIES = """
aud australian dollar; brl reais; cad canadian dollar; chf swiss franc,franc; cny yuan,renminbi; eur euro;
gbp pound,british pound,sterling; hkd hong kong dollar; inr rupee; jpy yen; mxn mexican peso,peso;
nzd new zealand dollar; rub ruble; sgd singapore dollar; thb baht; try lira; usd dollar,us dollar,buck; zar rand
"""
_SIGNS = {"usd": "$", "eur": "\u20ac", "gbp": "\u00a3", "jpy": "\u00a5", "inr": "\u20b9", "krw": "\u20a9"}
CURRENCY_CODES = {sign: code for code, sign in _SIGNS.items()}
CURRENCY_SIGN = re.compile(f"(?<![A-Za-z])[{''.join(_SIGNS.values())}]")
_UNITS = """
c celsius; cm centimeter,centimetre; f fahrenheit; ft foot,feet; g gram; gb gigabyte; h hour; hr hour; in inch,inches;
kg kilogram,kilo; km kilometer,kilometre; kw kilowatt; l liter,litre; lb pound; lbs pound; m meter,metre; mb megabyte;
mg milligram; mi mile; min minute; ml milliliter,millilitre; mm millimeter,millimetre; mph mile per hour,miles per hour;
oz ounce; sec second; yd yard
"""
_STATES = """
ak alaska; al alabama; ar arkansas; az arizona; ca california; co colorado; ct connecticut; dc washington; de delaware;
fl florida; ga georgia; hi hawaii; ia iowa; id idaho; il illinois; in indiana; ks kansas; ky kentucky; la louisiana;
ma massachusetts; md maryland; me maine; mi michigan; mn minnesota; mo missouri; ms mississippi; mt montana;
nc north carolina; nd north dakota; ne nebraska; nh new hampshire; nj new jersey; nm new mexico; nv nevada; ny new york;
oh ohio; ok oklahoma; or oregon; pa pennsylvania; ri rhode island; sc south carolina; sd south dakota; tn tennessee;
tx texas; ut utah; va virginia; vt vermont; wa washington; wi wisconsin; wv west virginia; wy wyoming
"""
_TAG = re.compile(r"([a-z]{2})[-_][A-Za-z]{2,4}")
"""A language with its country or script, as in en-US."""


def _names_by_code(*tables: str) -> Mapping[str, tuple[str, ...]]:
    names: dict[str, tuple[str, ...]] = {}
    for entry in ";".join(tables).split(";"):
        code, _, listed = " ".join(entry.split()).partition(" ")
        names[code] = (*names.get(code, ()), *listed.split(","))
    return names


NAMES = _names_by_code(_LANGUAGES, _COUNTRIES, _CURRENCIES, _UNITS, _STATES)
"""Lower-case code -> the lower-case English names that it may stand for, in the singular."""
_LONGER = {
    name: [f" {stem(other)} " for others in NAMES.values() for other in others if other.endswith(f" {name}")]
    for names in NAMES.values()
    for name in names
}
"""Name -> the names that end with it and mean something else, as "new mexico" ends with "mexico"."""
_LONGER["korea"] = [" north korea "]


def states_code(code: str, stems: str, signs: str = "") -> bool:
    """Whether a text names what a code stands for.

    Args:
        code: the value.
        stems: the text as `ttsi.chat.grounding.comparable` and `ttsi.words.stem` make it.
        signs: the signs of currencies in the text.

    >>> text = stem(" two books in french for 5 euros ")
    >>> [states_code(code, text) for code in ("fr", "EUR", "fr-FR", "de", "books")]
    [True, True, True, False, False]
    """
    tag = _TAG.fullmatch(code)
    key = (tag[1] if tag else code).lower()
    if _SIGNS.get(key, "none") in signs:
        return True
    return any(_has_stem(stems, name) for name in NAMES.get(key, ()))


def _has_stem(stems: str, name: str) -> bool:
    if f" {stem(name)} " not in stems:
        return False
    for longer in _LONGER[name]:
        stems = stems.replace(longer, " ")
    return f" {stem(name)} " in stems
