"""The vocabulary of the tests: Node, Cluster, eventually. See tests/README.md."""
from blazetest.cluster import Cluster
from blazetest.node import Node
from blazetest.wait import eventually

__all__ = ['Cluster', 'Node', 'eventually']
