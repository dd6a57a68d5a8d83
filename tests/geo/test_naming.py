import geopandas as gpd
import pytest
from shapely import LineString

from addressvlm.errors import UsageError
from addressvlm.geo.naming import LANGUAGES, NO_LANGUAGE, language_of, name_key
from addressvlm.geo.streets import joined_spellings, street_map

SAME = {
    "en": [
        ("S  34TH  ST", "South 34th Street"),
        ("03RD ST", "3rd Street"),
        ("OFARRELL ST", "O'Farrell Street"),
        ("Mission Bay Blvd S", "MISSION BAY BLVD SOUTH"),
        ("St. Charles Ave.", "Saint Charles Avenue"),
        ("E St SE", "E Street Southeast"),
        ("AVE OF THE AMERICAS", "Avenue of the Americas"),
    ],
    "de": [
        ("Tübinger Str.", "Tübinger Straße"),
        ("TUEBINGER STRASSE", "Tübinger Straße"),
        ("Königstr.", "Königstraße"),
        ("Str. des 17. Juni", "Straße des 17. Juni"),
        ("St.-Anna-Straße", "Sankt Anna Straße"),
    ],
    "fr": [
        ("Bd. St-Germain", "BOULEVARD SAINT GERMAIN"),
        ("Av. des Champs-Élysées", "AV DES CHAMPS ELYSEES"),
    ],
    "es": [("C/ Mayor", "Calle Mayor"), ("Pº de la Castellana", "Paseo de la Castellana")],
    "pt": [("R. Dr. João Dias", "RUA DOUTOR JOAO DIAS"), ("Pç. da Sé", "Praça da Sé")],
    "it": [("P.zza Duomo", "Piazza Duomo"), ("V.le Monza", "Viale Monza")],
    NO_LANGUAGE: [("Forbes  Ave.", "FORBES AVE"), ("улица Оборище", "УЛИЦА ОБОРИЩЕ")],
}
DIFFERENT = {
    "en": [
        ("North 34th Street", "South 34th Street"),
        ("34th Street", "34th Avenue"),
        ("34th Street", "South 34th Street"),
        ("N Street", "North Street"),
        ("Avenue N", "Avenue North"),
        ("E St SE", "East Street SE"),
        ("Street Charles Avenue", "St. Charles Ave"),
        ("Third Street", "3rd Court"),
        ("North Burnett Avenue", "Burnett Avenue North"),
        ("30th Street", "3rd Street"),
        ("Park Drive", "Drive Park"),
    ],
    "de": [
        ("Tübinger Straße", "Tübinger Weg"),
        ("Hohe Straße", "Höhe Straße"),
        ("Hasenbergstraße", "Hasenbergsteige"),
        ("Königstraße", "Königsstraße"),
    ],
    "fr": [("Rue Foch", "Avenue Foch"), ("Rue Saint-Denis", "Rue du Faubourg Saint-Denis")],
    "es": [("Calle Peña", "Calle Pena"), ("Calle Mayor", "Plaza Mayor")],
    "pt": [("Rua Augusta", "Travessa Augusta")],
    "it": [("Via S. Marco", "Via San Marco")],  # S. may be San, Santo, Santa or Sant'
    NO_LANGUAGE: [("Penn Ave", "Penn Avenue")],
}


def pairs(table: dict[str, list[tuple[str, str]]]) -> list[tuple[str, str, str]]:
    return [(language, *pair) for language, some in table.items() for pair in some]


@pytest.mark.parametrize(("language", "one", "other"), pairs(SAME))
def test_spellings_of_one_street_have_one_key(language: str, one: str, other: str) -> None:
    assert name_key(one, language) == name_key(other, language)


@pytest.mark.parametrize(("language", "one", "other"), pairs(DIFFERENT))
def test_different_streets_keep_different_keys(language: str, one: str, other: str) -> None:
    assert name_key(one, language) != name_key(other, language)


@pytest.mark.parametrize("language", [*LANGUAGES, NO_LANGUAGE])
@pytest.mark.parametrize(
    "name", ["St", "N", "", "N N", "Ave", "Av.", "日本橋一丁目", "E 5", "Str.", "S S St S"]
)
def test_no_name_vanishes_or_breaks(language: str, name: str) -> None:
    assert bool(name_key(name, language)) == bool(name)


def test_a_key_is_its_own_key() -> None:
    for language, one, other in pairs(SAME) + pairs(DIFFERENT):
        for name in (one, other):
            assert name_key(name_key(name, language), language) == name_key(name, language)


@pytest.mark.parametrize(
    ("names", "language"),
    [
        (["COLUMBUS AVE", "03RD ST", "BROADWAY"], "en"),
        (["Tübinger Str.", "Marienplatz", "Königstraße"], "de"),
        (["Rue de Rivoli", "Quai de Jemmapes"], "fr"),
        (["Calle Mayor", "Plaza del Sol"], "es"),
        (["Rua Augusta", "Praça da Sé"], "pt"),
        (["Via Dante", "Corso Como"], "it"),
        (["улица Оборище", "бул. Дондуков"], NO_LANGUAGE),
        ([], NO_LANGUAGE),
    ],
)
def test_the_kinds_of_streets_tell_the_language(names: list[str], language: str) -> None:
    assert language_of(names) == language


def lines(*names: str) -> gpd.GeoDataFrame:
    shapes = [LineString([(9, 45 + n / 100), (9.001, 45 + n / 100)]) for n in range(len(names))]
    return gpd.GeoDataFrame({"name": names}, geometry=shapes, crs=4326)


def test_abbreviated_pieces_join_and_the_usual_spelling_is_shown(districts: gpd.GeoDataFrame) -> None:
    pieces = lines("South 34th Street", "S  34TH  ST", "South 34th Street", "North 34th Street")
    streets = street_map(pieces, districts).streets
    assert streets["name"].tolist() == ["North 34th Street", "South 34th Street"]
    assert len(streets.geometry[1].geoms) == 3
    assert joined_spellings(pieces["name"]) == [("South 34th Street", "S  34TH  ST", 1)]


def test_another_language_may_be_wished(districts: gpd.GeoDataFrame) -> None:
    pieces = lines("Penn Ave", "Penn Avenue")
    assert len(street_map(pieces, districts, language="none").streets) == 2
    assert len(street_map(pieces, districts, language="en").streets) == 1
    with pytest.raises(UsageError, match="abbreviations of the language 'xx'; there are en, de, fr"):
        street_map(pieces, districts, language="xx")
