"""What happens to the servers while sessions read."""

import random
import threading
import time


class Faults(threading.Thread):
    """Delays, pauses, kills, restarts and promotes replicas, one thing at a time, until told to stop."""

    def __init__(self, cluster, seed, kinds=("delay", "pause", "kill", "hang")):
        super().__init__(daemon=True)
        self._cluster = cluster
        self._random = random.Random(seed)
        self._kinds = kinds
        self._over = threading.Event()
        self.done = {kind: 0 for kind in kinds}

    def run(self):
        turn = []
        while not self._over.wait(self._random.uniform(0.5, 1.5)):
            turn = turn or self._random.sample(self._kinds, len(self._kinds))
            kind = turn.pop()
            getattr(self, f"_{kind}")(self._random.choice(self._cluster.replicas))
            self.done[kind] += 1

    def finish(self):
        self._over.set()
        self.join(120)
        self._cluster.heal()

    def _delay(self, replica):
        replica.set("recovery_min_apply_delay", f"{self._random.choice([50, 300, 1500])}ms")
        self._over.wait(self._random.uniform(0.5, 2))
        replica.set("recovery_min_apply_delay", "0")

    def _pause(self, replica):
        replica.pause_replay()
        self._over.wait(self._random.uniform(0.2, 1.5))
        replica.resume_replay()

    def _kill(self, replica):
        replica.kill()
        self._over.wait(self._random.uniform(0.1, 0.5))
        replica.start()

    def _promote(self, replica):
        self._cluster.switch_over(replica)

    def _hang(self, replica):
        replica.hang()
        self._over.wait(self._random.uniform(0.1, 0.8))
        replica.resume()


class Share(threading.Thread):
    """How many reads of the workload's tables the replicas have executed, as they count them
    themselves; a replica that was killed begins at zero again."""

    def __init__(self, cluster, tables):
        super().__init__(daemon=True)
        self._cluster = cluster
        self._tables = tables
        self._over = threading.Event()
        self._last = {}
        self.scans = {server.name: 0 for server in cluster.servers}
        self.look()
        self.scans = {name: 0 for name in self.scans}

    def look(self):
        for server in self._cluster.servers:
            try:
                now, is_replica = server.sql(
                    "SELECT coalesce(sum(coalesce(seq_scan, 0) + coalesce(idx_scan, 0)), 0)::bigint"
                    ", pg_is_in_recovery() FROM pg_stat_user_tables WHERE relname = ANY(%s)", self._tables)[0]
            except Exception:  # noqa: BLE001 - it is down: there is nothing to be asked
                continue
            last = self._last.get(server.name, 0)
            if is_replica:
                self.scans[server.name] += now - last if now >= last else now
            self._last[server.name] = now

    def run(self):
        while not self._over.wait(0.3):
            self.look()

    def finish(self):
        self._over.set()
        self.join(60)
        time.sleep(1.2)  # servers report their counts with a delay
        self.look()
