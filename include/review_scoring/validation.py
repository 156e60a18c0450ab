"""Validation errors in plain sentences: one for each wrong key, in place of pydantic's own text.

Pydantic's text quotes values, which may be secrets, and links to pages about pydantic. Nobody sees it: models inherit
from :class:`CheckedModel`, and readers of files call :func:`validated_table`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self, TypeAlias, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic.fields import FieldInfo

from review_scoring.errors import ConfigurationError

Model = TypeVar("Model", bound=BaseModel)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
"""The heading of a table: the name of a model or of a benchmark set."""

_QUOTABLE = re.compile(r"[\w .,/+-]{1,40}")
"""Texts that an error quotes: short ones, and nothing that looks like an address with a password in it."""


@dataclass(frozen=True)
class Must:
    """What the value of a key must be: `it must be {what}`. Put it into the `Annotated` of a field's type."""

    what: str


Text: TypeAlias = Annotated[str, Field(pattern=r"\S"), Must("a non-empty string")]


@dataclass(frozen=True)
class Problem:
    """What is wrong with one key."""

    key: str
    text: str

    def __str__(self) -> str:
        return f"key {self.key!r}: {self.text}"


class InvalidKeysError(ValueError):
    """The values of one or more keys are wrong. A model's validators may raise it for several keys at once."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(map(str, self.problems)))


class CheckedModel(BaseModel):
    """A frozen model that refuses unknown keys and reports all problems at once."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def cross_checks(cls, values: Mapping[str, Any]) -> Iterator[Problem]:
        """Yield problems of keys together, such as a key that another one requires.

        :param values: as they were given, not validated yet
        """
        del values
        yield from ()

    @model_validator(mode="wrap")
    @classmethod
    def _all_at_once(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Report what is wrong with single keys and with keys together in one error."""
        across = list(cls.cross_checks(values)) if isinstance(values, dict) else []
        try:
            found = handler(values)
        except ValidationError as error:
            raise InvalidKeysError([*problems_of(error, cls), *across]) from None
        if across:
            raise InvalidKeysError(across)
        return found


def validated_table(
    model: type[Model], name: str, values: object, file: Path, *, called: str, error: type[ConfigurationError]
) -> Model:
    """Return a model made of a table of a TOML file; the model takes its name and the file from the context.

    :param name: the heading of the table
    :param called: what such a table is called in errors, such as "an entry"
    :param error: the class of the errors
    :raises ConfigurationError: of that class, with the file, the table, and each key that is wrong
    """
    if not NAME.fullmatch(name):
        raise error(f"{file}, [{name}]: a name is letters, digits, `_`, `.` and `-`, 100 at most")
    if not isinstance(values, dict):
        raise error(f"{file}, [{name}]: {called} is a table of keys, such as title and kind")
    try:
        return model.model_validate(values, context={"name": name, "file": file})
    except ValidationError as invalid:
        raise error(f"{file}, [{name}], {InvalidKeysError(problems_of(invalid, model))}") from None


def problems_of(error: ValidationError, model: type[BaseModel]) -> list[Problem]:
    """Return the problems that an error of pydantic stands for, without duplicates."""
    problems: list[Problem] = []
    for each in error.errors(include_url=False):
        key, field, owner, is_inside = _located(each["loc"], model)
        cause = each.get("ctx", {}).get("error")
        if isinstance(cause, InvalidKeysError):
            problems += [Problem(".".join(filter(None, (key, each.key))), each.text) for each in cause.problems]
        elif each["type"] == "missing":
            problems.append(Problem(key, "it is missing"))
        elif each["type"] == "extra_forbidden":
            problems.append(Problem(key, _unknown(str(each["loc"][-1]), owner)))
        elif isinstance(cause, ValueError) and str(cause):
            problems.append(Problem(key, str(cause)))
        else:
            problems.append(Problem(key, f"it must be {must_be(field)}{'' if is_inside else _found(each['input'])}"))
    return list(dict.fromkeys(problems))


def keys_of(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return the fields of a model by the key that users write, which is the alias if a field has one."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def must_be(field: FieldInfo | None) -> str:
    """Return what the values of a field must be, in words."""
    if field is None:
        return "a table of keys"
    noted = [*field.metadata, *_metadata(field.annotation)]
    return next((each.what for each in noted if isinstance(each, Must)), "another value")


def _located(loc: tuple[int | str, ...], model: type[BaseModel]) -> tuple[str, FieldInfo | None, type[BaseModel], bool]:
    """Return a location as a user writes it, such as `figures[2].value`.

    :returns: the key, its field, the model that has the field, and whether the location is a part of the key's value,
        such as one element of a list of texts
    """
    key, field, owner = "", None, model
    for n, part in enumerate(loc):
        if isinstance(part, int):
            key += f"[{part}]"
            continue
        key += f".{part}" if key else part
        field = keys_of(owner).get(part)
        inner = _model_in(field.annotation) if field is not None else None
        if inner is None:
            return key, field, owner, n < len(loc) - 1
        if n < len(loc) - 1:
            owner = inner
    return key, field, owner, False


def _unknown(key: str, model: type[BaseModel]) -> str:
    known = keys_of(model)
    near = difflib.get_close_matches(key, known, n=1)
    others = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(known))}"
    return f"there is no such key; {others}"


def _found(value: object) -> str:
    """Return what was found in place of a valid value, unless that may be a secret or is too long to show."""
    if isinstance(value, bool):
        return f", not {str(value).lower()}"
    if isinstance(value, int | float):
        return f", not {value}"
    if isinstance(value, str):
        return f", not {value!r}" if not value or _QUOTABLE.fullmatch(value) else ""
    return f", not a {'table' if isinstance(value, dict) else 'list'}" if isinstance(value, dict | list) else ""


def _metadata(annotation: Any) -> Iterator[Any]:
    yield from getattr(annotation, "__metadata__", ())
    if get_origin(annotation) is not None or get_args(annotation):
        for each in get_args(annotation):
            yield from _metadata(each)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model that a type is made of, such as that of `tuple[Figure, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for each in get_args(annotation) if (found := _model_in(each)) is not None), None)
