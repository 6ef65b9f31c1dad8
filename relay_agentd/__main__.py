"""``python -m relay_agentd``: the command line without the installed script."""

from relay_agentd.cli import main

if __name__ == "__main__":
    main()
