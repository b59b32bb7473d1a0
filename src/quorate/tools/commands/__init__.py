"""One function per administrative action, on a backend; shell, command lines and web share them.

Nothing here prints or parses options: arguments and results are values, mistakes are `CommandFailed`.
"""
