"""Prints the path of the program that runs this."""

import os

print(os.readlink("/proc/self/exe"))
