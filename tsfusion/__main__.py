"""``python -m tsfusion``: the command line."""

from tsfusion.cli import main

if __name__ == "__main__":
    main(prog_name="tsfusion")
