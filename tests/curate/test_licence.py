"""Licences under the names that people use, and the condition that keeps only some."""

import duckdb
import pytest

from frenchcat.curate.errors import UserError
from frenchcat.curate.licence import (
    is_recognised,
    licence_condition,
    licence_name,
    licence_url,
    licences_of,
)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("https://creativecommons.org/licenses/by-nc-sa/3.0/de/", "CC BY-NC-SA 3.0"),
        ("http://creativecommons.org/licenses/by/2.0/legalcode.fr", "CC BY 2.0"),
        ("creativecommons.org/licenses/by-nd/4.0/deed.pt-br", "CC BY-ND 4.0"),
        ("CC-BY-SA-4.0", "CC BY-SA 4.0"),
        ("cc-by-nc-nd-3.0-de", "CC BY-NC-ND 3.0"),
        ("CC BY 4.0", "CC BY 4.0"),
        ("cc_by_sa", "CC BY-SA"),
        ("Creative Commons Attribution-ShareAlike 4.0 International", "CC BY-SA 4.0"),
        ("Attribution-NonCommercial-NoDerivs 2.0 Generic", "CC BY-NC-ND 2.0"),
        ("http://creativecommons.org/publicdomain/zero/1.0/", "CC0 1.0"),
        ("CC0", "CC0 1.0"),
        ("CC0-1.0", "CC0 1.0"),
        ("Creative Commons Zero v1.0 Universal", "CC0 1.0"),
        ("Public Domain", "public domain"),
        ("https://creativecommons.org/publicdomain/mark/1.0/", "public domain"),
        ("mit", "MIT"),
        ("https://spdx.org/licenses/GFDL-1.2-or-later.html", "GFDL-1.2-or-later"),
        ("  ", "none stated"),
        ("https://www.flickr.com/terms", "flickr.com/terms"),
        ("All rights reserved, (c) 2020", "All rights reserved; (c) 2020"),
        ("Courtesy of Accby Bysa", "Courtesy of Accby Bysa"),
        (
            "https://creativecommons.org/licenses/bypass/1.0/",
            "creativecommons.org/licenses/bypass/1.0/",
        ),
    ],
)
def test_licences_have_the_names_people_use(text: str, name: str) -> None:
    assert licence_name(text) == name
    assert licence_name(name) == name or name == "none stated"


def test_a_name_that_is_not_a_licence_is_not_recognised() -> None:
    known = ["CC BY-NC-SA 3.0", "CC0 1.0", "public domain", "MIT", "CC BY"]
    unknown = ["flickr.com/terms", "none stated", "CC BYE", "All rights reserved"]
    assert [is_recognised(name) for name in known + unknown] == [True] * 5 + [False] * 4


@pytest.mark.parametrize(
    ("texts", "names"),
    [
        (
            ["CC BY", "http://creativecommons.org/licenses/by/4.0/", "https://a.example/p/1"],
            "CC BY 4.0",
        ),
        (["CC BY 4.0", "CC-BY-SA-4.0"], "CC BY 4.0, CC BY-SA 4.0"),
        (["https://b.example/terms", "mine"], "b.example/terms, mine"),
        ([None, " "], None),
    ],
)
def test_what_several_statements_come_to(texts: list[str | None], names: str | None) -> None:
    assert licences_of(texts) == names


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (["CC-BY-4.0"], ["CC BY 4.0"]),
        (["cc by"], ["CC BY 2.0", "CC BY 4.0"]),
        (
            ["cc0", "CC BY-SA 4.0", "CC BY"],
            ["CC BY 2.0", "CC BY 4.0", "CC BY 4.0, CC BY-SA 4.0", "CC0 1.0"],
        ),
        (["https://www.flickr.com/terms"], ["flickr.com/terms"]),
        (["public domain"], ["public domain"]),
    ],
)
def test_the_condition_keeps_rows_all_of_whose_licences_are_given(
    given: list[str], kept: list[str]
) -> None:
    names = ["CC BY 2.0", "CC BY 4.0", "CC BY-NC 4.0", "CC BY 4.0, CC BY-SA 4.0", "CC0 1.0"]
    names += ["flickr.com/terms", "public domain", "flickrXcom/terms"]
    rows = ", ".join(f"('{name}')" for name in names) + ", (NULL)"
    sql = f"FROM (VALUES {rows}) t(licence_name) WHERE {licence_condition(given)} ORDER BY 1"
    assert [name for (name,) in duckdb.sql(sql).fetchall()] == kept


def test_an_empty_licence_is_refused() -> None:
    for given in ([], ["CC BY", " "]):
        with pytest.raises(UserError, match="empty text; name one"):
            licence_condition(given)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("CC BY-NC 3.0", "https://creativecommons.org/licenses/by-nc/3.0/"),
        ("cc0", "https://creativecommons.org/publicdomain/zero/1.0/"),
        ("https://a.example/terms", "https://a.example/terms"),
        ("MIT", "https://spdx.org/licenses/MIT.html"),
        ("mine", None),
        ("javascript:alert(1)", None),
    ],
)
def test_the_address_of_a_licence(text: str, url: str | None) -> None:
    assert licence_url(text) == url
