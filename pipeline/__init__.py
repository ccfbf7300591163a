"""image-tools: carry container images across an air gap."""

__version__ = "0.1.0"
