"""How far a load is, while it runs."""

from __future__ import annotations

import threading
from pathlib import Path

from pipeline.acts.load.options import LoadOptions
from pipeline.acts.load.run import Load
from pipeline.acts.progress import Snapshot
from pipeline.core.bundle import Access
from pipeline.core.interruption import Interruption
from tests.support.proxy import FaultProxy, Stall
from tests.support.registry import RegistryFactory
from tests.system.load.loading import Bundle


def test_bytes_are_counted_while_they_go_out(slow: Bundle, fresh_registry: RegistryFactory) -> None:
    with FaultProxy(fresh_registry().host) as proxy:
        failed, state = Path("failed.txt").absolute(), Path("state").absolute()
        order = LoadOptions(
            source=slow.path, registry=proxy.host, access=Access(tls_verify=False), jobs=2, failed_list=failed, state=state
        )
        load = Load(order, Interruption())
        load.open()
        load.check()
        proxy.fault(r"/blobs/uploads/", Stall(60, -1), method="PUT", times=2)
        pushing = threading.Thread(target=load.push)
        pushing.start()
        try:
            proxy.wait_for(r"/blobs/uploads/.+", 4)
            seen: list[Snapshot] = []
            looking = threading.Thread(target=lambda: seen.append(load.context.tracker.snapshot()), daemon=True)
            looking.start()
            looking.join(5)
            assert seen, "a look at the progress must not stop the load"
        finally:
            proxy.release()
            pushing.join(30)
        [snapshot] = seen
        assert (snapshot.act, snapshot.tasks, len(snapshot.rows)) == ("pushing", 5, 2)
        assert 0 < snapshot.done <= snapshot.total
        assert len(load.result.pushed) == 5
        after = load.context.tracker.snapshot()
        assert after.done == after.total
