"""The profile that an atlas was made from: frozen beside it as a whole, with a checksum in its first line."""

import yaml

from manifold_utils.files import atomic_path, fingerprint

STAMP = "# checksum "  # the first line of a frozen profile


def freeze(profile, path):
    """Write a `Profile` in full, atomically."""
    with atomic_path(path) as temporary:
        text = yaml.safe_dump(profile.model_dump(mode="json", exclude_none=True), sort_keys=False)
        temporary.write_text(f"{STAMP}{fingerprint(text)}\n{text}", encoding="utf-8")


def is_frozen(path):
    """Whether a file is there that `freeze` wrote, altered or not."""
    return path.is_file() and path.read_bytes().startswith(STAMP.encode())


def unaltered(path):
    """The path of a frozen profile; OSError if it is not as its first line says (older ones have no such line)."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; {_cure(path.parent)}")
    first, _, text = path.read_bytes().decode("utf-8", "replace").partition("\n")
    if first.startswith(STAMP) and first.removeprefix(STAMP) != fingerprint(text):
        raise OSError(f"{path} is damaged (it does not agree with its checksum); {_cure(path.parent)}")
    return path


def _cure(folder):
    if (folder / "recorded.json").is_file():
        return f"move {folder} away and import its runs again"
    return "chapter 10 writes it again (run --force 10, with the profile's name or its own .yaml file)"
