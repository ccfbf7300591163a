"""Examples of ``save``, for its help and the manual."""

SAVE = """
Examples:
  image-tools save -f rancher-images.txt
  image-tools save -f rancher-images.txt -j 10 -compress=zstd -part -part-size=4G
  image-tools save -f rancher-images.txt -a amd64 -s registry.example.com -dry-run
  image-tools save -f rancher-images.txt -a amd64 -referrers
  image-tools save -f rancher-images.txt -d /media/stick/rancher.tar.gz -report rancher.html
"""
