"""`python -m entclip` is the command line."""

from entclip.cli import main

if __name__ == "__main__":
    main()
