"""`python -m nearfar`: the command line, as torchrun starts it."""

from nearfar import torchrun
from nearfar.cli import main

if __name__ == "__main__":
    torchrun.leave(main())
