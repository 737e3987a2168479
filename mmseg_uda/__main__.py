"""``python -m mmseg_uda COMMAND`` is ``mmseg-uda COMMAND``."""

from mmseg_uda.commands import main

if __name__ == "__main__":
    main()
