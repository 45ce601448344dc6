"""Hosts in network namespaces with a Farspan engine between them, and programs that measure it.

Python's standard library only. Everything that is made is taken back on every way out; what a
killed run left is removed by `scripts/lab.sh clean`.
"""
