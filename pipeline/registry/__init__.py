"""Everything that crosses the network: HTTP, logins, skopeo, retries and pauses."""
