"""HTTP/1.1 on sockets of our own: connections that are kept, TLS, proxies, and every wait interruptible.

Takes an address, a request and an ``Interruption``; returns a response of which the body is streamed, or raises with a cause.
"""
