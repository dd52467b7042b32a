"""Settings: strict, typed, and errors that name the nearest known key."""

from pathlib import Path

import pytest

from frenchcat.curate.config import as_dict, load_settings, preset_path, settings
from frenchcat.curate.errors import UserError


@settings
class Engine:
    """A section."""

    horsepower: int = 3
    fuel: str | None = None


@settings
class Car:
    """Settings with a section."""

    wheels: int = 4
    engine: Engine = Engine()


def test_later_wins(tmp_path: Path) -> None:
    file = tmp_path / "car.toml"
    file.write_text("wheels = 3\n[engine]\nhorsepower = 9\n")
    car = load_settings(Car, file, ["engine.horsepower=12", "engine.fuel=rape oil"])
    assert car == Car(wheels=3, engine=Engine(horsepower=12, fuel="rape oil"))
    assert as_dict(car) == {"wheels": 3, "engine": {"horsepower": 12, "fuel": "rape oil"}}


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            "engine.horspower=1",
            r"unknown setting 'engine.horspower'; did you mean engine.horsepower",
        ),
        ("enginee.fuel=x", r"unknown setting 'enginee'; did you mean engine\?"),
        ("zzz=1", r"unknown setting 'zzz'; known here: wheels, engine"),
        ("wheels=many", r"wheels = 'many'.*integer"),
        ("wheels", r"'wheels' is not of the form section.setting=value"),
        ("wheels.left=1", r"unknown|wheels = \{'left': 1\}"),
    ],
)
def test_what_does_not_fit_is_one_line(override: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as raised:
        load_settings(Car, None, [override])
    assert "\n" not in str(raised.value)


def test_a_file_that_is_not_toml_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text("= 3")
    with pytest.raises(UserError, match=r"x\.toml is not TOML"):
        load_settings(Car, tmp_path / "x.toml")


def test_a_missing_file_lists_the_presets() -> None:
    with pytest.raises(UserError, match=r"no settings file nowhere\.toml; presets are: .*mini"):
        load_settings(Car, "nowhere.toml")


def test_presets_go_by_name_and_by_path() -> None:
    assert preset_path("mini") == preset_path("configs/mini.toml").resolve()
