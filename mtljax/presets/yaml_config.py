"""Configurations written as YAML, and read back with their types checked."""

import dataclasses
import os
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from mtljax.errors import UserError
from mtljax.presets.config import Config, flatten
from mtljax.presets.presets import PRESETS, preset
from mtljax.yaml_values import is_path, read_yaml, read_yaml_file, yaml_of


def dump_config(config: Config) -> str:
    """Write a configuration as YAML, all fields included."""
    return yaml.safe_dump(_plain(config), sort_keys=False)


def parse_config(text: str) -> Config:
    """Read a configuration that `dump_config` wrote; fields that are not there have their default.

    Args:
      text: YAML. Names of fields that older versions wrote are understood.

    Raises:
      UserError: if the text is no YAML, or names a field that is unknown or of another type.
    """
    content, _ = read_yaml(text)
    if not isinstance(content, dict):
        raise UserError("expected one entry a field")
    return _build(Config, content, "")


ConfigLike = Config | str | os.PathLike[str] | Mapping[str, Any]
"""What `read_config` reads."""


Chooser = Callable[[Mapping[str, Any], Config], Config]
"""From fields that are said, by their dotted names, and the configuration that they make of a
preset to the one that they are read into in its place."""


def read_config(config: ConfigLike, choose: Chooser | None = None) -> Config:
    """Read a configuration from Python: fields that are not there are those of its preset.

    Args:
      config: a configuration, which is returned as it is; the name of a preset; a dictionary of
        fields, nested as those of `Config`, with ``"preset"`` for another than 'small'; YAML of
        such; or the path of a YAML file, such as `config.yaml` of a run. As on the command line,
        `steps` without `epochs` turn a preset's epochs off, and `encoder.from_run` makes encoder
        and tokenizer those of that run.
      choose: chooses the other fields where the preset is 'auto'; None for those of 'small'.

    Raises:
      TypeError: if it is none of these.
      UserError: if a field is unknown or of another type, or the file cannot be read.
    """
    if isinstance(config, Config):
        return config
    if not isinstance(config, str | os.PathLike | Mapping):
        raise TypeError(f"config must be a Config or what makes one, got {type(config).__name__}")
    if isinstance(config, str) and config in PRESETS:
        config = {"preset": config}
    name = "config"
    try:
        if isinstance(config, os.PathLike) or (isinstance(config, str) and is_path(config)):
            name = f"config file {os.fspath(config)}"
            config = read_yaml_file(config)
        content, _ = read_yaml(config if isinstance(config, str) else yaml_of(config))
        if isinstance(content, str):
            return preset(content).config  # one that there is not, which it says
        if not isinstance(content, dict):
            raise UserError("expected one entry a field")
        base = preset(str(content.get("preset", "small"))).config
        if choose is not None and base.preset == "auto":
            base = choose(_said(content), _build(Config, content, "", base))
        if "steps" in content and "epochs" not in content:
            base = dataclasses.replace(base, epochs=0.0)
        encoder = content.get("encoder")
        if isinstance(encoder, Mapping) and isinstance(encoder.get("from_run"), str):
            base = like_run(base, encoder["from_run"])
        return _build(Config, content, "", base)
    except UserError as error:
        raise UserError(f"{name}: {error}") from None


def _said(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    said: dict[str, Any] = {}
    for key, value in content.items():
        inside = isinstance(value, Mapping)
        said |= _said(value, f"{prefix}{key}.") if inside else {f"{prefix}{key}": value}
    return said


def like_run(base: Config, directory: str) -> Config:
    """A configuration with the encoder and the tokenizer of a run, to start from it.

    With the shape of its decoder too, where that came with a pretrained model.

    Args:
      base: the configuration.
      directory: of the run; if empty, `base` is returned.

    Raises:
      UserError: there is no run, or its configuration cannot be read.
    """
    if not directory:
        return base
    path = Path(directory) / "config.yaml"
    if not path.is_file():
        raise UserError(f"encoder.from_run {directory}: no run there (config.yaml is missing)")
    begun = parse_config(read_yaml_file(path))
    encoder = dataclasses.replace(begun.encoder, from_run=directory, pretrained="", vectors="")
    # The decoder of a pretrained model belongs to its encoder, and has settings that nobody writes.
    decoder = base.decoder if begun.decoder.readout == "project" else begun.decoder
    return dataclasses.replace(base, encoder=encoder, decoder=decoder, tokenizer=begun.tokenizer)


def differences(old: Config, new: Config) -> dict[str, tuple[Any, Any]]:
    """Compare two configurations.

    Args:
      old: a configuration.
      new: another one.

    Returns:
      (old value, new value) by the dotted name of each field in which they differ.
    """
    before, after = flatten(old), flatten(new)
    # Compared as they are written: a tuple among the options of a weighting is read as a list.
    return {
        name: (before[name], after[name])
        for name in after
        if _plain(before[name]) != _plain(after[name])
    }


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return value


def _build(cls: type, content: Mapping[str, Any], prefix: str, base: Any = None) -> Any:
    """An instance of a dataclass; fields that `content` lacks are those of `base`, or defaults."""
    hints = typing.get_type_hints(cls)
    names = {field.name for field in dataclasses.fields(cls)}
    values = {}
    for key, value in content.items():
        key = _OLD_FIELDS.get(f"{prefix}{key}", key)
        where = f"{prefix}{key}"
        if key not in names:
            raise UserError(f"unknown field {where!r}")
        hint = hints[key]
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            if not isinstance(value, Mapping):
                raise UserError(f"field {where!r}: expected fields, got {value!r}")
            below = None if base is None else getattr(base, key)
            values[key] = _build(hint, value, f"{where}.", below)
        else:
            values[key] = _value(hint, value, where)
    return cls(**values) if base is None else dataclasses.replace(base, **values)


_OLD_FIELDS: dict[str, str] = {"gradients.way": "strategy"}
"""By dotted name, fields that older versions wrote, and what they are called now."""

_RENAMED: dict[str, dict[Any, str]] = {"encoder.remat": {True: "full", False: "none"}}
"""By field, values that older versions wrote, and what they are called now."""


def _value(hint: Any, value: Any, where: str) -> Any:
    if isinstance(value, bool):
        value = _RENAMED.get(where, {}).get(value, value)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        fits = value in arguments
    elif origin in (typing.Union, types.UnionType):
        fits = any(isinstance(value, argument) for argument in arguments)
    elif origin is tuple:
        fits = isinstance(value, list)
        value = tuple(_value(arguments[0], item, where) for item in value) if fits else value
    elif origin is dict:
        fits = isinstance(value, Mapping)
        value = dict(value) if fits else value
    elif hint is float:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
        value = float(value) if fits else value
    else:
        fits = isinstance(value, hint) and (hint is bool or not isinstance(value, bool))
    if not fits:
        raise UserError(f"field {where!r}: {value!r} is not {getattr(hint, '__name__', hint)}")
    return value
