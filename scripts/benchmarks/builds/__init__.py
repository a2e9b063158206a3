"""One build of the program against another."""
