"""What goes wrong on the way: faults of registries, kills, full disks, damage, hostile input.

``benchmarks/faults`` does more of it.
"""
