"""A bundle's manifest, changed by hand, and signed again: what only types and ranges can refuse."""

import json

from foveal.schema import signed


def change(folder, edit, name="bundle.json"):
    """Edit a JSON file in a folder, and sign it."""
    file = folder / name
    values = json.loads(file.read_text())
    edit(values)
    file.write_text(json.dumps(signed(values)))
