"""Settings: strict, typed, and errors that name the nearest known key."""

from pathlib import Path

import pytest
from pydantic import Field

from frenchcat.curate.config import (
    Layer,
    as_dict,
    as_overrides,
    changed,
    differences,
    layered,
    load_settings,
    merged,
    preset_path,
    resolve,
    settings,
    shown,
)
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
    prices: dict[str, float] = Field(default_factory=dict)


def test_later_wins(tmp_path: Path) -> None:
    file = tmp_path / "car.toml"
    file.write_text("wheels = 3\n[engine]\nhorsepower = 9\n")
    car = load_settings(Car, file, ["engine.horsepower=12", "engine.fuel=rape oil"])
    assert car == Car(wheels=3, engine=Engine(horsepower=12, fuel="rape oil"))
    assert as_dict(car) == {
        "wheels": 3,
        "engine": {"horsepower": 12, "fuel": "rape oil"},
        "prices": {},
    }


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            "engine.horspower=1",
            r"unknown setting 'engine.horspower'; did you mean engine.horsepower",
        ),
        ("enginee.fuel=x", r"unknown setting 'enginee'; did you mean engine\?"),
        ("zzz=1", r"unknown setting 'zzz'; known here: wheels, engine, prices"),
        ("wheels=many", r"wheels = 'many'.*integer"),
        ("wheels", r"'wheels' is not of the form section.setting=value"),
        ("wheels=none", r"--set wheels=none: wheels = None.*integer"),
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


def test_settings_cannot_be_changed_by_accident() -> None:
    with pytest.raises(AttributeError):
        Car().wheels = 5  # type: ignore[misc]
    with pytest.raises(AttributeError):
        Car().engine.horsepower = 5  # type: ignore[misc]
    other = changed(Car(), wheels=5)
    assert (other.wheels, Car().wheels) == (5, 4)


def test_a_mapping_of_settings_has_every_field_and_comes_back() -> None:
    assert as_dict(Car()) == {
        "wheels": 4,
        "engine": {"horsepower": 3, "fuel": None},
        "prices": {},
    }
    for car in (Car(), Car(wheels=3, engine=Engine(fuel="wood"))):
        assert resolve(Car, as_dict(car)) == car


def test_of_two_overrides_the_later_wins_and_the_others_stay() -> None:
    car = load_settings(Car, None, ["engine.fuel=wood", "wheels=3", "wheels=5"])
    assert car == Car(wheels=5, engine=Engine(fuel="wood"))
    values = {"engine": {"fuel": "wood"}}
    assert merged(values, ["engine.horsepower=7"]) == {"engine": {"fuel": "wood", "horsepower": 7}}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("12", 12),
        ('"12"', "12"),
        ("[1, 2]", [1, 2]),
        ("ViT-B-32", "ViT-B-32"),
        ("a=b", "a=b"),
        ("{x = 1}", {"x": 1}),
    ],
)
def test_a_value_is_toml_and_a_bare_word_a_text(text: str, value: object) -> None:
    assert merged({}, [f"a.b={text}"]) == {"a": {"b": value}}


def test_a_file_with_an_unknown_setting_is_named(tmp_path: Path) -> None:
    file = tmp_path / "car.toml"
    file.write_text("[engine]\nhorsepowr = 9\n")
    with pytest.raises(UserError, match=r"car\.toml.*'engine\.horsepowr'.*engine\.horsepower\?"):
        load_settings(Car, file)


def test_a_preset_is_found_by_name_and_not_in_some_other_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"curate is a folder; name a settings file .*: .*mini"):
        preset_path("curate")
    with pytest.raises(UserError, match="no settings file elsewhere/mini"):
        preset_path("elsewhere/mini")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mini.toml").write_text("wheels = 6\n")
    assert load_settings(Car, "mini.toml").wheels == 6, "a file that is there comes first"
    assert preset_path("mini").parent.name == "configs"


def test_a_layer_changes_what_it_names_and_says_where_a_value_is_from() -> None:
    below = Layer("dataset", {"wheels": 3, "engine": {"horsepower": 9}, "prices": {"a": 1.0}})
    file = Layer("car.toml", {"engine": {"fuel": "wood"}, "prices": {"b": 2.0}})
    found = layered(Car, [below, file], ["wheels=5", "prices.c=3.0"])
    engine = Engine(horsepower=9, fuel="wood")
    assert found.value == Car(wheels=5, engine=engine, prices={"b": 2.0, "c": 3.0})
    assert found.origins == {
        "wheels": "--set",
        "engine.horsepower": "dataset",
        "engine.fuel": "car.toml",
        "prices": "--set",
    }
    assert below.values["engine"] == {"horsepower": 9}, "no layer is changed"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("engine.fuell=wood", r"^--set engine\.fuell=wood: unknown setting 'engine\.fuell'"),
        ("wheels=round", r"^--set wheels=round: wheels = 'round'"),
        ("wheels=5", r"^car\.toml: engine\.horsepower = 'many'"),
    ],
)
def test_a_mistake_is_its_layer_s(override: str, said: str) -> None:
    wrong = "many" if override == "wheels=5" else 9
    file = Layer("car.toml", {"wheels": 3, "engine": {"horsepower": wrong}})
    with pytest.raises(UserError, match=said):
        layered(Car, [Layer("dataset", {"wheels": 2}), file], [override])


def test_an_empty_value_is_the_default_and_none_is_none() -> None:
    below = Layer("dataset", {"wheels": 3, "engine": {"fuel": "wood", "horsepower": 9}})
    found = layered(Car, [below], ["wheels=", "engine.fuel=none"]).value
    assert found == Car(wheels=4, engine=Engine(fuel=None, horsepower=9))


def test_overrides_of_a_program_are_those_of_the_command_line() -> None:
    given = {"engine.fuel": 'a "b"\\\x7f\n', "prices": {"a b": 1.5, "c": float("inf")}, "wheels": 3}
    car = load_settings(Car, None, given)
    assert car.engine.fuel == 'a "b"\\\x7f\n'
    assert (car.prices, car.wheels) == ({"a b": 1.5, "c": float("inf")}, 3)
    assert as_overrides({"engine.fuel": None}) == ["engine.fuel=none"]
    assert load_settings(Car, None, {"engine.fuel": None}).engine.fuel is None
    assert as_overrides({"a": (1, 2), "b": True}) == ["a=[1, 2]", "b=true"]


def test_differences_are_named_in_full_with_old_and_new() -> None:
    old, new = as_dict(Car()), as_dict(Car(wheels=3, engine=Engine(fuel="wood")))
    found = differences(Car, old, new, "car.")
    assert found == {"car.wheels": (4, 3), "car.engine.fuel": (None, "wood")}
    assert [shown(value) for value in (None, "a b", True, 3, [1], {"a": "b"})] == [
        *("none", "a b", "true", "3", "[1]", '{"a" = "b"}'),
    ]
