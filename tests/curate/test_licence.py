"""Licences under the names that people use."""

import pytest

from frenchcat.curate.licence import licence_name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("https://creativecommons.org/licenses/by-nc-sa/3.0/de/", "CC BY-NC-SA 3.0"),
        ("http://creativecommons.org/publicdomain/zero/1.0/", "CC0 1.0"),
        ("Public Domain", "public domain"),
        ("  ", "none stated"),
        ("https://www.flickr.com/terms", "flickr.com/terms"),
    ],
)
def test_licences_have_the_names_people_use(text: str, name: str) -> None:
    assert licence_name(text) == name
