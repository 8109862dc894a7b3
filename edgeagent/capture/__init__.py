"""Frames: the camera is opened in a child process of its own, which can be killed at any time (R16)."""
