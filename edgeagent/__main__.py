"""`python -m edgeagent` is the `edgeagent` command."""

from edgeagent.cli import main

if __name__ == "__main__":
    main()
