"""What the user's documentation of ``save`` says, word for word."""

SAVE_HELP = """\
Usage of save:
  -a string
        architecture list of images, separate with ',' (default "amd64,arm64")
  -compress string
        compress format, can be 'gzip', 'zstd' or 'dir' (default "gzip")
  -d string
        Output saved images into destination file (directory or tar tarball) (default "saved-images.tar.gz")
  -debug
        enable the debug output
  -f string
        image list file
  -j int
        job number, async mode if larger than 1, maximum is 20 (default 1)
  -o string
        file name of the save failed image list (default "save-failed.txt")
  -part
        enable segment compress
  -part-size string
        segment part size (a number, or a string ended with 'K','M' or 'G') (default "2G")
  -s string
        override the source registry
"""
