"""VergeOS's own public client against the lab: lists the nodes, puts the first into maintenance, waits, and takes it out again."""

import json
import sys
import time

from pyvergeos import VergeClient

host, key = sys.argv[1], sys.stdin.read().strip()
client = VergeClient(host=host, token=key)


def until(key, holds):
    for _ in range(600):
        node = client.nodes.get(key)
        if holds(node):
            return node
        time.sleep(0.02)
    sys.exit(f"never: {node}")


nodes = client.nodes.list()
said = {"version": client.version, "nodes": [[n.name, n.ipmi_address, n.is_maintenance, n.is_physical] for n in nodes]}
first = client.nodes.get(name=nodes[0].name)
said["vms"] = len(client.vms.list())
entered = first.enable_maintenance()
said["flag_at_once"] = entered.is_maintenance
node = until(first.key, lambda n: n.is_maintenance and str(n.get("status")).lower() == "maintenance")
said["in"] = [node.name, node.is_maintenance]
node.disable_maintenance()
node = until(first.key, lambda n: not n.is_maintenance and str(n.get("status")).lower() == "running")
said["back"] = [node.name, node.is_maintenance]
print(json.dumps(said))
