"""The test rig: a real control plane, a real node, real databases, on free loopback ports.

Everything is started as a child process in a folder of its own and ended by its process id, so runs
side by side do not disturb each other and nothing outlives a run, not even after Ctrl-C.
"""
