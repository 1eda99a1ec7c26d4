"""`python -m entclip` is the command line."""

from entclip.cli.app import main

if __name__ == "__main__":
    main()
