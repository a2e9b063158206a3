"""Reads a YAML file, and says what is wrong with it as YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from app.errors import ConfigError
from app.uri import shown


class _Loader(yaml.SafeLoader):
    """Refuses keys that are no text, and keys given twice, which SafeLoader lets pass.

    It checks a mapping's node, where lines and spelling are known and merge keys have not added the keys of others yet.
    """

    def __init__(self, text: str, origin: str) -> None:
        super().__init__(text)
        self._text, self._origin = text, origin
        self._path: list[str] = []

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose a node and check its keys; `index` is the node of the key that it belongs to."""
        self._path.append(str(index.value) if isinstance(index, yaml.ScalarNode) else "")
        node = super().compose_node(parent, index)
        if isinstance(node, yaml.MappingNode):
            self._check_keys([key for key, _ in node.value])
        self._path.pop()
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Construct what `node` says. Raises ConfigError if it cannot be: 2024-02-30 looks like a date and is none."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, OverflowError) as error:
            where = f"{self._origin}, line {node.start_mark.line + 1}"
            raise ConfigError(f"{where} cannot be read", str(error), 'Put "quotes" around it if it is text.') from None

    def _check_keys(self, keys: list[yaml.Node]) -> None:
        lines: dict[str, int] = {}
        for key in keys:
            kind, line = key.tag.rpartition(":")[2], key.start_mark.line + 1
            written = self._text[key.start_mark.index : key.end_mark.index]
            name = key.value if isinstance(key, yaml.ScalarNode) else " ".join(written.split())
            where = f"{self._origin}, line {line}: the key {'.'.join([*filter(None, self._path), name or repr(name)])}"
            if kind in ("merge", "value"):  # <<, which may be there twice, and =, which is text after all
                continue
            if kind != "str":
                boolean = "YAML reads on, off, yes and no without quotes as true and false"
                reason = boolean if kind == "bool" else f"YAML reads it as {kind}"
                raise ConfigError(f"{where} is not text", reason, 'Put "quotes" around it or rename it.')
            if name in lines:
                raise ConfigError(f"{where} is given twice", f"line {lines[name]} has it too", "Leave one of them out.")
            lines[name] = line


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file. Raises ConfigError."""
    try:
        data = _Loader(path.read_text(encoding="utf-8"), str(path)).get_single_data()
    except OSError as error:
        raise ConfigError(
            f"The configuration {path} cannot be read", error.strerror or str(error), "Give the path of a YAML file."
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML", " ".join(str(error).split()), "configs/default.yaml is.") from None
    except RecursionError:
        facts = "brackets or lists are nested too deep"
        raise ConfigError(f"{path} is not a configuration", facts, "configs/default.yaml has all keys.") from None
    if not isinstance(data, dict | None):
        facts = f"it holds {shown(str(data))[:200]!r}"
        raise ConfigError(f"{path} is not a configuration", facts, "configs/default.yaml has all keys.")
    return data or {}
