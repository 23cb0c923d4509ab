"""Configuration is closed: what is wrong is refused, by name."""

from typing import Annotated, Literal

import pytest
from pydantic import Field, model_validator

from codec.core.config import Config, load_config, parse_config, save_config
from codec.core.errors import UserError


class Inner(Config):
    rate: float = 1.0
    names: tuple[str, ...] = ()


class Outer(Config):
    steps: int
    inner: Inner = Inner()


def test_overrides_win_over_the_file_and_read_as_yaml(tmp_path):
    (tmp_path / "a.yaml").write_text("steps: 3\ninner: {rate: 2}\n")
    config = load_config(Outer, tmp_path / "a.yaml", ["steps=7", "inner.names=[a, b]"])
    assert config == Outer(steps=7, inner=Inner(rate=2.0, names=("a", "b")))


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["stepps=3", "steps=1"], "stepps"),
        (["steps=many"], "steps"),
        (["steps=1", "inner.rat=2"], "inner.rat"),
        ([], "steps"),
        (["steps"], "steps"),
        (["steps=1", "steps.x=2"], "steps"),
        (["steps=[1"], "steps"),
    ],
)
def test_every_mistake_is_one_line_that_names_the_key(overrides, named):
    with pytest.raises(UserError) as caught:
        load_config(Outer, None, overrides)
    assert named in str(caught.value) and "\n" not in str(caught.value)


def test_a_mistake_inside_a_kind_is_named_as_it_was_written():
    class Cat(Config):
        kind: Literal["cat"] = "cat"
        lives: int = 9

    class Dog(Config):
        kind: Literal["dog"] = "dog"

    class Zoo(Config):
        animals: tuple[Annotated[Cat | Dog, Field(discriminator="kind")], ...]
        star: Annotated[Cat | Dog, Field(discriminator="kind")]

    tree = {"animals": [{"kind": "dog"}, {"kind": "cat", "lives": "x"}], "star": {"kind": "cat", "lifes": 1}}
    with pytest.raises(UserError) as caught:
        parse_config(Zoo, tree)
    assert "'animals.1.lives' is 'x'" in str(caught.value) and "unknown key 'star.lifes'" in str(caught.value)
    with pytest.raises(UserError, match=r"'star' has kind 'cow'"):
        parse_config(Zoo, {"animals": [], "star": {"kind": "cow"}})


def test_settings_are_no_part_of_the_structure():
    class Part(Config):
        settings = frozenset({"speed"})
        size: int = 1
        speed: int = 1

    class Whole(Config):
        speed: int = 1
        part: Part = Part()

    assert Whole().structure() == {"speed": 1, "part.size": 1}


def test_what_is_wrong_with_the_whole_names_no_key():
    class Even(Config):
        left: int
        right: int

        @model_validator(mode="after")
        def _even(self):
            if self.left != self.right:
                raise ValueError(f"left {self.left} and right {self.right} differ")
            return self

    with pytest.raises(UserError, match=r"^overrides: left 1 and right 2 differ$"):
        load_config(Even, None, ["left=1", "right=2"])
    with pytest.raises(UserError, match=r"^config: Input should be a valid dictionary"):
        parse_config(Even, 3)


@pytest.mark.parametrize("content", ["steps: [", "- 1\n- 2\n", "\x00"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path, content):
    (tmp_path / "a.yaml").write_text(content)
    with pytest.raises(UserError, match=r"a\.yaml"):
        load_config(Outer, tmp_path / "a.yaml")


def test_a_saved_config_reads_back_equal(tmp_path):
    config = Outer(steps=5, inner=Inner(names=("x",)))
    save_config(config, tmp_path / "c.yaml")
    assert load_config(Outer, tmp_path / "c.yaml") == config


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(UserError, match="cannot read config"):
        load_config(Outer, tmp_path / "none.yaml")
