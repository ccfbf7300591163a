"""How bytes travel: each once, resumed, verified; against a real registry behind a proxy that misbehaves."""
