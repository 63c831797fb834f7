"""Workflows as ComfyUI's editor saves them, turned into graphs that can run.

Written by hand: ``comfyui-autograph`` 2.3 (MIT), the closest that PyPI has, keeps links to switched-off nodes
and opens switched-off subgraphs on official WAN templates, and writes null for every model file that the
definitions at hand do not list, which those of a producer never do.
"""
