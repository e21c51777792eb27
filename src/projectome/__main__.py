"""Run the command line with `python -m projectome`."""

from projectome.cli.main import main

if __name__ == "__main__":
    main()
