"""What crosses the network: the distribution API over our HTTP, skopeo, logins, mirrors, retries, quotas.

Takes references and an ``Access``, returns bytes or raises ``RegistryError`` with a cause. Guarantees: what is named by a
digest has that digest; what can pass is tried again, and what cannot is not; a registry that asks for rest gets it from all
workers; no secret stands on a command line, in a log or in an error.
"""
