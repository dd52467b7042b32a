"""docs/settings.md is what the settings classes say."""

from frenchcat.described import described, kinds
from tools.settings_page import PAGE, page


def test_the_page_of_settings_is_current() -> None:
    said = "run: python -m tools.settings_page"
    assert PAGE.read_text(encoding="utf-8") == page(), said


def test_the_page_has_every_setting() -> None:
    from frenchcat.curate.config import layered

    text = page()
    for cls in kinds().values():
        for one in described(layered(cls)):
            assert f"| `{one.name}` |" in text
    assert "`score.heads`" in text
    assert "| `activation` | relu \\| none |" in text
