"""The front door of the command line: `python -m devconnect COMMAND`."""

from devconnect.cli.main import main

if __name__ == "__main__":
    main()
