"""Errors of the readers of formats, each as one line with the name of the file."""

from contextlib import contextmanager

NUMPY = b"\x93NUMPY"  # what a .npy file begins with
N_SHOWN = 20  # bytes of a file that is none
NO_FILE = "it is no {} file, whatever its name says (it begins with {})"


@contextmanager
def named(path):
    """Inside, what numpy, pandas, zarr, pyarrow and safetensors raise becomes one line that names the file `path`.

    Raises
    ------
    ValueError
        It is another format than its name says, or holds Python objects, which are never opened.
    OSError
        It is damaged.

    Examples
    --------
    >>> with named("a.csv"):
    ...     raise ValueError("no columns")
    Traceback (most recent call last):
        ...
    ValueError: a.csv cannot be read: no columns
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except UnicodeDecodeError as error:
        head = _head(path)
        cure = f"it is not in UTF-8 ({error.reason}); save it as UTF-8"
        cure = NO_FILE.format(path.suffix, head) if b"\0" in head else cure  # no text has such a byte
        raise ValueError(f"{path} cannot be read: {cure}") from error
    except ValueError as error:
        if str(path) in str(error):
            raise
        pickled = "allow_pickle" in str(error) or "Python objects" in str(error)
        cure = "it holds Python objects, which are never opened here: save plain numbers" if pickled else f"{error}"
        if pickled and path.is_file() and (head := _head(path)) and not head.startswith(NUMPY):
            cure = NO_FILE.format(path.suffix, head)
        raise ValueError(f"{path} cannot be read: {cure}") from error
    except Exception as error:  # of several kinds, for what is damaged
        raise OSError(f"{path} is damaged or no {path.suffix} file ({error}); write it again") from error


def _head(path):
    with open(path, "rb") as handle:
        return handle.read(N_SHOWN)
