from ..save.saving import *
from ..support.registry import Registry
from .signed import *

def test_x(registry: Registry, signed: Signed) -> None:
    import time
    t=time.time()
    registry.clear_requests()
    r = saved([signed.image], "-referrers", "-a", "all", "-debug")
    print(r, time.time()-t)
    for q in registry.requests(): print(q, q.user_agent)
    print(brought() == signed.names(*ALL))
    r = command("ls", ARCHIVE); print(r)
    t=time.time()
    registry.clear_requests()
    r = saved([signed.image], "-referrers", "-a", "all", "-j", "4")
    print(r, time.time()-t)
    for q in registry.requests(): print(q, q.user_agent)
    assert 0
