"""What lies on the disk: the cache, its records, locks, the archive format.

Takes and returns values and bytes by digest. Guarantees: what is read by a digest has it; records that are damaged count as
missing; an archive holds what its layout says, in that order, to the byte.
"""
