"""YAML whose booleans are `true` or `false` alone, with no key given twice."""

import re
from typing import Any

import yaml

_BOOLEAN = "tag:yaml.org,2002:bool"


class CoreLoader(yaml.SafeLoader):
    """PyYAML's safe loader with the booleans of YAML 1.2: those of 1.1 read `mixed_precision: no` as false."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return the mapping of `node`; a key that stands there twice is an error, not the last one's victory."""
        keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        seen: set[str] = set()
        for key in keys:
            if key.value in seen:
                problem = f"the key {key.value} is given twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


# The resolvers are the class's own copy: SafeLoader's stay as they are.
CoreLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _BOOLEAN]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
CoreLoader.add_implicit_resolver(_BOOLEAN, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))


def read_yaml(text: str) -> Any:
    """Return the one document in `text`.

    Raises:
        ValueError: if it is not YAML, or gives a key twice; says where, on one line.

    """
    try:
        return yaml.load(text, Loader=CoreLoader)  # noqa: S506 - a SafeLoader, see above
    except yaml.YAMLError as error:
        raise ValueError(f"is not YAML: {' '.join(str(error).split())}") from error
