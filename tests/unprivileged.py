"""What a user may not read, root may: tests of permissions run as another user where they are run by root."""

import os
from contextlib import contextmanager

_NOBODY = 65534


@contextmanager
def not_as_root():
    """The files that this process opens in the block are opened by a user without privileges."""
    if os.geteuid():
        yield
        return
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
