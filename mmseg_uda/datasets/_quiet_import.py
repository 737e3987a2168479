"""Imports mmsegmentation's data sets without their note about a package that nothing here needs.

It is printed at every start ("Could not import OneDL") and reads like an error.
"""

import contextlib
import io

with contextlib.redirect_stdout(io.StringIO()):
    import mmseg.datasets  # noqa: F401
