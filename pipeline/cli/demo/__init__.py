"""``image-tools demo``: the main job, with nothing but this machine.

Images are made up, the embedded registry serves them on a free port of the loopback interface, and the real ``save``
bundles them, twice. What is said of the result was checked; where a check fails, so does the demo.
"""
