"""`python -m nightgate` is the command line."""

from nightgate.cli.main import main

main()
